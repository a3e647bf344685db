//! The requests of operators meanwhile: any command at any time, late, twice, and about what has changed since.

use std::sync::Arc;
use std::time::Duration;

use crate::control::{DrainRecord, EvictionRecord, FreezeRecord, Origin, PinRecord, ReleaseRecord};
use crate::coordination::{LeaseId, Op, Txn};
use crate::ids::InstanceId;
use crate::keys::{Control, Kind};
use crate::records::{ChunkRecord, Format, MemberRecord, Record, decode, encode};

use super::oracle::{Observed, Violation};
use super::world::{Happening, World};

impl World {
    /// One command.
    pub(super) fn operate(&mut self) {
        if !self.faulty {
            return;
        }
        let next = self.rng.millis(200..4000);
        self.later(next, Happening::Operator);
        if !self.strikes() {
            return;
        }
        let Some(instance) = self.rng.pick(&self.instances).cloned() else { return };
        let origin = Origin::default();
        match self.rng.below(10) {
            0 | 1 => self.toggle(&Control::Drain(instance), &DrainRecord { format: Format, origin }),
            2 | 3 => {
                let Some(task) = self.rng.pick(&self.tasks).map(|task| task.key.clone()) else { return };
                self.toggle(&Control::Pin(task), &PinRecord { format: Format, member: instance, origin });
            }
            4 => self.toggle(&Control::Freeze, &FreezeRecord { format: Format, origin }),
            5 | 6 => self.evict(&instance),
            _ => self.force_release(),
        }
    }

    fn toggle(&mut self, control: &Control, record: &impl Record) {
        let key = self.keys.control(control);
        let there = self.store.get(&key).is_some();
        let put = Op::Put { key: key.clone(), value: encode(record), lease: None };
        self.sooner_or_later(&if there { Op::Delete { key } } else { put });
    }

    fn evict(&mut self, instance: &InstanceId) {
        let Some(kv) = self.store.get(&self.keys.session(instance)) else { return };
        let Ok(MemberRecord { incarnation, .. }) = decode(&kv.key, &kv.value) else { return };
        let record = EvictionRecord { format: Format, incarnation, origin: Origin::default() };
        let lease: Option<LeaseId> = kv.lease;
        let key = self.keys.eviction(instance);
        self.sooner_or_later(&Op::Put { key, value: encode(&record), lease });
    }

    fn force_release(&mut self) {
        let found = self.store.entries().filter_map(|kv| {
            let Some(Kind::Chunk(holder, _)) = self.keys.kind(&kv.key) else { return None };
            Some((holder, decode::<ChunkRecord>(&kv.key, &kv.value).ok()?))
        });
        let entries: Vec<_> = found
            .flat_map(|(holder, chunk)| {
                let of = move |entry| (holder.clone(), chunk.incarnation, entry);
                chunk.tasks.into_iter().map(of)
            })
            .collect();
        let Some((member, incarnation, entry)) = self.rng.pick(&entries).cloned() else { return };
        self.oracle.released(&entry.key, incarnation, entry.token);
        let (token, origin) = (entry.token, Origin::default());
        let record = ReleaseRecord { format: Format, member, incarnation, token, origin };
        let key = self.keys.control(&Control::Release(entry.key));
        self.sooner_or_later(&Op::Put { key, value: encode(&record), lease: None });
    }

    /// Carries a command out, at once or later, and perhaps once more after that.
    fn sooner_or_later(&mut self, op: &Op) {
        self.note(|| format!("operator: {op:?}"));
        for _ in 0..=u64::from(self.rng.per_mille(300)) {
            let after = if self.rng.per_mille(700) { Duration::ZERO } else { self.rng.millis(0..8000) };
            self.later(after, Happening::Operated { op: op.clone() });
        }
    }

    pub(super) fn operated(&mut self, op: Op) {
        if self.faulty {
            // An eviction is bound to a session that may be over.
            drop(self.store.commit(&Txn { guards: Vec::new(), ops: vec![op] }));
        }
    }

    pub(super) fn has(&self, control: &Control) -> bool {
        self.store.get(&self.keys.control(control)).is_some()
    }

    /// Operators leave somebody who may hold tasks.
    pub(super) fn undrain_one(&mut self) {
        if self.instances.iter().all(|instance| self.has(&Control::Drain(instance.clone())))
            && let Some(instance) = self.rng.pick(&self.instances).cloned()
        {
            let ops = vec![Op::Delete { key: self.keys.control(&Control::Drain(instance)) }];
            drop(self.store.commit(&Txn { guards: Vec::new(), ops }));
        }
    }

    /// Checks that operators have what they want, long after the last fault: drained members hold nothing, pinned tasks are
    /// where they are pinned, unless the group is frozen.
    pub(super) fn controls_obeyed(&self) -> Result<(), Violation> {
        if self.has(&Control::Freeze) {
            return Ok(());
        }
        for process in self.processes.iter().filter(|process| process.is_up()) {
            let instance = &process.instance;
            if self.has(&Control::Drain(instance.clone())) && !process.running.is_empty() {
                return Err(format!("drain: {instance} runs {:?}", process.running));
            }
        }
        for task in &self.tasks {
            let pin: Option<PinRecord> = self.record(&Control::Pin(task.key.clone()));
            let Some(pin) = pin.filter(|pin| self.may_hold(&task.key, &pin.member)) else { continue };
            let at_home = |process: &&super::process::Process| {
                process.is_up() && process.instance == pin.member && process.running.contains_key(&task.key)
            };
            if self.processes.iter().find(at_home).is_none() {
                return Err(format!("pin: {} does not run at {}", task.key, pin.member));
            }
        }
        Ok(())
    }

    fn record<T: Record>(&self, control: &Control) -> Option<T> {
        let kv = self.store.get(&self.keys.control(control))?;
        decode(&kv.key, &kv.value).ok()
    }

    fn may_hold(&self, task: &Arc<str>, member: &InstanceId) -> bool {
        let release: Option<ReleaseRecord> = self.record(&Control::Release(task.clone()));
        let taken = release.is_some_and(|release| release.member == *member);
        !taken && !self.has(&Control::Drain(member.clone()))
    }
}
