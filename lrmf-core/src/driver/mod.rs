//! Performs what the protocol asks for, with a real store, worker, provider and clock, and feeds back what came of it.
//!
//! One task runs the machine; everything that can take time runs beside it in tasks that it owns and that end with it.

mod feed;
mod spans;
mod status;

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use uuid::Uuid;

use crate::clock::Clock;
use crate::coordination::Coordination;
use crate::ids::Incarnation;
use crate::metrics::Gauges;
use crate::protocol::node::{Node, NodeConfig};
use crate::protocol::{Action, Call, CallId, Command, Exit, FeedId, Input, Now, Reply, StopError};
use crate::provider::TaskProvider;
use crate::task::Holding;
use crate::tenure::Tenure;
use crate::worker::{GivenUp, Worker};

pub(crate) use feed::Feed;
use spans::Spans;
pub(crate) use status::Board;
pub use status::{HeldTasks, MemberStage, MemberStatus};

/// How long calls that nobody waits for may still take when the member has ended.
const COURTESY: Duration = Duration::from_millis(250);

/// What a member works with.
#[derive(Clone)]
pub(crate) struct Ports {
    pub(crate) store: Arc<dyn Coordination>,
    pub(crate) worker: Arc<dyn Worker>,
    pub(crate) provider: Arc<dyn TaskProvider>,
    pub(crate) clock: Arc<dyn Clock>,
    /// What the driver keeps up to date.
    pub(crate) tenure: Tenure,
}

