//! A simulated process with one member in it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::coordination::Revision;
use crate::ids::{Incarnation, InstanceId, Token};
use crate::protocol::node::Node;
use crate::protocol::{FeedId, FeedItem, Input, Now};

use super::oracle::{Observed, Pause};

/// A feed as the process follows it.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) epoch: u64,
    pub(super) prefix: String,
    /// Changes after this are on their way; none while the feed is being listed.
    pub(super) watching: Option<Revision>,
    /// The last delivery's time, which the next one does not overtake.
    pub(super) last: Duration,
    /// The items delivered lately, to be delivered again by a broken network.
    pub(super) sent: Vec<FeedItem>,
}

/// A process.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) instance: InstanceId,
    pub(super) node: Node,
    pub(super) feeds: BTreeMap<FeedId, Feed>,
    /// The running tasks: from the call of assign to the end of revoke.
    pub(super) running: BTreeMap<Arc<str>, Token>,
    /// Its clock's rate, in millionths of real time.
    pub(super) rate: u64,
    pub(super) paused: bool,
    /// The end of the latest pause.
    pub(super) pause_ended: Duration,
    pub(super) inbox: Vec<Input>,
    /// Nothing gets through to the store or back until then.
    pub(super) cut_until: Duration,
    /// It was told to end, or stopped by itself.
    pub(super) stopping: bool,
    pub(super) done: bool,
    pub(super) killed: bool,
    pub(super) next_tick: Option<Duration>,
    /// The store's progress, as it has seen it.
    pub(super) seen: Revision,
    /// Its session as last seen.
    pub(super) session: Option<Incarnation>,
}

impl Process {
    pub(super) fn new(instance: InstanceId, node: Node, rate: u64) -> Self {
        Self {
            instance,
            node,
            feeds: BTreeMap::new(),
            running: BTreeMap::new(),
            rate,
            paused: false,
            pause_ended: Duration::ZERO,
            inbox: Vec::new(),
            cut_until: Duration::ZERO,
            stopping: false,
            done: false,
            killed: false,
            next_tick: None,
            seen: Revision(0),
            session: None,
        }
    }

    /// Its own time, as of a time of the simulation.
    pub(super) fn now(&self, at: Duration) -> Now {
        let micros = u64::try_from(at.as_micros()).unwrap_or(u64::MAX);
        let local = micros / 1_000_000 * self.rate + micros % 1_000_000 * self.rate / 1_000_000;
        Now {
            at: Timestamp(Duration::from_micros(local)),
            unix_millis: 1_000_000 + u64::try_from(at.as_millis()).unwrap_or(0),
        }
    }

    /// A time of the simulation that is not before a time of its own.
    pub(super) fn global(&self, local: Timestamp) -> Duration {
        let micros = u64::try_from(local.0.as_micros()).unwrap_or(u64::MAX);
        let whole = micros / self.rate * 1_000_000 + micros % self.rate * 1_000_000 / self.rate;
        Duration::from_micros(whole + 4)
    }
}

impl Observed for Process {
    fn instance(&self) -> &InstanceId {
        &self.instance
    }

    fn is_up(&self) -> bool {
        !self.killed && !self.done
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
}
