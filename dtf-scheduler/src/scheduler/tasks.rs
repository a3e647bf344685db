//! The tasks of a partition, as its scheduler knows them.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use dtf_model::plugin::TaskScheduler;
use dtf_model::queue::{Fence, Parcel, Taken, TaskState, Usage};
use dtf_model::table::BucketOf;
use dtf_model::{Limits, ResourceGroup, RunEpoch, Shard, TaskId, TypeVersion};
use dtf_runtime::{Needs, RoleContext};
use lrmf_core::Token;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::warn;

use super::SchedulerPorts;
use super::bell::Bell;
use super::blocked::{self, Telling, Told};
use super::callback::{self, Heard, Made};
use super::capacity::{Capacity, Wanted};
use super::limiter::{Limiter, Permit};
use super::parked::Parked;
use super::parked_keyed::ParkedKeyed;
use super::policy::Policy;
use super::policy::account::Accounts;
use super::recovery::{Checked, Found};
use super::results::ResultsBudget;
use super::stall::StallCheck;

/// The number of tasks whose shards are checked at a time.
const CHECKS: usize = 16;

/// The scheduler's knowledge of a task.
pub(super) struct Known {
    pub(super) run: RunEpoch,
    /// The plugin's say in dispatch.
    pub(super) callback: Option<Arc<dyn TaskScheduler>>,
    /// The number of its subtasks that may wait before its generator pauses.
    pub(super) backlog: u64,
    pub(super) bell: Bell,
    pub(super) audit: StallCheck,
    pub(super) kind: TypeVersion,
    /// The kind that executors offer for its subtasks.
    pub(super) executing: TypeVersion,
    /// True if the last message about it, sent or under way, was that it is blocked.
    pub(super) is_blocked: bool,
    /// The hand that the callback is being asked about, or the check that goes on.
    asked: Option<u64>,
    /// Its offer of parcels.
    pub(super) wanted: Wanted,
    /// The subtasks that it has pending, where that is known; none of them has a key.
    pub(super) expected: Option<usize>,
}

impl Known {
    /// Returns true if the callback is being asked, or a check goes on.
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
    /// The results that wait for collectors.
    pub(super) results: ResultsBudget,
    /// Calls into plugins that are under way, of each task one at most, and checks.
    plugins: JoinSet<Heard>,
    /// Tasks whose callback is being made.
    pub(super) making: HashMap<TaskId, RunEpoch>,
    /// Hands that the callback was asked about so far, and checks.
    hands: u64,
    /// The permits of checks that go on at a time.
    checks: Arc<Semaphore>,
    /// Those that rest until there is room for what they have to give.
    parked: Parked,
    /// Those that rest until a shard of their keys has room.
    pub(super) parked_keyed: ParkedKeyed,
    /// What is to be told of those that are blocked, and whether some of it is being told.
    telling: VecDeque<Telling>,
    is_telling: bool,
    /// Those that were listed, or taken up, since the list began.
    pub(super) seen: HashSet<TaskId>,
    /// Those that are not taken up, as their kind is not known here.
    pub(super) unknown: HashMap<TaskId, TypeVersion>,
}

