//! The faults of processes and of the store.

use std::time::Duration;

use crate::coordination::{Op, Txn};
use crate::ids::InstanceId;
use crate::protocol::Command;
use crate::sim::oracle::Observed;
use crate::sim::world::settings;
use crate::task::Task;

use super::state::State;
use super::world::World;

impl World {
    /// One fault.
    pub(super) fn fault(&mut self) {
        let shared = self.shared.clone();
        let mut state = shared.lock();
        let state = &mut *state;
        let up: Vec<usize> = (0..state.processes.len()).filter(|ix| state.processes[*ix].is_up()).collect();
        let long = settings().ttl.as_millis() as u64 * 2;
        let span =
            if state.rng.per_mille(500) { state.rng.millis(10..long) } else { state.rng.millis(1..300) };
        let kind = state.rng.below(100);
        let Some(&ix) = state.rng.pick(&up) else { return self.start_one(state) };
        if !state.strikes() {
            return;
        }
        let name = state.processes[ix].instance.clone();
        let now = state.now();
        state.note(|| format!("fault {kind} at {name} (process {ix}) for {span:?}"));
        match kind {
            0..12 => state.kill(ix),
            12..22 => {
                state.kill(ix);
                let after = state.rng.millis(1..1000);
                self.starts.push((now + after, name));
            }
            22..28 => state.processes[ix].order(Command::Close),
            28..36 => {
                state.processes[ix].order(Command::Restart);
                let after = state.rng.millis(1..2000);
                self.starts.push((now + after, name));
            }
            36..48 => {
                let process = &mut state.processes[ix];
                if !process.paused {
                    process.clock.stop();
                    process.paused = true;
                    self.resumes.push((now + span, ix));
                }
            }
            48..58 => state.cut(ix, now + span),
            58..62 => (0..state.processes.len()).for_each(|ix| state.cut(ix, now + span)),
            62..64 => state.store.restart(now),
            64..67 => {
                let ops = vec![Op::Delete { key: state.keys.generation() }];
                drop(state.store.commit(&Txn { guards: Vec::new(), ops }));
                state.spread();
            }
            67..73 => state.break_watches(ix),
            73..76 => state.back_up_or_restore(),
            76..79 => state.processes[ix].tell(Command::Trigger),
            79..82 => {
                let load = u32::try_from(state.rng.below(2000)).unwrap_or(0);
                state.processes[ix].tell(Command::Load(load));
            }
            82..85 => {
                state.room =
                    if state.room.is_some() { None } else { Some(1024 + state.rng.below(8192) as usize) }
            }
            85..90 => state.change_tasks(),
            _ => self.start_one(state),
        }
    }

    fn start_one(&mut self, state: &mut State) {
        let names = self.instances.clone();
        let free: Vec<InstanceId> = names
            .iter()
            .filter(|name| {
                !state.processes.iter().any(|process| process.is_up() && process.instance == **name)
            })
            .cloned()
            .collect();
        let any = state.rng.per_mille(100);
        let up = state.processes.iter().filter(|process| process.is_up()).count();
        if let Some(name) = state.rng.pick(if any { &names } else { &free }).filter(|_| up < 6) {
            self.starts.push((state.now(), name.clone()));
        }
    }
}

impl State {
    /// The end of a process: nothing of it runs any more, and nobody is told.
    pub(super) fn kill(&mut self, ix: usize) {
        let process = &mut self.processes[ix];
        process.killed = true;
        process.life.abort();
        process.running.clear();
        process.paused = false;
        process.resumed.notify_waiters();
        self.break_watches(ix);
    }

    fn cut(&mut self, ix: usize, until: Duration) {
        self.processes[ix].cut_until = until;
        self.break_watches(ix);
    }

    /// The store is copied, or goes back to its copy.
    fn back_up_or_restore(&mut self) {
        let Some(copy) = self.backup.take() else {
            self.backup = Some(self.store.clone());
            return;
        };
        let now = self.now();
        self.note(|| format!("the store goes back to {:?}", copy.revision()));
        self.store.restore(&copy, now);
        self.oracle.restored();
        self.restored_at = Some(now);
        for ix in 0..self.processes.len() {
            self.break_watches(ix);
        }
    }

    fn change_tasks(&mut self) {
        let count = self.tasks.len() as u64;
        match self.rng.below(3) {
            0 if count > 1 => drop(self.tasks.remove(self.rng.below(count) as usize)),
            1 => {
                let task = Task::new(format!("task-{}", self.rng.below(8)), "0");
                if self.tasks.iter().all(|other| other.key != task.key) {
                    self.tasks.push(task);
                }
            }
            _ => {
                let value = self.rng.below(1000).to_string();
                let ix = self.rng.below(count) as usize;
                self.tasks[ix].value = value.into();
            }
        }
    }
}

impl super::process::Driven {
    /// Tells the driver to end.
    pub(super) fn order(&mut self, command: Command) {
        (self.stopping, self.told_to_end) = (true, true);
        self.tell(command);
    }
}
