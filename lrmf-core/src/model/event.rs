//! The events that can happen, and what is gone through.

use crate::config::GroupMode;
use crate::coordination::LeaseId;
use crate::protocol::{FeedId, Rules};

/// What goes wrong, or is asked for by people; each takes one from the budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A call gets no answer; it is carried out at any time later, or never.
    Lose,
    /// A call is carried out, and its answer takes time.
    Slow,
    /// A call takes time before it is carried out.
    HoldCall,
    /// A watch delivers nothing for some time.
    HoldFeed,
    /// A task takes time to stop.
    HoldStop,
    /// A call is carried out and answered, and carried out once more at any time later.
    Twice,
    /// A process ends.
    Crash,
    /// A living process's session ends.
    End,
    /// The leader's key goes, and all sessions stay.
    Depose,
    /// The generation's key goes.
    Forget,
    /// What a watch of the own assignment has delivered, but for the last of it, is delivered again.
    Again,
    /// A watch is lost: what it has not delivered yet is not delivered, the feed is listed anew.
    Unwatch,
    /// A watch delivers the first of what it has, and the rest later.
    Partly,
    /// A second process starts under the name of a living one.
    Twin,
    /// A member is told to leave.
    Close,
    /// A member is told to stop and come back.
    Restart,
    /// A living process's contact ends; it may make it anew at once.
    Contact,
    /// A process stands still, and its contact ends.
    Silent,
}

/// Something that can happen. Members, calls and so on are named by their places in the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A slow answer arrives.
    Answer { process: usize, at: usize },
    /// A call is carried out and answered.
    Call { process: usize, at: usize },
    /// A write that nobody waits for is carried out.
    Stray { at: usize },
    /// A feed delivers all that it has.
    Feed { process: usize, feed: FeedId },
    /// A task has stopped.
    Stopped { process: usize, at: usize },
    /// A process starts.
    Start { instance: usize },
    /// A session that nobody keeps alive ends.
    Ends { lease: LeaseId },
    /// Something that was held back goes on.
    Release { process: usize },
    /// A member looks a second ahead.
    Tick { process: usize },
    /// A fault at a process; at which of its calls or feeds, where it is about one.
    Fault { fault: Fault, process: usize, at: usize },
}

/// The orders that are gone through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Every one.
    Any,
    /// One, but for the points at which sessions of the dead end, writes that nobody waits for are carried out, and what
    /// faults have held back goes on: those are all tried. Processes start again when nothing else moves, before or
    /// after their former session has ended.
    Plain,
}

/// The space that is explored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scenario {
    pub(super) mode: GroupMode,
    pub(super) order: Order,
    pub(super) tasks: [&'static str; 2],
    pub(super) faults: &'static [Fault],
    pub(super) budget: u8,
    pub(super) rules: Rules,
}