impl Tasks {
    pub(super) fn new(
        share: BucketOf,
        results: ResultsBudget,
        token: Token,
        ports: SchedulerPorts,
        context: RoleContext,
    ) -> Self {
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
            results,
            plugins: JoinSet::new(),
            making: HashMap::new(),
            hands: 0,
            checks: Arc::new(Semaphore::new(CHECKS)),
            parked: Parked::default(),
            parked_keyed: ParkedKeyed::default(),
            telling: VecDeque::new(),
            is_telling: false,
            seen: HashSet::new(),
            unknown: HashMap::new(),
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

    /// Returns true if a group waits for its limits.
    pub(super) fn is_any_group_waiting(&self) -> bool {
        self.limiter.is_any_waiting()
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

    /// Lets the shards of a task be checked for what it has running; nothing of it is taken meanwhile.
    pub(super) fn check(&mut self, task: TaskId) {
        self.hands += 1;
        let Some(known) = self.known.get_mut(&task) else { return };
        known.asked = Some(self.hands);
        let fence = Fence { task, run: known.run, token: self.token };
        let (finder, permits, number) = (self.finder(), self.checks.clone(), self.hands);
        self.plugins.spawn(async move {
            let _permit = permits.acquire_owned().await;
            Heard::Checked(Checked { fence, number, load: finder.load(fence).await })
        });
        self.quiet(task);
    }

    /// The answers about a hand are there. Says whether they are still waited for.
    pub(super) fn heard(&mut self, task: TaskId, hand: u64) -> bool {
        let known = self.known.get_mut(&task).filter(|known| known.asked == Some(hand));
        known.is_some_and(|known| known.asked.take().is_some())
    }

    /// Tells people what a task is blocked on, or that it is not blocked any more, soon.
    pub(super) fn tell_blocked(&mut self, task: TaskId, reason: Option<&Arc<str>>) {
        let token = self.token;
        let known = self.known.get_mut(&task).filter(|known| known.is_blocked != reason.is_some());
        let Some(known) = known else { return };
        known.is_blocked = reason.is_some();
        let fence = Fence { task, run: known.run, token };
        self.telling.push_back(Telling { fence, reason: reason.cloned() });
        self.tell_more();
    }

    /// Some were told of. What the store did not take is told the next time.
    pub(super) fn told(&mut self, told: &[Told]) {
        for Told { task, is_blocked, .. } in told.iter().filter(|told| !told.is_kept) {
            if let Some(known) = self.known.get_mut(task) {
                known.is_blocked = !is_blocked;
            }
        }
        self.is_telling = false;
        self.tell_more();
    }

    fn tell_more(&mut self) {
        if !self.is_telling && !self.telling.is_empty() {
            self.is_telling = true;
            let some = blocked::first_of(&mut self.telling);
            let queues = self.ports.queues.clone();
            self.plugins.spawn(async move { Heard::Told(blocked::tell(queues, some).await) });
        }
    }

    /// The task has something to dispatch, as far as is known.
    pub(super) fn pending(&mut self, task: TaskId) {
        if let Some(known) = self.known.get_mut(&task) {
            known.wanted.may_be_more();
            known.expected = None;
        }
        if self.parked.awaits_kind(task) {
            return; // it has something pending, and goes on when there is room
        }
        self.parked.remove(task);
        self.parked_keyed.remove(task);
        self.policy.pending(task, self.context.clock.now());
    }

    /// A task's callback has been made, or could not be.
    pub(super) fn made(&mut self, made: Made) {
        let (task, run) = (made.state.spec.id, made.state.spec.run);
        if self.making.get(&task) != Some(&run) {
            return; // forgotten meanwhile
        }
        self.making.remove(&task);
        let pending = made.state.pending;
        match made.callback {
            Ok(callback) => self.know(&made.state, &made.usage, callback),
            // The generator meets the same fault, and stops the task for it.
            Err(error) => warn!(task_id = %task, %error, "no scheduler's callback, task not taken up"),
        }
        self.pending(task);
        self.expect(task, pending);
    }

    /// The task has this much pending, as was read just now.
    pub(super) fn expect(&mut self, task: TaskId, pending: u64) {
        if let Some(known) = self.known.get_mut(&task).filter(|known| !known.wanted.is_keyed()) {
            known.expected = usize::try_from(pending).ok().filter(|pending| *pending > 0);
        }
    }

    /// The task has more to give than was expected.
    pub(super) fn goes_on(&mut self, task: TaskId) {
        self.policy.pending(task, self.context.clock.now());
    }

    pub(super) fn forget(&mut self, task: TaskId) {
        self.making.remove(&task);
        self.parked.remove(task);
        self.parked_keyed.remove(task);
        self.policy.remove(task);
        self.accounts.close(task);
        self.limiter.close(task);
        self.results.note(task, 0);
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
            known.expected = None;
        }
        self.expect(task, taken.pending);
    }

    /// The task rests until there is room for its keys.
    pub(super) fn park_keyed(&mut self, task: TaskId) {
        self.quiet(task);
        if let Some(group) = self.policy.group_of(task) {
            self.parked_keyed.park(task, group);
        }
    }

    /// The task rests until there is room for its kind.
    pub(super) fn park(&mut self, task: TaskId) {
        self.quiet(task);
        if let (Some(known), Some(group)) = (self.known.get(&task), self.policy.group_of(task)) {
            self.parked.park(task, known.executing, group);
        }
    }

    pub(super) fn is_any_parked(&self) -> bool {
        !self.parked.is_empty() || !self.parked_keyed.is_empty()
    }

    /// Lets tasks go on that there is room for. Says whether there are any.
    pub(super) fn unpark(&mut self, places: &mut Capacity) -> bool {
        let mut ready = self.parked.go_on(|kind| places.is_room_for_kind(kind));
        let known = &self.known;
        self.parked_keyed.place(places.layout(), |task| {
            known.get(&task).map(|known| places.spots(known.executing, &known.wanted)).unwrap_or_default()
        });
        ready.extend(self.parked_keyed.go_on(|spot| places.has_room_at(spot)));
        for task in &ready {
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
    pub(super) fn needs(&self) -> Needs {
        let known = self.known.values().map(|known| known.kind).collect();
        Needs { known, lacking: self.unknown.values().copied().collect() }
    }

    /// Begins with a task that was found, as far as its kind is known here.
    pub(super) fn begin(&mut self, Found { mut state, load }: Found) {
        state.pending = load.pending;
        let (task, run, kind) = (state.spec.id, state.spec.run, state.spec.kind());
        let Ok(found) = self.context.plugins.able(kind) else {
            self.unknown.insert(task, kind);
            let reason = format!("a scheduler that knows task type {kind}; the one that it has does not");
            self.telling.push_back(Telling { fence: self.fence(task, run), reason: Some(reason.into()) });
            self.tell_more();
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
        let audit = StallCheck::begin(self.context.clock.now(), usage);
        let (run, kind, is_blocked) = (spec.run, spec.kind(), !state.blocked_on.is_empty());
        let known = Known {
            run,
            callback,
            backlog,
            bell: Bell::default(),
            audit,
            kind,
            executing: self.context.plugins.executing_kind(spec),
            is_blocked,
            asked: None,
            wanted: Wanted::default(),
            expected: None,
        };
        self.known.insert(spec.id, known);
        self.seen.insert(spec.id);
        self.policy.add(spec.id, &group, spec.param.priority);
    }
}
