//! The tasks of a partition, as its scheduler knows them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use dtf_model::plugin::TaskScheduler;
use dtf_model::queue::{Fence, Parcel, ParcelId, RunningParcel, SchedulerLoad, Taken, TaskState, Usage};
use dtf_model::roles::{Needs, Role, RoleContext};
use dtf_model::shard::ShipmentId;
use dtf_model::table::BucketOf;
use dtf_model::{Limits, ResourceGroup, RunEpoch, Shard, StoreError, TaskId, TaskType};
use lrmf_core::Token;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::warn;

use super::audit::Audit;
use super::callback::{self, Heard, Made};
use super::limiter::{Limiter, Permit};
use super::lister::Page;
use super::places::{Places, Wanted};
use super::policy::Policy;
use super::policy::account::Accounts;

/// What the scheduler knows of a task.
pub(super) struct Known {
    pub(super) run: RunEpoch,
    /// The plugin's say in dispatch.
    pub(super) callback: Option<Arc<dyn TaskScheduler>>,
    /// How many subtasks of it may wait before its generator pauses.
    pub(super) backlog: u64,
    audit: Audit,
    pub(super) kind: TaskType,
    /// Whether it was said that it waits for somebody capable.
    pub(super) waits: bool,
    /// The hand that the callback is being asked about.
    asked: Option<u64>,
    /// What it has to give.
    pub(super) wanted: Wanted,
}

impl Known {
    /// Whether the callback is being asked.
    pub(super) fn is_asked(&self) -> bool {
        self.asked.is_some()
    }
}

pub(super) struct Tasks {
    share: BucketOf,
    token: Token,
    context: RoleContext,
    known: HashMap<TaskId, Known>,
    /// When delayed subtasks are due: by task, and in order.
    due_of: HashMap<TaskId, Instant>,
    due: BTreeSet<(Instant, TaskId)>,
    pub(super) policy: Policy,
    accounts: Accounts,
    limiter: Limiter,
    /// Calls into plugins that are under way, of each task one at most.
    plugins: JoinSet<Heard>,
    /// Tasks whose callback is being made.
    making: HashMap<TaskId, RunEpoch>,
    /// Hands that the callback was asked about so far.
    hands: u64,
    /// Those whose pending subtasks all have keys, in lanes whose shards had no room.
    parked: HashSet<TaskId>,
    /// Those that were listed, or taken up, since the list began.
    seen: HashSet<TaskId>,
    /// The types of those that were not taken up since the list began, as their type is not known here.
    unknown: BTreeSet<TaskType>,
}

impl Tasks {
    pub(super) fn new(share: BucketOf, token: Token, context: RoleContext) -> Self {
        let limiter = Limiter::new(share);
        Self {
            share,
            token,
            context,
            known: HashMap::new(),
            due_of: HashMap::new(),
            due: BTreeSet::new(),
            policy: Policy::default(),
            accounts: Accounts::default(),
            limiter,
            plugins: JoinSet::new(),
            making: HashMap::new(),
            hands: 0,
            parked: HashSet::new(),
            seen: HashSet::new(),
            unknown: BTreeSet::new(),
        }
    }

    pub(super) fn get(&self, task: TaskId) -> Option<&Known> {
        self.known.get(&task)
    }

    pub(super) fn fence(&self, task: TaskId, run: RunEpoch) -> Fence {
        Fence { task, run, token: self.token }
    }

    /// Takes the groups' quotas and limits as they are now.
    pub(super) fn share_between(&mut self, groups: &[ResourceGroup]) {
        for group in groups {
            self.policy.set_quota(&group.name.as_str().into(), group.quota);
        }
        self.limiter.limit_groups(groups);
    }

    /// The next answer of a plugin.
    pub(super) async fn next_heard(&mut self) -> Heard {
        loop {
            match self.plugins.join_next().await {
                Some(Ok(heard)) => return heard,
                // It cannot panic but by a fault of ours; its parcels are found when the task is taken up again.
                Some(Err(error)) => tracing::error!(%error, "a call into a plugin panicked"),
                None => std::future::pending().await,
            }
        }
    }

    /// Asks a task's callback about what was taken.
    pub(super) fn ask(
        &mut self,
        fence: Fence,
        callback: Arc<dyn TaskScheduler>,
        parcels: Vec<(Shard, Parcel)>,
    ) {
        self.hands += 1;
        if let Some(known) = self.known.get_mut(&fence.task) {
            known.asked = Some(self.hands);
        }
        let on = self.context.plugin_runtime.clone();
        self.plugins.spawn(callback::ask(on, callback, fence, self.hands, parcels));
        self.quiet(fence.task);
    }

