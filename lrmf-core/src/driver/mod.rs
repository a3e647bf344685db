//! Performs what the protocol asks for, with a real store, worker, provider, assignor and clock, and feeds back what came
//! of it.
//!
//! One task runs the machine, on a runtime on which nothing else runs than members of groups and calls of their stores
//! ([`session_runtime`]): signs of life and deadlines wait for nobody. What the user supplied runs elsewhere (`user`).
//! Should the machine itself panic, the driver stops all tasks by its own book (`works`), and says so.

mod feed;
mod listeners;
mod runtime;
mod seen;
mod spans;
mod status;
mod user;
mod works;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::assignor::Assignor;
use crate::clock::Clock;
use crate::coordination::{Coordination, Op, TxnOutcome};
use crate::error::CoordinationError;
use crate::event::Event;
use crate::ids::Incarnation;
use crate::metrics::Gauges;
use crate::panics::message_of;
use crate::protocol::backoff::Backoff;
use crate::protocol::leader::PlanRequest;
use crate::protocol::node::{Node, NodeConfig};
use crate::protocol::{Action, Call, CallId, Command, Exit, FeedId, Input, Now, Reply};
use crate::provider::{GenerationFloor, TaskProvider};
use crate::task::Holding;
use crate::tenure::Tenure;
use crate::worker::Worker;

pub(crate) use feed::Feed;
pub(crate) use listeners::Listeners;
pub use runtime::session_runtime;
pub(crate) use seen::Seen;
use spans::Spans;
pub(crate) use status::Board;
pub use status::{HeldTasks, MemberStage, MemberStatus};
pub(crate) use user::Place;
use user::Planner;
use works::Works;

/// How long calls that nobody waits for may still take when the member has ended.
const COURTESY: Duration = Duration::from_millis(250);

/// What a member works with.
#[derive(Clone)]
pub(crate) struct Ports {
    pub(crate) store: Arc<dyn Coordination>,
    pub(crate) worker: Arc<dyn Worker>,
    pub(crate) provider: Arc<dyn TaskProvider>,
    pub(crate) floor: Option<Arc<dyn GenerationFloor>>,
    pub(crate) assignor: Arc<dyn Assignor>,
    pub(crate) clock: Arc<dyn Clock>,
    /// What the driver keeps up to date.
    pub(crate) tenure: Tenure,
    pub(crate) place: Place,
}

/// The limits that the driver keeps.
#[derive(Clone, Copy, Debug)]
struct Limits {
    provider: Duration,
    /// How long fencing may take when the machine has panicked.
    fencing: Duration,
    sleep: Duration,
}

/// Runs one member.
pub(crate) struct Driver {
    ports: Ports,
    node: Node,
    limits: Limits,
    planner: Planner,
    /// What the feeds deliver, and what the user's code says unasked.
    inputs: mpsc::Receiver<Input>,
    to_inputs: mpsc::Sender<Input>,
    commands: mpsc::Receiver<Command>,
    kill: CancellationToken,
    killed: bool,
    feeds: BTreeMap<FeedId, AbortHandle>,
    feed_tasks: JoinSet<()>,
    /// Calls of the store.
    calls: JoinSet<Input>,
    /// Calls of the user's code.
    user_calls: JoinSet<Input>,
    works: Works,
    /// How far the store was seen to be.
    seen: Seen,
    board: Board,
    gauges: Gauges,
    spans: Spans,
}

impl Driver {
    pub(crate) fn new(
        ports: Ports,
        config: NodeConfig,
        commands: mpsc::Receiver<Command>,
        kill: CancellationToken,
        board: Board,
    ) -> (Self, Vec<Action>) {
        let (to_inputs, inputs) = mpsc::channel(64);
        let settings = &config.settings;
        let limits = Limits {
            provider: settings.provider_timeout,
            fencing: settings.assign_timeout + settings.revoke_timeout,
            sleep: settings.margin / 4,
        };
        let planner = Planner::new(ports.assignor.clone(), settings.plan_timeout);
        let (node, actions) = Node::new(config);
        let (gauges, spans) = (Gauges::new(&board.group), Spans::new(&board.group, &board.instance));
        let driver = Self {
            ports,
            node,
            limits,
            planner,
            inputs,
            to_inputs,
            commands,
            kill,
            killed: false,
            feeds: BTreeMap::new(),
            feed_tasks: JoinSet::new(),
            calls: JoinSet::new(),
            user_calls: JoinSet::new(),
            works: Works::default(),
            seen: Seen::default(),
            board,
            gauges,
            spans,
        };
        (driver, actions)
    }

