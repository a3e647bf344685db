//! The moves that one change makes in a group that is at rest: P5, P7 and P8.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::coordination::{Op, Txn};
use crate::ids::{InstanceId, Token};
use crate::keys::Kind;
use crate::protocol::Command;
use crate::records::{GenerationRecord, decode};
use crate::replicas::{MAX_REPLICAS, key_of, parse};

use super::oracle::{Observed, Violation};
use super::process::Process;
use super::world::{World, settings};

/// Far more than stopping and starting take, and less than a session.
const PROMPT: Duration = Duration::from_secs(3);

/// The holder of each task, and its token.
type Holders = BTreeMap<Arc<str>, (InstanceId, Token)>;

impl World {
    /// Brings a group to rest in which nobody wants anything special, makes one change that the seed chooses, and looks what has
    /// moved. A task that failed at a member is kept away from there for a while, and comes back when that is forgotten, so this
    /// is for groups in which none did.
    pub(super) fn moves_what_it_must(&mut self) -> Result<(), Violation> {
        if self.has_failed {
            return Ok(());
        }
        let with_replicas = self.tasks.iter().any(|task| parse(&task.key).is_some());
        self.lift_controls();
        self.until(self.now + settings().provider_period * 2)?;
        self.comes_to_rest()?;
        self.all_held()?;
        if !with_replicas {
            self.is_even()?;
        }
        let up: Vec<usize> = (0..self.processes.len()).filter(|ix| self.processes[*ix].is_up()).collect();
        // One that waits for the end of another one with its name is no member, and takes over when that leaves.
        let waits = |ix: &usize| !self.oracle.session_lives(&self.processes[*ix]);
        if up.iter().any(waits) {
            return Ok(());
        }
        let Some(&ix) = self.rng.pick(&up) else { return Ok(()) };
        if with_replicas {
            return self.promotes(ix);
        }
        match self.rng.below(4) {
            0 => self.joins(up.len() as u64),
            1 => self.is_lost(ix),
            2 => self.restarts(ix),
            _ => self.leaves(ix),
        }
    }

    /// Operators take back whatever they have asked for.
    fn lift_controls(&mut self) {
        let is_control = |key: &&str| matches!(self.keys.kind(key), Some(Kind::Control(_)));
        let keys: Vec<String> =
            self.store.entries().map(|kv| kv.key.as_str()).filter(is_control).map(str::to_owned).collect();
        for key in keys {
            drop(self.store.commit(&Txn { guards: Vec::new(), ops: vec![Op::Delete { key }] }));
        }
        self.spread();
    }

    /// The time for which a new leader gives nothing out: a session, where it finds the group's counter lost or behind what is
    /// known outside the store, as it takes the records for a restored copy.
    pub(super) fn mistrust(&self) -> Duration {
        let counter = self.store.get(&self.keys.generation());
        let counter = counter.and_then(|kv| decode::<GenerationRecord>(&kv.key, &kv.value).ok());
        let is_behind = counter.is_none_or(|record| record.generation.0 < self.highest_token.0);
        if is_behind { settings().ttl + settings().ttl / 10 } else { Duration::ZERO }
    }

    fn holders(&self) -> Holders {
        let up = self.processes.iter().filter(|process| process.is_up());
        let of = |process: &Process| {
            let name = process.instance.clone();
            process.running.clone().into_iter().map(move |(key, token)| (key, (name.clone(), token)))
        };
        up.flat_map(of).collect()
    }

    /// P5: numbers of tasks differ by one at most.
    fn is_even(&self) -> Result<(), Violation> {
        let members = |process: &&Process| process.is_up() && self.oracle.session_lives(*process);
        let loads = self.processes.iter().filter(members);
        let loads: Vec<_> = loads.map(|process| (process.running.len(), &process.instance)).collect();
        let (most, least) = (loads.iter().max(), loads.iter().min());
        match (most, least) {
            (Some(most), Some(least)) if most.0 > least.0 + 1 => {
                Err(format!("P5: {} holds {} tasks and {} holds {}", most.1, most.0, least.1, least.0))
            }
            _ => Ok(()),
        }
    }

    /// Checks that every task but these is where it was, in the same holding.
    fn undisturbed_but(
        &self,
        before: &Holders,
        moved: &BTreeSet<Arc<str>>,
        property: &str,
    ) -> Result<(), Violation> {
        let after = self.holders();
        for (key, was) in before.iter().filter(|(key, _)| !moved.contains(*key)) {
            if after.get(key) != Some(was) {
                let (at, token) = was;
                let now = after.get(key);
                return Err(format!(
                    "{property}: {key} was with {at} ({token}), which goes on, and is now {now:?}"
                ));
            }
        }
        Ok(())
    }

    fn tasks_of(before: &Holders, instance: &InstanceId) -> BTreeSet<Arc<str>> {
        before.iter().filter(|(_, (holder, _))| holder == instance).map(|(key, _)| key.clone()).collect()
    }