    /// The answers about a hand are there. Says whether they are still waited for.
    pub(super) fn heard(&mut self, task: TaskId, hand: u64) -> bool {
        let known = self.known.get_mut(&task).filter(|known| known.asked == Some(hand));
        known.is_some_and(|known| known.asked.take().is_some())
    }

    /// The kind of a task.
    pub(super) fn kind(&self, task: TaskId) -> Option<TaskType> {
        self.known.get(&task).map(|known| known.kind)
    }

    /// Says for people what a task waits for, or that it waits no more. What is not said now is said the next time.
    pub(super) async fn say_waits(&mut self, task: TaskId, reason: Option<&str>) {
        let token = self.token;
        let Some(known) = self.known.get_mut(&task).filter(|known| known.waits != reason.is_some()) else {
            return;
        };
        let fence = Fence { task, run: known.run, token };
        match self.context.queues.set_waits(fence, Role::Scheduler, reason).await {
            Ok(()) => known.waits = reason.is_some(),
            Err(error) => warn!(task_id = %task, %error, "not said what the task waits for"),
        }
    }

    /// The task has something to dispatch, as far as is known.
    pub(super) fn pending(&mut self, task: TaskId) {
        if let Some(known) = self.known.get_mut(&task) {
            known.wanted.may_be_more();
        }
        self.parked.remove(&task);
        self.policy.pending(task, self.context.clock.now());
    }

    /// A task's callback has been made, or could not be.
    pub(super) fn made(&mut self, made: Made) {
        let (task, run) = (made.state.spec.id, made.state.spec.run);
        if self.making.get(&task) != Some(&run) {
            return; // forgotten meanwhile
        }
        self.making.remove(&task);
        match made.callback {
            Ok(callback) => self.know(&made.state, &made.usage, callback),
            // The generator meets the same fault, and stops the task for it.
            Err(error) => warn!(task_id = %task, %error, "no scheduler's callback, task not taken up"),
        }
        self.pending(task);
    }

    pub(super) fn forget(&mut self, task: TaskId) {
        self.making.remove(&task);
        self.parked.remove(&task);
        self.policy.remove(task);
        self.accounts.close(task);
        self.limiter.close(task);
        self.known.remove(&task);
        self.set_due(task, None);
    }

    /// When the next delayed subtask of the task is due, if there is one.
    pub(super) fn due_in(&mut self, task: TaskId, span: Option<Duration>) {
        self.set_due(task, span.map(|span| Instant::now() + span));
    }

    fn set_due(&mut self, task: TaskId, due: Option<Instant>) {
        if let Some(before) = self.due_of.remove(&task) {
            self.due.remove(&(before, task));
        }
        if let Some(due) = due {
            self.due_of.insert(task, due);
            self.due.insert((due, task));
        }
    }

