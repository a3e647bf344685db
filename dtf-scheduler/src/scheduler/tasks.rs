//! The tasks of a partition, as its scheduler knows them.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use dtf_model::plugin::TaskScheduler;
use dtf_model::queue::{Fence, Parcel, Taken, TaskState, Usage};
use dtf_model::table::BucketOf;
use dtf_model::{Kind, Limits, ResourceGroup, RunEpoch, Shard, TaskId};
use dtf_runtime::{Needs, RoleContext};
use lrmf_core::Token;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::warn;

use super::SchedulerPorts;
use super::audit::Audit;
use super::callback::{self, Heard, Made};
use super::limiter::{Limiter, Permit};
use super::places::{Places, Wanted};
use super::policy::Policy;
use super::policy::account::Accounts;
use super::taking::Found;

/// What the scheduler knows of a task.
pub(super) struct Known {
    pub(super) run: RunEpoch,
    /// The plugin's say in dispatch.
    pub(super) callback: Option<Arc<dyn TaskScheduler>>,
    /// How many subtasks of it may wait before its generator pauses.
    pub(super) backlog: u64,
    pub(super) audit: Audit,
    pub(super) kind: Kind,
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
    pub(super) share: BucketOf,
    pub(super) token: Token,
    pub(super) ports: SchedulerPorts,
    pub(super) context: RoleContext,
    pub(super) known: HashMap<TaskId, Known>,
    /// When delayed subtasks are due: by task, and in order.
    due_of: HashMap<TaskId, Instant>,
    due: BTreeSet<(Instant, TaskId)>,
    pub(super) policy: Policy,
    pub(super) accounts: Accounts,
    limiter: Limiter,
    /// Calls into plugins that are under way, of each task one at most.
    plugins: JoinSet<Heard>,
    /// Tasks whose callback is being made.
    pub(super) making: HashMap<TaskId, RunEpoch>,
    /// Hands that the callback was asked about so far.
    hands: u64,
    /// Those whose pending subtasks all have keys, in lanes whose shards had no room.
    parked: HashSet<TaskId>,
    /// Those that were listed, or taken up, since the list began.
    pub(super) seen: HashSet<TaskId>,
    /// The types of those that were not taken up since the list began, as their type is not known here.
    unknown: BTreeSet<Kind>,
}

impl Tasks {
    pub(super) fn new(share: BucketOf, token: Token, ports: SchedulerPorts, context: RoleContext) -> Self {
        let limiter = Limiter::new(share);
        Self {
            share,
            token,
            ports,
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
    pub(super) fn kind(&self, task: TaskId) -> Option<Kind> {
        self.known.get(&task).map(|known| known.kind)
    }

    /// Says for people what a task waits for, or that it waits no more. What is not said now is said the next time.
    pub(super) async fn say_waits(&mut self, task: TaskId, reason: Option<&str>) {
        let token = self.token;
        let Some(known) = self.known.get_mut(&task).filter(|known| known.waits != reason.is_some()) else {
            return;
        };
        let fence = Fence { task, run: known.run, token };
        match self.ports.queues.set_scheduler_waits(fence, reason).await {
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
        self.policy.ahead(task, taken.lost);
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
                Permit::UpTo(most) => return Some((task, most.min(self.policy.most(task)))),
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

    /// Whether it is known when the next delayed subtask of the task is due.
    pub(super) fn is_due_known(&self, task: TaskId) -> bool {
        self.due_of.contains_key(&task)
    }

    /// What the tasks need to be known here, as the list that has just ended says.
    pub(super) fn needs(&mut self) -> Needs {
        let known = self.known.values().map(|known| known.kind).collect();
        Needs { known, lacking: std::mem::take(&mut self.unknown) }
    }

    /// Begins with a task that was found, as far as its kind is known here.
    pub(super) async fn begin(&mut self, Found { state, load }: Found) {
        let (task, run, kind) = (state.spec.id, state.spec.run, state.spec.kind());
        let Ok(found) = self.context.plugins.able(kind) else {
            self.unknown.insert(kind);
            let reason = format!("a scheduler that knows task type {kind}; the one that it has does not");
            let said = self.ports.queues.set_scheduler_waits(self.fence(task, run), Some(&reason));
            if let Err(error) = said.await {
                warn!(task_id = %task, %error, "not said what the task waits for");
            }
            return;
        };
        let (on, plugin) = (self.context.plugin_runtime.clone(), found.plugin.clone());
        self.making.insert(task, run);
        self.seen.insert(task);
        self.plugins.spawn(callback::make(on, plugin, state, load.usage));
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
        let (run, kind, waits) = (spec.run, spec.kind(), !state.waits.is_empty());
        let known =
            Known { run, callback, backlog, audit, kind, waits, asked: None, wanted: Wanted::default() };
        self.known.insert(spec.id, known);
        self.seen.insert(spec.id);
        self.policy.add(spec.id, &group, spec.param.priority);
    }
}
