//! What must hold when the faults have stopped.

use std::time::Duration;

use super::oracle::Violation;
use super::process::Process;
use super::world::World;

/// How long a group is looked at. The provider is asked in this time, and signs of life are sent.
const WINDOW: Duration = Duration::from_secs(6);

/// Within so many of them what failed before has been tried again, with all its pauses, and nothing is left to do.
const MOST_WINDOWS: u32 = 30;

impl World {
    /// P6.
    pub(super) fn all_held(&self) -> Result<(), Violation> {
        for task in &self.tasks {
            let holds = |p: &&Process| p.is_up() && p.running.contains_key(&task.key);
            let holders: Vec<_> = self.processes.iter().filter(holds).collect();
            if holders.len() != 1 || !self.oracle.session_lives(&self.store, holders[0]) {
                let names: Vec<_> = holders.iter().map(|p| p.instance.to_string()).collect();
                return Err(format!("P6: {} is held by {names:?} long after the last fault", task.key));
            }
        }
        Ok(())
    }

    /// P9: a group in which nothing changes costs signs of life and no other call.
    pub(super) fn comes_to_rest(&mut self) -> Result<(), Violation> {
        for _ in 0..MOST_WINDOWS {
            let before = (self.store.revision(), self.calls);
            self.until(self.now + WINDOW)?;
            if (self.store.revision(), self.calls) == before {
                return Ok(());
            }
        }
        Err(format!("P9: {} calls so far, and it never rests", self.calls))
    }
}