    /// When something is due: a delayed subtask, or a group that waits for its rate.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let now = self.context.clock.now();
        let release = self.limiter.next_release().map(|until| Instant::now() + until.since(now));
        let due = self.due.first().map(|(due, _)| *due);
        due.into_iter().chain(release).min()
    }

    pub(super) fn wake_due(&mut self, now: Instant) {
        while let Some((_, task)) = self.due.first().copied().filter(|(due, _)| *due <= now) {
            self.set_due(task, None);
            self.pending(task);
        }
    }

    /// What a take said that the task has to give.
    pub(super) fn note_wanted(&mut self, task: TaskId, taken: &Taken) {
        if let Some(known) = self.known.get_mut(&task) {
            known.wanted.note(taken);
        }
    }

    /// The task rests until there is room for what it has to give.
    pub(super) fn park(&mut self, task: TaskId) {
        self.quiet(task);
        self.parked.insert(task);
    }

    pub(super) fn is_any_parked(&self) -> bool {
        !self.parked.is_empty()
    }

    /// Lets those go on that there is room for. Says whether there are any.
    pub(super) fn unpark(&mut self, places: &mut Places) -> bool {
        let has_room = |task: &TaskId| {
            self.known.get(task).is_some_and(|known| places.is_room_for(known.kind, &known.wanted))
        };
        let mut ready: Vec<_> = self.parked.iter().copied().filter(has_room).collect();
        ready.sort_unstable();
        for task in &ready {
            self.parked.remove(task);
            self.policy.pending(*task, self.context.clock.now());
        }
        !ready.is_empty()
    }

    /// Brings everything up to now that goes by the clock: charges for what runs longer than was guessed, and groups whose
    /// limits allow it go on.
    pub(super) fn catch_up(&mut self) {
        let now = self.context.clock.now();
        for (task, nanos) in self.accounts.accrue(now) {
            self.policy.charge(task, nanos);
        }
        for group in self.limiter.released(now) {
            self.policy.hold(&group, false);
        }
    }

    /// The task whose turn it is, and how many subtasks of it may be dispatched.
    pub(super) fn next(&mut self) -> Option<(TaskId, u64)> {
        let now = self.context.clock.now();
        loop {
            let task = self.policy.next(now)?;
            match self.limiter.permit(task, now) {
                Permit::UpTo(most) => return Some((task, most)),
                Permit::TaskWaits(until) => {
                    self.policy.quiet(task, now);
                    if let Some(until) = until {
                        self.due_in(task, Some(until.since(now)));
                    }
                }
                Permit::GroupWaits => {
                    let group = self.policy.group_of(task)?.clone();
                    self.policy.hold(&group, true);
                }
            }
        }
    }

    /// The task has nothing to dispatch, until it is said that it has.
    pub(super) fn quiet(&mut self, task: TaskId) {
        self.policy.quiet(task, self.context.clock.now());
    }

    /// So many subtasks of a task were dispatched.
    pub(super) fn spend(&mut self, task: TaskId, subtasks: u64) {
        self.limiter.spend(task, subtasks);
    }

    /// Charges a task with what it has used since.
    pub(super) fn charge(&mut self, task: TaskId, usage: &Usage) {
        if let Some(known) = self.known.get_mut(&task) {
            known.audit.note(self.context.clock.now(), usage);
        }
        self.limiter.note_running(task, usage.running);
        let nanos = self.accounts.settle(task, usage, self.context.clock.now());
        self.policy.charge(task, nanos);
    }

    /// Charges those of these tasks that had something running.
    pub(super) async fn settle(&mut self, tasks: &[TaskId]) {
        let running: Vec<_> = tasks.iter().copied().filter(|task| self.accounts.is_running(*task)).collect();
        if running.is_empty() {
            return;
        }
        match self.context.queues.usages(&running).await {
            Ok(usages) => {
                for (task, run, usage) in usages {
                    if self.is_at(task, run) {
                        self.charge(task, &usage);
                    }
                }
            }
            // Nothing is lost: it is charged when it is looked at again.
            Err(error) => warn!(%error, "what tasks have used is not known"),
        }
    }

    fn is_at(&self, task: TaskId, run: RunEpoch) -> bool {
        self.known.get(&task).is_some_and(|known| known.run == run)
    }

    /// Takes up those listed that are new, and looks at the others again. When all are listed, those that were not are
    /// forgotten. Where the store may have forgotten something, all are taken up afresh: their tokens are raised, and what
    /// runs on no shard goes back to pending.
    pub(super) async fn look_at_page(&mut self, page: Page) {
        if page.store_may_have_forgotten {
            let all: Vec<_> = self.known.keys().copied().collect();
            all.into_iter().for_each(|task| self.forget(task));
        }
        self.seen.extend(page.tasks.iter().copied());
        self.look_at(&page.tasks).await;
        if page.last {
            let seen = std::mem::take(&mut self.seen);
            let mine = self.known.keys().chain(self.making.keys());
            let gone: Vec<_> = mine.filter(|task| !seen.contains(task)).copied().collect();
            gone.into_iter().for_each(|task| self.forget(task));
            self.audit().await;
        }
    }

    /// What the tasks need to be known here, as the list that has just ended says.
    pub(super) fn needs(&mut self) -> Needs {
        let known = self.known.values().map(|known| known.kind).collect();
        Needs { known, lacking: std::mem::take(&mut self.unknown) }
    }

    /// Looks whether what runs of a task that gets no further is on its shards: they may have forgotten it.
    async fn audit(&mut self) {
        let now = self.context.clock.now();
        let running = self.known.keys().copied().filter(|task| self.accounts.is_running(*task));
        let running: Vec<_> = running.collect();
        for task in running {
            let Some(known) = self.known.get_mut(&task) else { continue };
            // What the callback is asked about is on no shard yet.
            if !known.audit.is_due(now) || known.is_asked() {
                continue;
            }
            let fence = Fence { task, run: known.run, token: self.token };
            match self.put_back_what_is_lost(fence).await {
                Ok(()) => self.pending(task),
                Err(error) if error.is_retryable() => warn!(task_id = %task, %error, "task not audited"),
                Err(_) => self.forget(task), // it has ended, or is somebody else's
            }
        }
    }

    async fn put_back_what_is_lost(&self, fence: Fence) -> Result<(), StoreError> {
        let load = self.context.queues.load_scheduler(fence).await?;
        self.recover(fence, &load).await
    }

    /// Looks at some tasks, as a hint said that they may have something pending. Hints about room on a shard name tasks of
    /// other partitions too.
    pub(super) async fn look_at(&mut self, tasks: &[TaskId]) {
        let share = self.share;
        self.settle(tasks).await;
        for task in tasks.iter().filter(|task| share.has(**task)) {
            if self.known.contains_key(task) {
                self.pending(*task);
                continue;
            }
            if self.making.contains_key(task) {
                continue;
            }
            match self.take_up(*task).await {
                Ok(()) | Err(StoreError::Gone { .. } | StoreError::Fenced { .. }) => {}
                Err(error) => warn!(task_id = %task, %error, "task not taken up"),
            }
        }
    }

    async fn take_up(&mut self, task: TaskId) -> Result<(), StoreError> {
        let Some(state) = self.context.queues.state(task).await? else { return Ok(()) };
        if state.ending.is_some() {
            return Ok(());
        }
        let fence = self.fence(task, state.spec.run);
        let load = self.context.queues.load_scheduler(fence).await?;
        self.recover(fence, &load).await?;
        let Ok(found) = self.context.plugins.get(state.spec.task_type) else {
            self.unknown.insert(state.spec.task_type);
            let reason = format!(
                "a scheduler that knows task type {}; the one that it has does not",
                state.spec.task_type
            );
            return self.context.queues.set_waits(fence, Role::Scheduler, Some(&reason)).await;
        };
        let (on, plugin) = (self.context.plugin_runtime.clone(), found.plugin.clone());
        self.making.insert(task, state.spec.run);
        self.seen.insert(task);
        self.plugins.spawn(callback::make(on, plugin, state, load.usage));
        Ok(())
    }

    fn know(&mut self, state: &TaskState, usage: &Usage, callback: Option<Arc<dyn TaskScheduler>>) {
        let spec = &state.spec;
        self.accounts.open(spec.id, spec.task_type, usage, self.context.clock.now());
        let conf = self.context.plugins.conf(spec.task_type).ok();
        let backlog = conf.map_or(0, |conf| conf.backlog);
        let limits = conf.map_or(Limits::NONE, |conf| conf.limits).and(spec.param.limits);
        let group: Arc<str> = spec.param.group.as_str().into();
        self.limiter.open(spec.id, &group, limits, usage.running);
        let audit = Audit::begin(self.context.clock.now(), usage);
        let (run, kind, waits) = (spec.run, spec.task_type, !state.waits.is_empty());
        let known =
            Known { run, callback, backlog, audit, kind, waits, asked: None, wanted: Wanted::default() };
        self.known.insert(spec.id, known);
        self.seen.insert(spec.id);
        self.policy.add(spec.id, &group, spec.param.priority);
    }

    /// An earlier scheduler may have died between taking parcels and shipping them: what is running but on no shard goes
    /// back to pending. What is reported between the two reads is no longer running, and putting it back does nothing.
    async fn recover(&self, fence: Fence, load: &SchedulerLoad) -> Result<(), StoreError> {
        let mut by_shard: BTreeMap<Shard, Vec<_>> = BTreeMap::new();
        for running in &load.running {
            by_shard.entry(running.shard).or_default().push(*running);
        }
        for (shard, parcels) in by_shard {
            let there: HashSet<_> = self.context.shards.contents(shard).await?.into_iter().collect();
            let shipment = |running: &RunningParcel| ShipmentId {
                task: fence.task,
                run: fence.run,
                parcel: ParcelId { first: running.shipped_with, ..running.id },
                attempt: running.attempt,
            };
            let lost = parcels.iter().filter(|running| !there.contains(&shipment(running)));
            let lost: Vec<_> = lost.map(|running| running.id).collect();
            self.context.queues.put_back(fence, &lost, Duration::ZERO).await?;
        }
        Ok(())
    }
}
