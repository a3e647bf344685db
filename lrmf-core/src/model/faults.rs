//! Faults: where they can happen, and what they do.

use crate::coordination::{Op, Txn};
use crate::error::CoordinationError;
use crate::protocol::{Call, Command, FeedId, Input, Reply};

use super::event::{Event, Fault};
use super::process::{Held, Process, free};
use super::state::{NOW, State, Violation, keys};

impl State {
    /// At how many things of a process a fault can happen.
    pub(super) fn places(&self, state: &Process, process: usize, fault: Fault) -> usize {
        if state.still {
            return 0;
        }
        let once = usize::from;
        let first = process == 0;
        let serves = state.node.value.session().is_some();
        match fault {
            Fault::Lose | Fault::Slow | Fault::Twice | Fault::HoldCall => free(&state.calls).count(),
            Fault::HoldFeed => state.feeds.values().filter(|feed| feed.due() && !feed.held).count(),
            Fault::HoldStop => free(&state.stopping).count(),
            Fault::Crash => 1,
            Fault::End => once(state.node.value.lease().is_some()),
            Fault::Depose => once(first && self.store.value.get(&keys().leader()).is_some()),
            Fault::Forget => once(first && self.store.value.get(&keys().generation()).is_some()),
            Fault::Again => {
                state.feeds.get(&FeedId::Record).map_or(0, |feed| feed.delivered.len().saturating_sub(1))
            }
            Fault::Unwatch => state.feeds.len(),
            Fault::Partly => state.feeds.values().filter(|feed| feed.queue.len() > 1).count(),
            Fault::Twin => once(self.processes.iter().filter(|p| p.instance == state.instance).count() == 1),
            Fault::Close | Fault::Restart => once(serves),
            Fault::Contact | Fault::Silent => once(state.node.value.contact_lease().is_some()),
        }
    }

    pub(super) fn fault(&mut self, fault: Fault, process: usize, at: usize) -> Result<(), Violation> {
        let by = self.processes[process].session.map(|(_, incarnation)| incarnation);
        let call = free(&self.processes[process].calls).nth(at).unwrap_or_default();
        match fault {
            Fault::Lose => {
                let (id, call) = self.processes[process].calls.remove(call).value;
                let reply = no_answer(&call);
                self.strays.push((by, call));
                self.input(process, NOW, Input::Reply(id, reply))?;
            }
            Fault::Slow => {
                let (id, call) = self.processes[process].calls.remove(call).value;
                let reply = self.carry_out(by, &call)?;
                self.processes[process].answers.push(Held { value: (id, reply), held: true });
            }
            Fault::Twice => {
                self.strays.push((by, self.processes[process].calls[call].value.1.clone()));
                self.happen(Event::Call { process, at: call })?;
            }
            Fault::HoldCall => self.processes[process].calls[call].held = true,
            Fault::HoldFeed => {
                let feeds = self.processes[process].feeds.values_mut();
                let mut feeds = feeds.filter(|feed| feed.due() && !feed.held);
                feeds.nth(at).into_iter().for_each(|feed| feed.held = true);
            }
            Fault::HoldStop => {
                let stops = self.processes[process].stopping.iter_mut();
                stops.filter(|stop| !stop.held).nth(at).into_iter().for_each(|stop| stop.held = true);
            }
            Fault::Crash => {
                let process = self.processes.remove(process);
                self.strays.extend(process.calls.into_iter().map(|call| (by, call.value.1)));
            }
            Fault::End => {
                if let Some(lease) = self.processes[process].node.value.lease() {
                    self.change(|store| store.revoke(lease));
                }
            }
            Fault::Contact => self.silence(process),
            Fault::Silent => {
                self.processes[process].still = true;
                self.silence(process);
            }
            Fault::Depose => self.delete(keys().leader())?,
            Fault::Forget => self.delete(keys().generation())?,
            Fault::Again => {
                let feed = &self.processes[process].feeds[&FeedId::Record];
                let (epoch, item) = (feed.epoch, feed.delivered[at].value.clone());
                self.input(process, NOW, Input::Feed { feed: FeedId::Record, epoch, item })?;
            }
            Fault::Unwatch => {
                if let Some(feed) = self.processes[process].feeds.values_mut().nth(at) {
                    feed.listed = false;
                    feed.queue.clear();
                }
            }
            Fault::Partly => {
                let mut feeds = self.processes[process].feeds.iter().filter(|(_, feed)| feed.queue.len() > 1);
                if let Some(feed) = feeds.nth(at).map(|(id, _)| *id) {
                    self.deliver(process, feed)?;
                }
            }
            Fault::Twin => self.start(self.processes[process].instance)?,
            Fault::Close => self.input(process, NOW, Input::Command(Command::Close))?,
            Fault::Restart => self.input(process, NOW, Input::Command(Command::Restart))?,
        }
        Ok(())
    }

    fn silence(&mut self, process: usize) {
        if let Some(lease) = self.processes[process].node.value.contact_lease() {
            self.change(|store| store.revoke(lease));
        }
    }

    fn delete(&mut self, key: String) -> Result<(), Violation> {
        let txn = Txn { guards: Vec::new(), ops: vec![Op::Delete { key }] };
        self.carry_out(None, &Call::Commit(txn)).map(drop)
    }
}

fn no_answer(call: &Call) -> Reply {
    let error = CoordinationError::Unknown("no answer".into());
    match call {
        Call::Grant { .. } => Reply::Granted(Err(error)),
        Call::KeepAlive(_) => Reply::KeptAlive(Err(error)),
        Call::Revoke(_) => Reply::Revoked(Err(error)),
        Call::Commit(_) => Reply::Committed(Err(error)),
    }
}
