//! Processes, and what is on its way to and from them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::assignor::{Assignor, StickyBalanced};
use crate::config::CoordinatorConfig;
use crate::coordination::{LeaseId, TxnLimits};
use crate::ids::{Incarnation, Token};
use crate::protocol::leader::{LeaderConfig, MoveLimits};
use crate::protocol::node::{Node, NodeConfig};
use crate::protocol::{Action, Call, CallId, FeedId, FeedItem, Input, Now, Reply};
use crate::task::Task;

use super::canon::Parts;
use super::event::Fault;
use super::shown::{Shown, show_item, shown};
use super::state::{NOW, State, Violation, keys, name};

/// Something that is on its way, and whether a fault holds it back.
#[derive(Clone, Debug)]
pub(super) struct Held<T> {
    pub(super) value: T,
    pub(super) held: bool,
}

impl<T> Held<T> {
    fn moving(value: T) -> Self {
        Self { value, held: false }
    }
}

/// The places of what is not held back.
pub(super) fn free<T>(of: &[Held<T>]) -> impl Iterator<Item = usize> {
    of.iter().enumerate().filter(|(_, held)| !held.held).map(|(at, _)| at)
}

#[derive(Clone, Debug)]
pub(super) struct Feed {
    pub(super) epoch: u64,
    pub(super) prefix: String,
    pub(super) listed: bool,
    pub(super) held: bool,
    pub(super) queue: VecDeque<Arc<Shown<FeedItem>>>,
    pub(super) delivered: VecDeque<Arc<Shown<FeedItem>>>,
}

#[derive(Clone, Debug)]
pub(super) struct Process {
    pub(super) instance: usize,
    pub(super) node: Arc<Shown<Node>>,
    pub(super) feeds: BTreeMap<FeedId, Feed>,
    pub(super) calls: Vec<Held<(CallId, Call)>>,
    pub(super) answers: Vec<Held<(CallId, Reply)>>,
    pub(super) running: BTreeMap<Arc<str>, Token>,
    pub(super) stopping: Vec<Held<(Arc<str>, Token)>>,
    pub(super) session: Option<(LeaseId, Incarnation)>,
    /// It stands still: nothing reaches it, and nothing that it has sent arrives.
    pub(super) still: bool,
    pub(super) over: bool,
}

impl Feed {
    pub(super) fn due(&self) -> bool {
        !self.listed || !self.queue.is_empty()
    }
}

impl Process {
    pub(super) fn holds_back(&self) -> bool {
        self.still
            || self.calls.iter().any(|call| call.held)
            || self.answers.iter().any(|answer| answer.held)
            || self.stopping.iter().any(|stop| stop.held)
            || self.feeds.values().any(|feed| feed.held)
    }

    pub(super) fn release(&mut self) {
        self.still = false;
        self.calls.iter_mut().for_each(|call| call.held = false);
        self.answers.iter_mut().for_each(|answer| answer.held = false);
        self.stopping.iter_mut().for_each(|stop| stop.held = false);
        self.feeds.values_mut().for_each(|feed| feed.held = false);
    }
}

impl State {
    pub(super) fn start(&mut self, instance: usize) -> Result<(), Violation> {
        let leader = LeaderConfig {
            keys: keys(),
            assignor: StickyBalanced.name(),
            limits: TxnLimits::ETCD,
            settle: Duration::ZERO,
            mode: self.scenario.mode,
            companions: Duration::ZERO,
            provider_period: Duration::from_secs(1000),
            moves: MoveLimits { most: 10, most_of_zone: 10, zone_per_minute: None },
            patience: std::time::Duration::from_secs(3600),
            has_floor: false,
            rules: self.scenario.rules,
        };
        let settings = CoordinatorConfig {
            ttl: Duration::from_secs(3600),
            mode: self.scenario.mode,
            ..CoordinatorConfig::default()
        };
        let (node, actions) = Node::new(NodeConfig { instance: name(instance), settings, leader });
        let parts = Parts::of(&node.memory());
        let process = Process {
            instance,
            node: Arc::new(Shown { value: node, parts }),
            feeds: BTreeMap::new(),
            calls: Vec::new(),
            answers: Vec::new(),
            running: BTreeMap::new(),
            stopping: Vec::new(),
            session: None,
            still: false,
            over: false,
        };
        self.processes.push(process);
        let (ix, mut inputs) = (self.processes.len() - 1, VecDeque::new());
        for action in actions {
            self.perform(ix, action, &mut inputs)?;
        }
        self.inputs(ix, NOW, inputs)
    }