    /// Runs until the member has ended. Cancelling `kill` ends it as a crash would, but for its tasks, which stop.
    pub(crate) async fn run(mut self, actions: Vec<Action>) {
        let exit = match AssertUnwindSafe(self.live(actions)).catch_unwind().await {
            Ok(exit) => exit,
            Err(panic) => self.fail(message_of(panic.as_ref()).to_owned()).await,
        };
        self.ports.tenure.set(None);
        self.feed_tasks.abort_all();
        if !self.killed {
            let rest = async { while self.calls.join_next().await.is_some() {} };
            // Best effort: a lease that nobody ends, ends by itself.
            drop(tokio::time::timeout(COURTESY, rest).await);
        }
        self.board.ended(exit);
    }

    async fn live(&mut self, actions: Vec<Action>) -> Exit {
        self.feed_tasks.spawn(user::hear_of_given_up(self.ports.clone(), self.to_inputs.clone()));
        let (place, provider) = (self.ports.place.clone(), self.ports.provider.clone());
        self.feed_tasks.spawn(user::hear_of_changes(place, provider, self.to_inputs.clone()));
        let mut exit = self.perform(actions);
        while exit.is_none() {
            let input = self.next_input().await;
            self.works.note(&input);
            let now = self.now();
            let actions = self.node.step(now, input);
            exit = self.perform(actions);
        }
        exit.unwrap_or(Exit::Asked)
    }

    /// The next thing that happens. Answers of the store come first: they are few, and signs of life are among them.
    async fn next_input(&mut self) -> Input {
        let (pause, clock, group) = (self.pause(), &self.ports.clock, &self.board.group);
        let due = clock.now() + pause;
        tokio::select! {
            biased;
            () = self.kill.cancelled(), if !self.killed => {
                self.killed = true;
                Input::Command(Command::Kill)
            }
            // Calls catch panics; only the runtime's end is left.
            Some(done) = self.calls.join_next(), if !self.calls.is_empty() => done.unwrap_or(Input::Tick),
            input = async {
                tokio::select! {
                    Some(command) = self.commands.recv() => Input::Command(command),
                    Some(input) = self.inputs.recv() => input,
                    Some(done) = self.user_calls.join_next(), if !self.user_calls.is_empty() => {
                        done.unwrap_or(Input::Tick)
                    }
                    () = tokio::time::sleep(pause) => {
                        crate::metrics::driver_delayed(group, clock.now().since(due));
                        Input::Tick
                    }
                }
            } => input,
        }
    }

    /// The machine has panicked, and can no longer say when to stop: everything stops now.
    async fn fail(&mut self, error: String) -> Exit {
        self.ports.tenure.set(None);
        self.board.emit(Event::Failed { error: error.clone() });
        let limit = self.limits.fencing;
        let fenced = async {
            loop {
                for holding in self.works.stop_all() {
                    self.call_revoke(holding);
                }
                if self.works.is_empty() {
                    return;
                }
                match self.user_calls.join_next().await {
                    Some(done) => self.works.note(&done.unwrap_or(Input::Tick)),
                    None => return,
                }
            }
        };
        match tokio::time::timeout(limit, fenced).await {
            Ok(()) => Exit::Failed(error),
            Err(_) => Exit::Failed(format!("{error}; {} tasks may still run", self.works.len())),
        }
    }

    fn now(&self) -> Now {
        Now { at: self.ports.clock.now(), unix_millis: self.ports.clock.unix_millis() }
    }

    /// Until the next tick. The runtime's timers stand still while the machine is suspended and the deadline does
    /// not, so no sleep is long.
    fn pause(&self) -> Duration {
        let now = self.now();
        let wake = self.node.next_wake(now).map_or(self.limits.sleep, |at| at.since(now.at));
        wake.min(self.limits.sleep)
    }

    fn perform(&mut self, actions: Vec<Action>) -> Option<Exit> {
        self.ports.tenure.set(self.node.session().map(|session| session.deadline));
        let mut exit = None;
        for action in actions {
            match action {
                Action::Call(id, call) => self.call(id, call),
                Action::Follow { feed, epoch, prefix } => self.follow(feed, epoch, prefix),
                Action::Unfollow(feed) => self.unfollow(feed),
                Action::Assign(holding) => self.assign(holding),
                Action::AbandonAssign(holding) => self.works.abandon(&holding),
                Action::Revoke(holding) => self.revoke(holding),
                Action::AskProvider => {
                    self.user_calls.spawn(user::ask_provider(self.ports.clone(), self.limits.provider));
                }
                Action::AskFloor => {
                    self.user_calls.spawn(user::ask_floor(self.ports.clone(), self.limits.provider));
                }
                Action::Plan(request) => self.plan(request),
                Action::Emit(event) => {
                    self.spans.follow(&event);
                    self.spans.current().in_scope(|| self.board.emit(event));
                }
                Action::Done(how) => exit = Some(how),
            }
        }
        self.board.update(&self.node);
        self.gauges.show(&self.node, self.now());
        exit
    }