/// Runs one member.
pub(crate) struct Driver {
    ports: Ports,
    node: Node,
    provider_timeout: Duration,
    longest_sleep: Duration,
    /// What the feeds deliver.
    inputs: mpsc::Receiver<Input>,
    to_inputs: mpsc::Sender<Input>,
    commands: mpsc::Receiver<Command>,
    kill: CancellationToken,
    feeds: BTreeMap<FeedId, AbortHandle>,
    feed_tasks: JoinSet<()>,
    /// Calls of the store, the worker and the provider.
    calls: JoinSet<Input>,
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
        let (provider_timeout, longest_sleep) = (settings.provider_timeout, settings.margin / 4);
        let (node, actions) = Node::new(config);
        let (gauges, spans) = (Gauges::new(&board.group), Spans::new(&board.group, &board.instance));
        let driver = Self {
            ports,
            node,
            provider_timeout,
            longest_sleep,
            inputs,
            to_inputs,
            commands,
            kill,
            feeds: BTreeMap::new(),
            feed_tasks: JoinSet::new(),
            calls: JoinSet::new(),
            board,
            gauges,
            spans,
        };
        (driver, actions)
    }

    /// Runs until the member has ended. Cancelling `kill` ends it as a crash would, but for its tasks, which stop.
    pub(crate) async fn run(mut self, actions: Vec<Action>) {
        self.feed_tasks.spawn(hear_of_given_up(self.ports.worker.clone(), self.to_inputs.clone()));
        let mut exit = self.perform(actions);
        self.heed_hints();
        let mut killed = false;
        while exit.is_none() {
            let pause = self.pause();
            let input = tokio::select! {
                () = self.kill.cancelled(), if !killed => {
                    killed = true;
                    Input::Command(Command::Kill)
                }
                Some(command) = self.commands.recv() => Input::Command(command),
                Some(input) = self.inputs.recv() => input,
                Some(done) = self.calls.join_next(), if !self.calls.is_empty() => match done {
                    Ok(input) => input,
                    // Calls catch the panics of users' code; only the runtime's end is left.
                    Err(_) => Input::Tick,
                },
                () = tokio::time::sleep(pause) => Input::Tick,
            };
            let now = self.now();
            let actions = self.node.step(now, input);
            exit = self.perform(actions);
        }
        self.ports.tenure.set(None);
        self.feed_tasks.abort_all();
        if !killed {
            let rest = async { while self.calls.join_next().await.is_some() {} };
            // Best effort: a lease that nobody ends, ends by itself.
            drop(tokio::time::timeout(COURTESY, rest).await);
        }
        self.board.ended(exit.unwrap_or(Exit::Asked));
    }

    fn now(&self) -> Now {
        Now { at: self.ports.clock.now(), unix_millis: self.ports.clock.unix_millis() }
    }

    /// Until the next tick. The runtime's timers stand still while the machine is suspended and the deadline does
    /// not, so no sleep is long.
    fn pause(&self) -> Duration {
        let now = self.now();
        let wake = self.node.next_wake(now).map_or(self.longest_sleep, |at| at.since(now.at));
        wake.min(self.longest_sleep)
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
                Action::Revoke(holding) => self.revoke(holding),
                Action::AskProvider => self.ask_provider(),
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
        let store = self.ports.store.clone();
        self.calls.spawn(async move {
            let reply = match call {
                Call::Grant { ttl } => {
                    let lease = store.grant_lease(ttl).await;
                    Reply::Granted(lease.map(|lease| (lease, Incarnation(Uuid::new_v4()))))
                }
                Call::KeepAlive(lease) => Reply::KeptAlive(store.keep_alive(lease).await),
                Call::Revoke(lease) => Reply::Revoked(store.revoke_lease(lease).await),
                Call::Commit(txn) => Reply::Committed(store.commit(txn).await),
            };
            Input::Reply(id, reply)
        });
    }

    fn follow(&mut self, feed: FeedId, epoch: u64, prefix: String) {
        self.unfollow(feed);
        let (store, inputs) = (self.ports.store.clone(), self.to_inputs.clone());
        let task = Feed { store, feed, epoch, prefix, inputs };
        self.feeds.insert(feed, self.feed_tasks.spawn(task.run()));
        // Feeds that were aborted leave their results behind; take them out.
        while self.feed_tasks.try_join_next().is_some() {}
    }

    /// Passes on what the provider says about changes, for as long as it says something.
    fn heed_hints(&mut self) {
        let Some(mut changes) = self.ports.provider.changes() else { return };
        let inputs = self.to_inputs.clone();
        self.feed_tasks.spawn(async move {
            while changes.next().await.is_some() {
                if inputs.send(Input::Command(Command::Hint)).await.is_err() {
                    return;
                }
            }
        });
    }

    fn unfollow(&mut self, feed: FeedId) {
        if let Some(task) = self.feeds.remove(&feed) {
            task.abort();
        }
    }

    fn assign(&mut self, holding: Holding) {
        let (worker, tenure) = (self.ports.worker.clone(), self.ports.tenure.clone());
        let span = self.spans.of_task("assign", &holding);
        let call = async move {
            let (key, token) = (holding.task.key.clone(), holding.token);
            let holdings = [holding];
            let result = AssertUnwindSafe(worker.assign_within(&holdings, &tenure)).catch_unwind().await;
            let result = match result {
                Ok(result) => result.map_err(|error| format!("{error:#}")),
                Err(panic) => Err(format!("panicked: {}", message(panic.as_ref()))),
            };
            Input::Assigned { key, token, result }
        };
        self.calls.spawn(call.instrument(span));
    }

    fn revoke(&mut self, holding: Holding) {
        self.board.revoking(&holding);
        let (worker, clock) = (self.ports.worker.clone(), self.ports.clock.clone());
        let group = self.board.group.clone();
        let span = self.spans.of_task("revoke", &holding);
        let call = async move {
            let (key, token) = (holding.task.key.clone(), holding.token);
            let holdings = [holding];
            let begun = clock.now();
            let result = AssertUnwindSafe(worker.revoke(&holdings)).catch_unwind().await;
            crate::metrics::revoke_took(&group, clock.now().since(begun));
            let result = match result {
                Ok(result) => result.map_err(|error| StopError::Failed(format!("{error:#}"))),
                Err(panic) => Err(StopError::Panicked(message(panic.as_ref()))),
            };
            Input::Revoked { key, token, result }
        };
        self.calls.spawn(call.instrument(span));
    }

    fn ask_provider(&mut self) {
        let (provider, limit) = (self.ports.provider.clone(), self.provider_timeout);
        self.calls.spawn(async move {
            let answer = AssertUnwindSafe(tokio::time::timeout(limit, provider.tasks())).catch_unwind().await;
            Input::Tasks(match answer {
                Ok(Ok(tasks)) => tasks.map_err(|error| format!("{error:#}")),
                Ok(Err(_)) => Err(format!("no answer within {limit:?}")),
                Err(panic) => Err(format!("panicked: {}", message(panic.as_ref()))),
            })
        });
    }
}

/// Passes on what the worker gives up, until nobody listens or it is aborted.
async fn hear_of_given_up(worker: Arc<dyn Worker>, inputs: mpsc::Sender<Input>) {
    loop {
        let GivenUp { key, token, error } = worker.given_up().await;
        if inputs.send(Input::GivenUp { key, token, error }).await.is_err() {
            return;
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
