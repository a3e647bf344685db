//! Processes: what reaches them, and what they want done.

use std::sync::Arc;

use crate::config::CoordinatorConfig;
use crate::coordination::TxnLimits;
use crate::event::Event;
use crate::ids::InstanceId;
use crate::protocol::leader::{LeaderConfig, MoveLimits, PlanRequest};
use crate::protocol::node::{Node, NodeConfig};
use crate::protocol::{Action, AssignError, FeedItem, Input};
use crate::task::Holding;

use super::oracle::{Observed, Violation};
use super::process::Process;
use super::world::{Happening, LONGEST_REVOKE, World, settings_of};

impl World {
    pub(super) fn start(&mut self, instance: InstanceId) -> Result<(), Violation> {
        let settings = CoordinatorConfig { mode: self.mode, ..settings_of(self.seed, &instance) };
        let limits = self.limits();
        let most = if self.rng.per_mille(300) { 1 } else { 1000 };
        let leader = LeaderConfig {
            keys: self.keys.clone(),
            assignor: self.assignor.name(),
            limits,
            settle: settings.settle,
            mode: self.mode,
            companions: settings.companions,
            provider_period: settings.provider_period,
            moves: MoveLimits { most, ..MoveLimits::from(&settings) },
            patience: settings.ttl,
            has_floor: true,
            rules: self.rules,
        };
        let config = NodeConfig { instance: instance.clone(), settings, leader };
        let (node, actions) = Node::new(config);
        let rate = 995_000 + self.rng.below(10_001);
        self.note(|| format!("{instance} starts"));
        self.processes.push(Process::new(instance, node, rate));
        self.perform(self.processes.len() - 1, actions)
    }

    /// Writes of few operations, or of few bytes, so that chunks are split and acknowledgements are cut off; but not both, as
    /// a split takes several operations.
    fn limits(&mut self) -> TxnLimits {
        match self.rng.below(10) {
            0..3 => TxnLimits { ops: 5, bytes: 1 << 20 },
            3..5 => TxnLimits { ops: 128, bytes: 2048 },
            _ => TxnLimits { ops: 128, bytes: 1 << 20 },
        }
    }

