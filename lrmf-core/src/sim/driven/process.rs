//! A simulated process with a real driver in it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, broadcast, mpsc, watch};
use tokio::task::AbortHandle;

use crate::driver::{HeldTasks, MemberStage, MemberStatus};
use crate::event::Event;
use crate::ids::{Incarnation, InstanceId, Token};
use crate::protocol::{Command, Exit};
use crate::sim::oracle::{Observed, Pause};
use crate::tenure::Tenure;

use super::clock::ProcessClock;

/// The way in which a revoke does not stop its task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    Hangs,
    Panicked,
}

/// A process.
pub(super) struct Driven {
    pub(super) instance: InstanceId,
    pub(super) clock: Arc<ProcessClock>,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) status: watch::Receiver<MemberStatus>,
    pub(super) held: watch::Receiver<HeldTasks>,
    pub(super) events: broadcast::Receiver<Event>,
    pub(super) tenure: Tenure,
    /// Ends the driver with all that it has spawned, as the end of a process does.
    pub(super) life: AbortHandle,
    pub(super) running: BTreeMap<Arc<str>, Token>,
    /// The tasks whose revoke hangs, or has panicked.
    pub(super) beyond_reach: BTreeMap<Arc<str>, Stop>,
    /// Those of them that sessions before have left behind.
    pub(super) left_behind: BTreeMap<Arc<str>, Stop>,
    /// The holdings that the user's code has given up, or did not start.
    pub(super) failed: BTreeSet<(Arc<str>, Token)>,
    pub(super) session: Option<Incarnation>,
    pub(super) stopping: bool,
    /// It is not to come back by itself.
    pub(super) told_to_end: bool,
    pub(super) killed: bool,
    pub(super) paused: bool,
    /// Wakes those who wait for the end of a pause, in the order in which they came.
    pub(super) resumed: Arc<Notify>,
    pub(super) pause_ended: Duration,
    /// Nothing gets through to the store or back until then.
    pub(super) cut_until: Duration,
}

impl Driven {
    /// Takes in what the driver has said since the last look.
    pub(super) fn look(&mut self) -> Vec<Event> {
        let mut heard = Vec::new();
        while let Ok(event) = self.events.try_recv() {
            heard.push(event.clone());
            match event {
                Event::Fenced { .. } | Event::Evicted => self.stopping = true,
                Event::Joined { incarnation } => {
                    self.stopping = false;
                    self.session = Some(incarnation);
                    let beyond_reach = std::mem::take(&mut self.beyond_reach);
                    self.running.retain(|key, _| !beyond_reach.contains_key(key));
                    self.left_behind.extend(beyond_reach);
                }
                _ => {}
            }
        }
        heard
    }

    pub(super) fn exit(&self) -> Option<Exit> {
        match &self.status.borrow().stage {
            MemberStage::Ended(exit) => Some(exit.clone()),
            MemberStage::Joining | MemberStage::Serving(_) => None,
        }
    }

    /// Tells the driver something, unless it has too much to do for that or has ended.
    pub(super) fn tell(&self, command: Command) {
        if self.commands.try_send(command).is_err() {
            tracing::debug!(instance = %self.instance, ?command, "not told");
        }
    }
}

impl Observed for Driven {
    fn instance(&self) -> &InstanceId {
        &self.instance
    }

    fn is_up(&self) -> bool {
        !self.killed && self.exit().is_none()
    }

    fn running(&self) -> &BTreeMap<Arc<str>, Token> {
        &self.running
    }

    fn session(&self) -> Option<Incarnation> {
        self.session
    }

    fn pause(&self) -> Pause {
        match self.pause_ended {
            _ if self.paused => Pause::Now,
            Duration::ZERO => Pause::Never,
            at => Pause::Until(at),
        }
    }

    fn is_stopping(&self) -> bool {
        self.stopping
    }

    fn is_beyond_reach(&self, key: &str) -> bool {
        self.beyond_reach.contains_key(key)
    }
}