    fn call(&mut self, id: CallId, call: Call) {
        let (store, group, seen) = (self.ports.store.clone(), self.board.group.clone(), self.seen.clone());
        self.calls.spawn(async move {
            let before = seen.before();
            let kind = call.kind();
            if let Some(bytes) = ack_bytes(&call) {
                crate::metrics::ack_written(&group, bytes);
            }
            let reply = match AssertUnwindSafe(ask_store(store, call)).catch_unwind().await {
                Ok(reply) => reply,
                Err(panic) => {
                    let error = format!("the store's adapter panicked: {}", message_of(panic.as_ref()));
                    kind.failed(CoordinationError::Unknown(error))
                }
            };
            if let Reply::Committed(Ok(TxnOutcome::Applied { revision })) = &reply {
                seen.wrote(before, *revision);
            }
            if let Some(error) = reply.error() {
                crate::metrics::store_failed(&group, error);
            }
            Input::Reply(id, reply)
        });
    }

    fn follow(&mut self, feed: FeedId, epoch: u64, prefix: String) {
        self.unfollow(feed);
        let (store, inputs) = (self.ports.store.clone(), self.to_inputs.clone());
        let backoff = Backoff::new(&self.board.instance);
        // The own keys are always followed: they tell for all feeds.
        let seen = (feed == FeedId::Own).then(|| self.seen.clone());
        let task = Feed { store, feed, epoch, prefix, inputs, backoff, seen };
        self.feeds.insert(feed, self.feed_tasks.spawn(task.run()));
        // Feeds that were aborted leave their results behind; take them out.
        while self.feed_tasks.try_join_next().is_some() {}
    }

    fn unfollow(&mut self, feed: FeedId) {
        if let Some(task) = self.feeds.remove(&feed) {
            task.abort();
        }
    }

    fn assign(&mut self, holding: Holding) {
        let (span, abandoned) = (self.spans.of_task("assign", &holding), self.works.start(&holding));
        self.user_calls.spawn(user::assign(self.ports.clone(), holding, span, abandoned));
    }

    fn revoke(&mut self, holding: Holding) {
        self.works.stop(&holding);
        let (clock, group) = (self.ports.clock.clone(), self.board.group.clone());
        let begun = clock.now();
        let call = self.revoke_call(holding);
        self.user_calls.spawn(call.inspect(move |_| {
            crate::metrics::revoke_took(&group, clock.now().since(begun));
        }));
    }

    /// Without a look at the clock, which may be what panics.
    fn call_revoke(&mut self, holding: Holding) {
        let call = self.revoke_call(holding);
        self.user_calls.spawn(call);
    }

    fn revoke_call(&self, holding: Holding) -> impl Future<Output = Input> + Send + use<> {
        self.board.revoking(&holding);
        let span = self.spans.of_task("revoke", &holding);
        user::revoke(self.ports.clone(), holding, span)
    }

    fn plan(&mut self, request: Arc<PlanRequest>) {
        let (clock, group) = (self.ports.clock.clone(), self.board.group.clone());
        let begun = clock.now();
        let plan = self.planner.clone().plan(self.ports.place.clone(), request);
        self.user_calls.spawn(plan.inspect(move |_| {
            crate::metrics::plan_took(&group, clock.now().since(begun));
        }));
    }
}

impl Drop for Driver {
    /// Also when the runtime ends: nobody watches the deadline any more.
    fn drop(&mut self) {
        self.ports.tenure.set(None);
    }
}

/// The size of the acknowledgement that a call writes, if it writes one.
fn ack_bytes(call: &Call) -> Option<usize> {
    let Call::Commit(txn) = call else { return None };
    let ack = txn.ops.iter().find(|op| matches!(op, Op::Put { .. }) && op.key().ends_with("/ack"))?;
    Some(ack.bytes())
}

async fn ask_store(store: Arc<dyn Coordination>, call: Call) -> Reply {
    match call {
        Call::Grant { ttl } => {
            let lease = store.grant_lease(ttl).await;
            Reply::Granted(lease.map(|lease| (lease, Incarnation(Uuid::new_v4()))))
        }
        Call::KeepAlive(lease) => Reply::KeptAlive(store.keep_alive(lease).await),
        Call::Revoke(lease) => Reply::Revoked(store.revoke_lease(lease).await),
        Call::Commit(txn) => Reply::Committed(store.commit(txn).await),
    }
}
