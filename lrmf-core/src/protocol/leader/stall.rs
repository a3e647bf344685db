//! A leader that gets nowhere, and what a new leader has to know from outside the store before it grants anything.
//!
//! # The problem
//! A leader whose reads or writes fail keeps its key for as long as its session lives, and nobody else can do what it
//! cannot. So it leaves the leadership to another member when that has gone on for one TTL, and stays away for as long.
//! If the fault is the store's and not its own, the leadership goes round, which costs nothing that works.

use crate::clock::Timestamp;
use crate::coordination::TxnOutcome;
use crate::error::CoordinationError;
use crate::event::Event;
use crate::protocol::Now;
use std::time::Duration;

use super::{Leader, LeaderAction, Phase};

/// The number of writes that have to fail in a row, however long that takes.
const LEAST_FAILURES: u32 = 3;
/// The pause before the floor is asked for again.
const ASK_FLOOR_AGAIN: Duration = Duration::from_secs(1);

/// Since when a leader gets nowhere.
#[derive(Clone, Debug)]
pub(super) struct Stall {
    /// Since when it waits for the records.
    loading: Option<Timestamp>,
    /// Since when every write has failed, how many have, and why the last one did.
    failing: Option<(Timestamp, u32, String)>,
}

impl Stall {
    pub(super) fn new(now: Timestamp) -> Self {
        Self { loading: Some(now), failing: None }
    }

    pub(super) fn loading(&mut self, now: Timestamp) {
        self.loading.get_or_insert(now);
    }

    pub(super) fn loaded(&mut self) {
        self.loading = None;
    }

    pub(super) fn committed(&mut self, now: Timestamp, result: &Result<TxnOutcome, CoordinationError>) {
        match result {
            Ok(_) => self.failing = None,
            Err(error) => {
                let (since, count) = self.failing.as_ref().map_or((now, 0), |(at, count, _)| (*at, *count));
                self.failing = Some((since, count + 1, error.to_string()));
            }
        }
    }

    /// The time at which a leader that waits for the records has waited for too long.
    pub(super) fn ends_at(&self, patience: Duration) -> Option<Timestamp> {
        self.loading.map(|since| since + patience)
    }

    fn reason(&self, now: Timestamp, patience: Duration) -> Option<String> {
        match &self.failing {
            Some((since, count, error)) if *count >= LEAST_FAILURES && now >= *since + patience => {
                return Some(format!("{count} writes in a row failed, at last: {error}"));
            }
            _ => {}
        }
        let waits = self.ends_at(patience).is_some_and(|at| now >= at);
        waits.then(|| format!("the records of the group could not be read for {patience:?}"))
    }
}

/// The highest generation that is known outside the store.
#[derive(Clone, Copy, Debug)]
pub(super) enum OuterFloor {
    /// It is asked for at this time.
    Unknown {
        ask_at: Timestamp,
    },
    Asked,
    Known(u64),
}

impl Leader {
    pub(super) fn give_up_if_stalled(&mut self, now: Now) {
        if self.phase == Phase::Over {
            return;
        }
        if let Some(why) = self.stall.reason(now.at, self.config.patience) {
            self.phase = Phase::Over;
            self.out.push(LeaderAction::Emit(Event::LeaderStalled { why }));
            self.out.push(LeaderAction::StepDown { abstain: true });
        }
    }

    /// The records are no longer heard of, until they are read again.
    pub fn on_interrupted(&mut self, now: Now) {
        self.stall.loading(now.at);
    }

    /// Returns true where to wait, as the group's records are older than what is known outside the store: its data was lost, or restored
    /// from an older copy. A member that has not noticed yet runs what it held, for a session at most.
    pub(super) fn waits_after_reset(&mut self, now: Now) -> bool {
        let behind = self.outer_floor().is_some_and(|floor| self.view.floor.0 < floor);
        if behind && self.hold_until.is_none() {
            self.hold_until = Some(now.at + self.config.patience);
        }
        behind && self.hold_until.is_some_and(|until| now.at < until)
    }

    /// The floor, once it is known; zero where there is none.
    pub(super) fn outer_floor(&self) -> Option<u64> {
        match self.outer_floor {
            _ if !self.config.has_floor => Some(0),
            OuterFloor::Known(floor) => Some(floor),
            OuterFloor::Unknown { .. } | OuterFloor::Asked => None,
        }
    }

    pub(super) fn ask_floor(&mut self, now: Now) {
        if self.floor_at().is_some_and(|at| now.at >= at) && self.phase != Phase::Over {
            self.outer_floor = OuterFloor::Asked;
            self.out.push(LeaderAction::AskFloor);
        }
    }

    pub(super) fn floor_at(&self) -> Option<Timestamp> {
        match self.outer_floor {
            OuterFloor::Unknown { ask_at } if self.config.has_floor => Some(ask_at),
            _ => None,
        }
    }

    /// The answer to [`LeaderAction::AskFloor`].
    pub fn on_floor(&mut self, now: Now, answer: Result<u64, String>) -> Vec<LeaderAction> {
        self.outer_floor = match answer {
            Ok(floor) => OuterFloor::Known(floor),
            Err(error) => {
                self.out.push(LeaderAction::Emit(Event::FloorFailed { error }));
                OuterFloor::Unknown { ask_at: now.at + ASK_FLOOR_AGAIN }
            }
        };
        self.advance(now)
    }
}
