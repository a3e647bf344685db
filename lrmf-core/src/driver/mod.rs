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

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

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
use crate::protocol::{Action, Call, CallId, CallKind, Command, Exit, FeedId, Input, Now, Reply};
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

/// The time that calls that nobody waits for may still take when the member has ended.
const COURTESY: Duration = Duration::from_millis(250);

/// The ports of a member.
#[derive(Clone)]
pub(crate) struct Ports {
    pub(crate) store: Arc<dyn Coordination>,
    pub(crate) worker: Arc<dyn Worker>,
    pub(crate) provider: Arc<dyn TaskProvider>,
    pub(crate) floor: Option<Arc<dyn GenerationFloor>>,
    pub(crate) assignor: Arc<dyn Assignor>,
    pub(crate) clock: Arc<dyn Clock>,
    /// The member's tenure, which the driver keeps up to date.
    pub(crate) tenure: Tenure,
    pub(crate) place: Place,
    /// The source of incarnations, none of which comes twice.
    pub(crate) incarnations: Arc<dyn Fn() -> Incarnation + Send + Sync>,
}

/// The limits that the driver keeps.
#[derive(Clone, Copy, Debug)]
struct Limits {
    provider: Duration,
    /// The time that fencing may take when the machine has panicked.
    fencing: Duration,
    sleep: Duration,
}

/// Runs one member.
pub(crate) struct Driver {
    ports: Ports,
    node: Node,
    limits: Limits,
    planner: Planner,
    /// The deliveries of the feeds, and what the user's code says unasked.
    inputs: mpsc::Receiver<Input>,
    to_inputs: mpsc::Sender<Input>,
    commands: mpsc::Receiver<Command>,
    kill: CancellationToken,
    killed: bool,
    /// The number of looks for inputs, which decides what is looked at first.
    looks: usize,
    feeds: BTreeMap<FeedId, AbortHandle>,
    feed_tasks: JoinSet<()>,
    /// Calls of the store.
    calls: JoinSet<Input>,
    /// The kinds of them of which the last one has failed.
    failed_calls: BTreeSet<CallKind>,
    /// Calls of the user's code.
    user_calls: JoinSet<Input>,
    works: Works,
    /// The store's progress, as seen.
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
            looks: 0,
            feeds: BTreeMap::new(),
            feed_tasks: JoinSet::new(),
            calls: JoinSet::new(),
            failed_calls: BTreeSet::new(),
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
            if let Input::Reply(_, reply) = &input
                && reply.error().is_some_and(CoordinationError::is_retryable)
            {
                self.failed_calls.insert(reply.kind());
            }
            let now = self.now();
            let actions = self.node.step(now, input);
            exit = self.perform(actions);
        }
        exit.unwrap_or(Exit::Asked)
    }

    /// The next thing that happens. Answers of the store come first: they are few, and signs of life are among them. The
    /// others take turns at being looked at first, so that none of them holds another one up, and so that a simulation
    /// repeats itself.
    async fn next_input(&mut self) -> Input {
        let pause = self.pause();
        let due = self.ports.clock.now() + pause;
        self.looks = self.looks.wrapping_add(1);
        let (first, clock, group) = (self.looks, &self.ports.clock, &self.board.group);
        let (commands, inputs, user_calls) = (&mut self.commands, &mut self.inputs, &mut self.user_calls);
        let mut sleep = pin!(tokio::time::sleep(pause));
        // A source that has ended is as silent as one that waits.
        let others = std::future::poll_fn(|cx| {
            for source in 0..4 {
                let found = match (first + source) % 4 {
                    0 => commands.poll_recv(cx).map(|command| command.map(Input::Command)),
                    1 => inputs.poll_recv(cx),
                    2 => user_calls.poll_join_next(cx).map(|done| Some(done?.unwrap_or(Input::Tick))),
                    _ => sleep.as_mut().poll(cx).map(|()| {
                        crate::metrics::driver_delayed(group, clock.now().since(due));
                        Some(Input::Tick)
                    }),
                };
                if let Poll::Ready(Some(input)) = found {
                    return Poll::Ready(input);
                }
            }
            Poll::Pending
        });
        tokio::select! {
            biased;
            () = self.kill.cancelled(), if !self.killed => {
                self.killed = true;
                Input::Command(Command::Kill)
            }
            // Calls catch panics; only the runtime's end is left.
            Some(done) = self.calls.join_next(), if !self.calls.is_empty() => done.unwrap_or(Input::Tick),
            input = others => input,
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
        self.ports.tenure.set(self.node.may_work_until());
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
        let incarnations = self.ports.incarnations.clone();
        if self.failed_calls.remove(&call.kind()) {
            crate::metrics::store_retried(&group);
        }
        self.calls.spawn(async move {
            let before = seen.before();
            let kind = call.kind();
            if let Some(bytes) = ack_bytes(&call) {
                crate::metrics::ack_written(&group, bytes);
            }
            let reply = match AssertUnwindSafe(ask_store(store, call, &*incarnations)).catch_unwind().await {
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
        let seen = Some(self.seen.clone());
        let group = Some(self.board.group.clone());
        let task = Feed { store, feed, epoch, prefix, inputs, backoff, seen, group };
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

async fn ask_store(
    store: Arc<dyn Coordination>,
    call: Call,
    incarnations: &(dyn Fn() -> Incarnation + Send + Sync),
) -> Reply {
    match call {
        Call::Grant { ttl } => {
            let lease = store.grant_lease(ttl).await;
            Reply::Granted(lease.map(|lease| (lease, incarnations())))
        }
        Call::KeepAlive(lease) => Reply::KeptAlive(store.keep_alive(lease).await),
        Call::Revoke(lease) => Reply::Revoked(store.revoke_lease(lease).await),
        Call::Commit(txn) => Reply::Committed(store.commit(txn).await),
    }
}