    pub(super) fn input(&mut self, ix: usize, input: Input) -> Result<(), Violation> {
        let process = &mut self.processes[ix];
        if !process.is_up() {
            return Ok(());
        }
        if process.paused {
            if !matches!(input, Input::Tick) {
                process.inbox.push(input);
            }
            return Ok(());
        }
        match &input {
            Input::Revoked { key, token, .. } | Input::Assigned { key, token, result: Err(_) }
                if process.running.get(key) == Some(token) =>
            {
                process.running.remove(key);
            }
            Input::Feed { feed, epoch, item } => {
                if let Some(state) = process.feeds.get_mut(feed).filter(|state| state.epoch == *epoch) {
                    state.sent.push(item.clone());
                }
            }
            _ => {}
        }
        let now = process.now(self.now);
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>10.4} {} <- {}", self.now.as_secs_f64(), process.instance, shown(&input)));
        }
        let actions = process.node.step(now, input);
        self.perform(ix, actions)
    }

    fn perform(&mut self, ix: usize, actions: Vec<Action>) -> Result<(), Violation> {
        let session = self.processes[ix].node.session().map(|session| session.record.incarnation);
        if session.is_some() {
            self.processes[ix].session = session;
        }
        for action in actions {
            let name = self.processes[ix].instance.clone();
            self.note(|| format!("{name} -> {action:?}"));
            match action {
                Action::Call(id, call) => self.call(ix, id, call),
                Action::Follow { feed, epoch, prefix } => self.follow(ix, feed, epoch, prefix),
                Action::Unfollow(feed) => drop(self.processes[ix].feeds.remove(&feed)),
                Action::Assign(holding) => self.assign(ix, &holding)?,
                Action::Revoke(holding) => {
                    if !self.is_reset() {
                        self.oracle.undisturbed(&self.keys, &self.store, &self.processes[ix], &holding)?;
                    }
                    self.revoke(ix, &holding);
                }
                Action::AskProvider => self.ask(ix),
                Action::AskFloor => self.ask_floor(ix),
                Action::Plan(request) => self.plan(ix, request),
                Action::AbandonAssign(_) => {}
                Action::Emit(Event::Fenced { .. } | Event::Evicted) => self.processes[ix].stopping = true,
                Action::Emit(Event::Joined { .. }) => self.processes[ix].stopping = false,
                Action::Emit(_) => {}
                Action::Done(exit) => {
                    let process = &mut self.processes[ix];
                    process.done = true;
                    process.feeds.clear();
                    if !process.running.is_empty() {
                        return Err(format!("{name} ended ({exit:?}) and runs {:?}", process.running));
                    }
                }
            }
        }
        self.schedule_tick(ix);
        Ok(())
    }

    fn schedule_tick(&mut self, ix: usize) {
        let process = &mut self.processes[ix];
        if !process.is_up() {
            return;
        }
        let wake = process.node.next_wake(process.now(self.now)).map(|at| process.global(at).max(self.now));
        if wake != process.next_tick {
            process.next_tick = wake;
            if let Some(at) = wake {
                self.later(at - self.now, Happening::Tick { process: ix });
            }
        }
    }

    fn assign(&mut self, ix: usize, holding: &Holding) -> Result<(), Violation> {
        let (key, token) = (holding.task.key.clone(), holding.token);
        self.highest_token = self.highest_token.max(token);
        // A holder may begin late, beside the one after it, where P1 is given up.
        let excused = !self.exclusive || self.oracle.is_released(&self.processes[ix], &key, token);
        let highest = self.given.entry(key.clone()).or_default();
        if *highest >= token && !excused {
            return Err(format!("P3: a worker is given {key} with token {token}, after {highest}"));
        }
        *highest = token.max(*highest);
        let process = &mut self.processes[ix];
        if let Some(running) = process.running.insert(key.clone(), token) {
            return Err(format!("{} starts {key} ({token}) while {running} of it runs", process.instance));
        }
        let fails = self.faulty && self.rng.per_mille(20) && self.strikes();
        self.has_failed |= fails;
        let result = if fails { Err(AssignError::Failed("it fails".to_owned())) } else { Ok(()) };
        let after = self.rng.micros(100..5000);
        self.later(after, Happening::Deliver { process: ix, input: Input::Assigned { key, token, result } });
        Ok(())
    }

    fn revoke(&mut self, ix: usize, holding: &Holding) {
        let slow = self.faulty && self.rng.per_mille(100) && self.strikes();
        let after = self.rng.millis(0..if slow { LONGEST_REVOKE } else { 5 });
        let (key, token) = (holding.task.key.clone(), holding.token);
        self.later(
            after,
            Happening::Deliver { process: ix, input: Input::Revoked { key, token, result: Ok(()) } },
        );
    }

    fn plan(&mut self, ix: usize, request: Arc<PlanRequest>) {
        let answer = request.ask(self.assignor.as_ref());
        let after = self.rng.micros(10..1000);
        self.later(after, Happening::Deliver { process: ix, input: Input::Planned { request, answer } });
    }

    /// The highest token that any worker was ever given, as a store would know that they write to.
    fn ask_floor(&mut self, ix: usize) {
        let fails = self.faulty && self.rng.per_mille(50) && self.strikes();
        let answer = if fails { Err("it fails".to_owned()) } else { Ok(self.highest_token.0) };
        let after = self.rng.micros(100..5000);
        self.later(after, Happening::Deliver { process: ix, input: Input::Floor(answer) });
    }

    fn ask(&mut self, ix: usize) {
        let fails = self.faulty && self.rng.per_mille(50) && self.strikes();
        let answer = if fails { Err("it fails".to_owned()) } else { Ok(self.tasks.clone()) };
        let after = self.rng.micros(100..5000);
        self.later(after, Happening::Deliver { process: ix, input: Input::Tasks(answer) });
    }
}

fn shown(input: &Input) -> String {
    match input {
        Input::Feed { feed, item: FeedItem::Loaded(snapshot), .. } => {
            format!("{feed:?} loaded at {:?}: {} keys", snapshot.revision, snapshot.entries.len())
        }
        Input::Feed { feed, item: FeedItem::Changed(batch), .. } => {
            format!("{feed:?} changed at {:?}", batch.revision)
        }
        other => format!("{other:?}"),
    }
}