    pub(super) fn input(&mut self, process: usize, now: Now, input: Input) -> Result<(), Violation> {
        self.inputs(process, now, VecDeque::from([input]))
    }

    fn inputs(&mut self, process: usize, now: Now, mut inputs: VecDeque<Input>) -> Result<(), Violation> {
        let mut node = self.processes[process].node.value.clone();
        while let Some(input) = inputs.pop_front() {
            let actions = node.step(now, input);
            if let Some(session) = node.session() {
                self.processes[process].session = Some((session.lease, session.record.incarnation));
            }
            for action in actions {
                self.perform(process, action, &mut inputs)?;
            }
        }
        let parts = Parts::of(&node.memory());
        self.processes[process].node = Arc::new(Shown { value: node, parts });
        Ok(())
    }

    fn perform(&mut self, ix: usize, action: Action, inputs: &mut VecDeque<Input>) -> Result<(), Violation> {
        let tasks = || self.scenario.tasks.iter().map(|key| Task::new(*key, "")).collect();
        match action {
            Action::AskProvider => inputs.push_back(Input::Tasks(Ok(tasks()))),
            Action::AskFloor => inputs.push_back(Input::Floor(Ok(0))),
            Action::Plan(request) => {
                let answer = request.ask(&StickyBalanced);
                inputs.push_back(Input::Planned { request, answer });
            }
            // Nothing takes long here.
            Action::AbandonAssign(_) => {}
            Action::Call(id, Call::Grant { ttl }) => {
                self.sessions += 1;
                let incarnation = Incarnation(Uuid::from_u128(self.sessions));
                let mut store = self.store.value.clone();
                let lease = store.grant(Duration::ZERO, ttl);
                self.store = shown(store);
                inputs.push_back(Input::Reply(id, Reply::Granted(Ok((lease, incarnation)))));
            }
            Action::Call(id, call) => self.processes[ix].calls.push(Held::moving((id, call))),
            Action::Follow { feed, epoch, prefix } => {
                let (queue, delivered) = (VecDeque::new(), VecDeque::new());
                let again = self.processes[ix].feeds.contains_key(&feed);
                let state = Feed { epoch, prefix, listed: !again, held: false, queue, delivered };
                if !again {
                    let item = FeedItem::Loaded(self.store.value.list(&state.prefix));
                    inputs.push_back(Input::Feed { feed, epoch, item });
                }
                self.processes[ix].feeds.insert(feed, state);
            }
            Action::Unfollow(feed) => drop(self.processes[ix].feeds.remove(&feed)),
            Action::Assign(holding) => {
                let (key, token) = (holding.task.key, holding.token);
                if self.processes[ix].running.insert(key.clone(), token).is_some() {
                    return Err(format!("P1: {key} is started where it runs"));
                }
                inputs.push_back(Input::Assigned { key, token, result: Ok(()) });
            }
            Action::Revoke(holding) => {
                self.processes[ix].stopping.push(Held::moving((holding.task.key, holding.token)));
            }
            Action::Emit(_) => {}
            Action::Done(_) => {
                let process = &mut self.processes[ix];
                process.over = true;
                let by = process.session.map(|(_, incarnation)| incarnation);
                self.strays
                    .extend(std::mem::take(&mut process.calls).into_iter().map(|call| (by, call.value.1)));
            }
        }
        Ok(())
    }

    pub(super) fn deliver(&mut self, ix: usize, feed: FeedId) -> Result<(), Violation> {
        let Some(state) = self.processes[ix].feeds.get_mut(&feed) else { return Ok(()) };
        let epoch = state.epoch;
        let item = if state.listed {
            state.queue.pop_front()
        } else {
            state.listed = true;
            Some(show_item(FeedItem::Loaded(self.store.value.list(&state.prefix))))
        };
        let Some(item) = item else { return Ok(()) };
        if feed == FeedId::Record && self.scenario.faults.contains(&Fault::Again) {
            state.delivered.push_back(item.clone());
            if state.delivered.len() > 3 {
                state.delivered.pop_front();
            }
        }
        self.input(ix, NOW, Input::Feed { feed, epoch, item: item.value.clone() })
    }
}
