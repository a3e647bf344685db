//! The properties that must hold when the faults have stopped.

use std::time::Duration;

use crate::keys::Control;

use super::oracle::{Observed, Violation};
use super::process::Process;
use super::world::{World, settings_of};

/// The time for which a group is observed. The provider is asked in this time, and heartbeats are sent.
const WINDOW: Duration = Duration::from_secs(6);

/// The same of a group that may do something once a minute.
const LONG_WINDOW: Duration = Duration::from_secs(61);

/// Within so many of them what failed before has been tried again, with all its pauses, and nothing is left to do.
const MOST_WINDOWS: u32 = 30;

impl World {
    /// P6.
    pub(super) fn all_held(&self) -> Result<(), Violation> {
        // Operators may have drained all that are left, and evicted the one that they had not.
        let may_hold = |p: &Process| p.is_up() && !self.has(&Control::Drain(p.instance.clone()));
        if !self.processes.iter().any(may_hold) {
            return Ok(());
        }
        for task in &self.tasks {
            let holds = |p: &&Process| p.is_up() && p.running.contains_key(&task.key);
            let holders: Vec<_> = self.processes.iter().filter(holds).collect();
            if holders.len() != 1 || !self.oracle.session_lives(holders[0]) {
                let names: Vec<_> = holders.iter().map(|p| p.instance.to_string()).collect();
                return Err(format!("P6: {} is held by {names:?} long after the last fault", task.key));
            }
        }
        // A task whose value has changed is asked back, which waits where moves do.
        if self.is_slowed() { Ok(()) } else { self.values_are_current() }
    }

    /// R10: whoever runs a task was given the value that it has now. In a frozen group a drained member keeps what it has.
    pub(super) fn values_are_current(&self) -> Result<(), Violation> {
        if self.has(&Control::Freeze) {
            return Ok(());
        }
        for process in self.processes.iter().filter(|process| process.is_up()) {
            for holding in process.node.held() {
                let task = self.tasks.iter().find(|task| task.key == holding.task.key);
                if let Some(task) = task.filter(|task| task.value != holding.task.value) {
                    let (key, instance) = (&task.key, &process.instance);
                    return Err(format!(
                        "R10: {instance} runs {key} with the value {} long after it became {}",
                        holding.task.value, task.value
                    ));
                }
            }
        }
        Ok(())
    }

    /// The leader is one of those with the highest preference, but for members that had to leave it to others.
    pub(super) fn preferred_one_leads(&self) -> Result<(), Violation> {
        let up = || self.processes.iter().filter(|process| process.is_up());
        let Some(leader) = up().find(|process| process.node.is_leading()) else { return Ok(()) };
        let level = |process: &Process| process.node.preference().unwrap_or_default();
        match up().find(|process| level(process) > level(leader)) {
            Some(other) => Err(format!("preference: {} leads, and not {}", leader.instance, other.instance)),
            None => Ok(()),
        }
    }

    /// Returns true where moves wait for up to a minute.
    pub(super) fn is_slowed(&self) -> bool {
        settings_of(self.seed, &self.instances[0]).zone_moves_per_minute.is_some()
    }

    /// P9: a group in which nothing changes costs signs of life and no other call.
    pub(super) fn comes_to_rest(&mut self) -> Result<(), Violation> {
        let window = if self.is_slowed() { LONG_WINDOW } else { WINDOW };
        for _ in 0..MOST_WINDOWS {
            let before = (self.store.revision(), self.calls);
            self.until(self.now + window)?;
            if (self.store.revision(), self.calls) == before {
                return Ok(());
            }
        }
        Err(format!("P9: {} calls so far, and it never rests", self.calls))
    }
}