    /// P5: a newcomer gets its share, at most ⌈T/(N+1)⌉ tasks, and nothing else moves.
    fn joins(&mut self, members: u64) -> Result<(), Violation> {
        let before = self.holders();
        let newcomer = InstanceId::new("newcomer").map_err(|error| error.to_string())?;
        self.note(|| "moves: one joins".to_owned());
        self.start(newcomer.clone())?;
        self.until(self.now + PROMPT + self.mistrust())?;
        self.comes_to_rest()?;
        self.all_held()?;
        let moved = Self::tasks_of(&self.holders(), &newcomer);
        let most = (before.len() as u64).div_ceil(members + 1);
        if moved.len() as u64 > most {
            return Err(format!("P5: {} tasks moved to one that joined, at most {most} may", moved.len()));
        }
        self.undisturbed_but(&before, &moved, "P5")?;
        self.is_even()
    }

    /// P5 and P6: only what a dead member held moves, and is held again within its TTL and half a second.
    fn is_lost(&mut self, ix: usize) -> Result<(), Violation> {
        let before = self.holders();
        let orphans = Self::tasks_of(&before, &self.processes[ix].instance);
        self.note(|| format!("moves: process {ix} dies"));
        self.kill(ix);
        self.until(self.now + settings().ttl + Duration::from_millis(500) + self.mistrust())?;
        if !self.processes.iter().any(Observed::is_up) {
            return Ok(());
        }
        self.all_held()?;
        self.comes_to_rest()?;
        self.undisturbed_but(&before, &orphans, "P5")?;
        self.is_even()
    }

    /// A member dies: of each of its primaries, a standby is the primary then, with a higher token.
    fn promotes(&mut self, ix: usize) -> Result<(), Violation> {
        let (before, dead) = (self.holders(), self.processes[ix].instance.clone());
        let members = self.processes.iter().filter(|process| process.is_up()).count();
        self.note(|| format!("moves: process {ix} dies"));
        self.kill(ix);
        self.until(self.now + settings().ttl + Duration::from_millis(500) + self.mistrust())?;
        if members == 1 {
            return Ok(());
        }
        self.all_held()?;
        let after = self.holders();
        for (key, (was_at, token)) in &before {
            let Some((task, number)) = parse(key) else { continue };
            let standbys: Vec<_> = (1..MAX_REPLICAS)
                .filter_map(|number| before.get(&key_of(task, number)))
                .map(|(member, _)| member)
                .filter(|member| **member != dead)
                .collect();
            let Some((now_at, now)) = after.get(key).filter(|_| number == 0 && *was_at == dead) else {
                continue;
            };
            if now <= token {
                return Err(format!("P3: the new primary of {task} has {now}, the one before had {token}"));
            }
            if !standbys.is_empty() && !standbys.contains(&now_at) {
                return Err(format!("P5: {task} goes on at {now_at}, and its standbys were at {standbys:?}"));
            }
        }
        self.comes_to_rest()
    }

    /// P7: one that restarts has what it had, and nobody else is touched.
    fn restarts(&mut self, ix: usize) -> Result<(), Violation> {
        let (before, name) = (self.holders(), self.processes[ix].instance.clone());
        let own = Self::tasks_of(&before, &name);
        self.note(|| format!("moves: process {ix} restarts"));
        self.command(ix, Command::Restart)?;
        self.until(self.now + PROMPT / 3)?;
        if self.processes[ix].is_up() {
            return Err(format!("P7: {name} was told to restart and has not ended"));
        }
        self.start(name.clone())?;
        self.until(self.now + PROMPT + self.mistrust())?;
        self.all_held()?;
        self.comes_to_rest()?;
        if Self::tasks_of(&self.holders(), &name) != own {
            return Err(format!(
                "P7: {name} restarted, had {own:?} and has {:?}",
                Self::tasks_of(&self.holders(), &name)
            ));
        }
        self.undisturbed_but(&before, &own, "P7")
    }

    /// P8: one that leaves hands its tasks over and is gone, and nobody waits for its session to end.
    fn leaves(&mut self, ix: usize) -> Result<(), Violation> {
        let (before, name) = (self.holders(), self.processes[ix].instance.clone());
        let own = Self::tasks_of(&before, &name);
        self.note(|| format!("moves: process {ix} leaves"));
        self.command(ix, Command::Close)?;
        self.until(self.now + PROMPT + self.mistrust())?;
        if self.processes[ix].is_up() {
            return Err(format!("P8: {name} was told to leave and has not"));
        }
        if !self.processes.iter().any(Observed::is_up) {
            return Ok(());
        }
        self.all_held().map_err(|violation| format!("P8: after {name} has left: {violation}"))?;
        self.comes_to_rest()?;
        self.undisturbed_but(&before, &own, "P8")
    }
}
