//! The faults of the simulation.

use std::time::Duration;

use crate::config::GroupMode;
use crate::coordination::{Op, Txn};
use crate::ids::InstanceId;
use crate::protocol::{Command, FeedId, Input};
use crate::replicas::{key_of, parse};
use crate::task::Task;

use super::oracle::{Observed, Violation};
use super::process::Process;
use super::world::{Happening, World, settings};

impl World {
    pub(super) fn fault(&mut self) -> Result<(), Violation> {
        if !self.faulty {
            return Ok(());
        }
        let next = self.rng.millis(5..1500);
        self.later(next, Happening::Fault);
        let up: Vec<usize> = (0..self.processes.len()).filter(|ix| self.processes[*ix].is_up()).collect();
        let long = settings().ttl.as_millis() as u64 * 2;
        let span = if self.rng.per_mille(500) { self.rng.millis(10..long) } else { self.rng.millis(1..300) };
        let Some(&ix) = self.rng.pick(&up) else { return self.start_one() };
        let kind = self.rng.below(100);
        let name = self.processes[ix].instance.clone();
        if !self.strikes() {
            return Ok(());
        }
        if self.mode == GroupMode::Available && self.rng.per_mille(80) {
            // The contact's lease ends, or somebody deletes the key.
            let ops = vec![Op::Delete { key: self.keys.contact(&name) }];
            drop(self.store.commit(&Txn { guards: Vec::new(), ops }));
            return Ok(());
        }
        if self.restores && self.rng.per_mille(15) {
            self.back_up_or_restore();
            return Ok(());
        }
        self.note(|| format!("fault {kind} at {name} (process {ix}) for {span:?}"));
        match kind {
            0..12 => self.kill(ix),
            12..20 => {
                self.kill(ix);
                let after = self.rng.millis(1..1000);
                self.later(after, Happening::Start { instance: name });
            }
            20..26 => self.command(ix, Command::Close)?,
            26..34 => {
                self.command(ix, Command::Restart)?;
                let after = self.rng.millis(1..2000);
                self.later(after, Happening::Start { instance: name });
            }
            34..46 => {
                self.processes[ix].paused = true;
                self.later(span, Happening::Resume { process: ix });
            }
            46..56 => self.processes[ix].cut_until = self.now + span,
            56..60 => {
                let until = self.now + span;
                self.processes.iter_mut().for_each(|process| process.cut_until = until);
            }
            60..62 => self.store.restart(self.now),
            62..65 => {
                let ops = vec![Op::Delete { key: self.keys.generation() }];
                drop(self.store.commit(&Txn { guards: Vec::new(), ops }));
            }
            65..72 => self.lose_watches(ix),
            72..80 => self.repeat_watches(ix),
            80..83 => self.command(ix, Command::Trigger)?,
            83..88 => self.change_tasks(),
            _ => self.start_one()?,
        }
        Ok(())
    }

    pub(super) fn kill(&mut self, ix: usize) {
        let process = &mut self.processes[ix];
        process.killed = true;
        process.running.clear();
        process.feeds.clear();
    }

    pub(super) fn command(&mut self, ix: usize, command: Command) -> Result<(), Violation> {
        self.processes[ix].stopping |= command != Command::Trigger;
        self.input(ix, Input::Command(command))
    }

    pub(super) fn start_one(&mut self) -> Result<(), Violation> {
        let down = |instance: &&InstanceId| {
            !self.processes.iter().any(|process| process.is_up() && process.instance == **instance)
        };
        let free: Vec<InstanceId> = self.instances.iter().filter(down).cloned().collect();
        let any = self.rng.per_mille(100);
        match self.rng.pick(if any { &self.instances } else { &free }).cloned() {
            Some(instance) if self.processes.iter().filter(|process| process.is_up()).count() < 6 => {
                self.start(instance)
            }
            _ => Ok(()),
        }
    }

    /// The store is copied, or goes back to its copy.
    fn back_up_or_restore(&mut self) {
        let Some(copy) = self.backup.take() else {
            self.backup = Some(self.store.clone());
            return;
        };
        self.note(|| format!("the store goes back to {:?}", copy.revision()));
        self.store.restore(&copy, self.now);
        self.oracle.restored();
        self.restored_at = Some(self.now);
        for ix in 0..self.processes.len() {
            self.lose_watches(ix);
        }
    }

    pub(super) fn lose_watches(&mut self, ix: usize) {
        let after = self.rng.millis(1..2000);
        let feeds: Vec<_> = self.processes[ix]
            .feeds
            .iter_mut()
            .map(|(feed, state)| {
                state.watching = None;
                (*feed, state.epoch)
            })
            .collect();
        for (feed, epoch) in feeds {
            let input = Input::Interrupted { feed, epoch };
            self.later(Duration::from_millis(1), Happening::Deliver { process: ix, input });
            self.later(after, Happening::List { process: ix, feed, epoch });
        }
    }

    /// Something that was delivered is delivered again, after what came later.
    pub(super) fn repeat_watches(&mut self, ix: usize) {
        let Some(state) = self.processes[ix].feeds.get(&FeedId::Record) else { return };
        let (epoch, sent) = (state.epoch, state.sent.clone());
        if let Some(item) = self.rng.pick(&sent).cloned() {
            let input = Input::Feed { feed: FeedId::Record, epoch, item };
            self.later(Duration::from_millis(1), Happening::Deliver { process: ix, input });
        }
    }

    pub(super) fn change_tasks(&mut self) {
        let count = self.tasks.len() as u64;
        match self.rng.below(3) {
            0 if count > 1 => drop(self.tasks.remove(self.rng.below(count) as usize)),
            1 => {
                let name = format!("task-{}", self.rng.below(8));
                let replicas = self.tasks.iter().any(|task| parse(&task.key).is_some());
                let task = Task::new(if replicas { key_of(&name, 0) } else { name.into() }, "0");
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

    pub(super) fn resume(&mut self, ix: usize) -> Result<(), Violation> {
        let process = &mut self.processes[ix];
        if !process.paused {
            return Ok(());
        }
        process.paused = false;
        process.pause_ended = self.now;
        process.next_tick = None;
        for input in std::mem::take(&mut process.inbox) {
            self.input(ix, input)?;
        }
        self.input(ix, Input::Tick)
    }

    pub(super) fn heal(&mut self) -> Result<(), Violation> {
        self.note(|| "healed".to_owned());
        self.faulty = false;
        self.undrain_one();
        for ix in 0..self.processes.len() {
            self.processes[ix].cut_until = self.now;
            self.resume(ix)?;
        }
        for instance in self.instances.clone() {
            // One that was told to end may only come to it now.
            let stays = |process: &Process| process.is_up() && !process.stopping;
            let up = self.processes.iter().any(|process| stays(process) && process.instance == instance);
            if !up {
                self.start(instance)?;
            }
        }
        Ok(())
    }
}
