//! From steps to the next transaction: as many as fit.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use crate::coordination::{Guard, Op, Revision, Txn, TxnLimits};
use crate::ids::{Generation, InstanceId};
use crate::keys::ChunkId;
use crate::protocol::Rules;
use crate::records::{
    Cause, ChunkRecord, Entry, Format, GENERATION_LIMIT, GenerationRecord, MemberState, RECORD_BYTES, encode,
    entry_bytes, target_bytes,
};

use super::plan::{Goal, Goals};
use super::ready::{Kind, Step};
use super::tasks::TaskList;
use super::view::View;

/// A transaction with what it does to the view.
#[derive(Clone)]
pub(super) struct Batch {
    pub(super) txn: Txn,
    pub(super) generation: Generation,
    pub(super) chunks: Vec<((InstanceId, ChunkId), Option<ChunkRecord>)>,
    /// The number of the steps that are in it.
    pub(super) steps: usize,
    pub(super) granted: usize,
    /// The tasks that are asked back from living members.
    pub(super) marked: Vec<Arc<str>>,
    /// The tasks that leave their holder's record, and whether they go to another one.
    pub(super) parted: Vec<(Arc<str>, bool)>,
}

impl fmt::Debug for Batch {
    /// Without the transaction, which says the same again in bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("generation", &self.generation)
            .field("chunks", &self.chunks)
            .finish_non_exhaustive()
    }
}

/// Whom the leader's transactions are guarded for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Authority {
    /// The write that created the leader's key.
    pub(super) created: Revision,
    pub(super) unix_millis: u64,
    /// The highest generation that is known outside the store.
    pub(super) outer_floor: u64,
    pub(super) limits: TxnLimits,
    pub(super) rules: Rules,
}

/// Builds the transaction of the first steps that fit; none when not even one does, with that task's key.
pub(super) fn build(
    view: &View,
    tasks: &TaskList,
    goals: &Goals,
    steps: &[Step],
    authority: Authority,
) -> Result<Batch, Arc<str>> {
    let mut take = steps.len();
    loop {
        let batch = Builder::new(view, tasks, goals, authority).build(&steps[..take]);
        if batch.txn.check(authority.limits).is_ok() {
            return Ok(Batch { steps: take, ..batch });
        }
        if let ([step, ..], 0 | 1) = (steps, take) {
            return Err(step.key.clone());
        }
        take /= 2;
    }
}

/// Reckons how many of the steps fit, at least one.
pub(super) fn fitting(view: &View, tasks: &TaskList, steps: &[Step], limits: TxnLimits) -> usize {
    let most = target_bytes(limits);
    let mut chunks: HashMap<(&InstanceId, ChunkId), usize> = HashMap::new();
    // The counter is written, and the leader's key and the counter are guards.
    let (mut bytes, mut ops) = (1024, 1);
    for (count, step) in steps.iter().enumerate() {
        for (member, grows) in [(&step.from, false), (&step.to, true)] {
            let Some(member) = member else { continue };
            let id = view.chunk_of(member, &step.key);
            let size = chunks.entry((member, id)).or_insert_with(|| {
                let size = view.chunk(member, id).map_or(RECORD_BYTES, ChunkRecord::bytes);
                let (parts, parted) = parted(size, most);
                ops += parts;
                bytes += parted;
                size
            });
            if let (true, Some(task)) = (grows, tasks.get(&step.key)) {
                let (parts, parted_before) = parted(*size, most);
                *size += entry_bytes(&task.key, &task.value);
                let after = parted(*size, most);
                ops += after.0 - parts;
                bytes += after.1 - parted_before;
            }
        }
        if ops > limits.ops || bytes > limits.bytes {
            return count.max(1);
        }
    }
    steps.len()
}

/// About how many writes a chunk of this size takes, at most, and how many bytes.
fn parted(size: usize, most: usize) -> (usize, usize) {
    let parts = if size > most { 1 + (size * 2).div_ceil(most) } else { 1 };
    (parts, size + parts * RECORD_BYTES)
}

struct Builder<'a> {
    view: &'a View,
    tasks: &'a TaskList,
    goals: &'a Goals,
    authority: Authority,
    generation: Generation,
    work: BTreeMap<(InstanceId, ChunkId), ChunkRecord>,
}

impl<'a> Builder<'a> {
    fn new(view: &'a View, tasks: &'a TaskList, goals: &'a Goals, authority: Authority) -> Self {
        let generation = next_generation(view, authority);
        Self { view, tasks, goals, authority, generation, work: BTreeMap::new() }
    }

    fn build(mut self, steps: &[Step]) -> Batch {
        let (mut granted, mut marked, mut parted) = (0, Vec::new(), Vec::new());
        for step in steps {
            match step.kind {
                Kind::Grant | Kind::Drop => {
                    if let Some(from) = &step.from {
                        parted.push((step.key.clone(), step.to.is_some()));
                        self.as_it_is(from, &step.key).remove(&step.key);
                    }
                }
                Kind::Mark => {
                    marked.push(step.key.clone());
                    self.mark(step);
                }
                Kind::Renew => {}
            }
        }
        for step in steps {
            if let (Kind::Grant | Kind::Renew, Some(to)) = (step.kind, &step.to) {
                granted += 1;
                self.grant(to, step);
            }
        }
        Batch { granted, marked, parted, ..self.finish() }
    }

    /// The chunk to take something from: whichever session it is for.
    fn as_it_is(&mut self, member: &InstanceId, key: &str) -> &mut ChunkRecord {
        let view = self.view;
        let chunk = view.chunk_of(member, key);
        self.work.entry((member.clone(), chunk)).or_insert_with(|| {
            let record = view.chunk(member, chunk).cloned();
            // Steps name records that exist.
            record.unwrap_or_else(|| ChunkRecord::empty(crate::ids::Incarnation(uuid::Uuid::nil())))
        })
    }

    fn mark(&mut self, step: &Step) {
        let generation = self.generation;
        if let Some(from) = &step.from
            && let Some(entry) = self.as_it_is(from, &step.key).get_mut(&step.key)
        {
            entry.releasing = Some(generation);
        }
    }

    fn grant(&mut self, to: &InstanceId, step: &Step) {
        let Some(member) = self.view.members.get(to) else { return };
        let Some(task) = self.tasks.get(&step.key) else { return };
        let (generation, incarnation) = (self.generation, member.incarnation);
        let view = self.view;
        let chunk = view.chunk_of(to, &step.key);
        let record = self.work.entry((to.clone(), chunk)).or_insert_with(|| {
            view.chunk(to, chunk).cloned().unwrap_or_else(|| ChunkRecord::empty(incarnation))
        });
        if record.incarnation != incarnation {
            let rules = self.authority.rules;
            let stamped = stamp(record, incarnation, generation, to, self.tasks, self.goals, rules);
            *record = stamped;
        }
        let cause = cause_of(view, step, to, self.goals, self.authority.rules);
        record.insert(Entry { cause, ..Entry::held(task, generation.into()) });
    }

    /// The transaction and what it makes of the records.
    fn finish(self) -> Batch {
        let Self { view, authority, generation, work, .. } = self;
        let keys = &view.keys;
        let mut txn = Txn { guards: guards(view, authority), ops: Vec::with_capacity(work.len() + 1) };
        let record = GenerationRecord { format: Format, generation };
        txn.ops.push(Op::Put { key: keys.generation(), value: encode(&record), lease: None });
        let most = target_bytes(authority.limits);
        let mut chunks = Vec::with_capacity(work.len());
        for ((member, id), mut record) in work {
            record.generation = generation;
            let stays = !record.tasks.is_empty() && record.bytes() <= most;
            let parts = if stays { vec![(id, record)] } else { record.split(id, most) };
            if parts.first().is_none_or(|(first, part)| *first != id || part.tasks.is_empty()) {
                txn.ops.push(Op::Delete { key: keys.chunk(&member, id) });
                chunks.push(((member.clone(), id), None));
            }
            for (id, record) in parts.into_iter().filter(|(_, part)| !part.tasks.is_empty()) {
                let key = keys.chunk(&member, id);
                let kept = if authority.rules.releasing { None } else { Some(without_releasing(&record)) };
                txn.ops.push(Op::Put { key, value: encode(kept.as_ref().unwrap_or(&record)), lease: None });
                chunks.push(((member.clone(), id), Some(record)));
            }
        }
        Batch { txn, generation, chunks, steps: 0, granted: 0, marked: Vec::new(), parted: Vec::new() }
    }
}

/// An inherited chunk made out to the member's new session. What stays gets new tokens; what is to go elsewhere, but
/// does not go in this transaction, is not begun: it is marked, and free once the new session acknowledges that.
fn stamp(
    record: &ChunkRecord,
    incarnation: crate::ids::Incarnation,
    generation: Generation,
    member: &InstanceId,
    tasks: &TaskList,
    goals: &Goals,
    rules: Rules,
) -> ChunkRecord {
    let stays = |key: &str| match goals.get(key) {
        Some(Goal::To { member: to, .. }) => to == member,
        Some(Goal::Release | Goal::Drop) => false,
        None => true,
    };
    let entries = record.tasks.iter().map(|entry| match tasks.get(&entry.key) {
        Some(task) if stays(&entry.key) => {
            let token = if rules.fresh_tokens { generation.into() } else { entry.token };
            Entry { cause: Cause::Renewed, ..Entry::held(task, token) }
        }
        _ => Entry { releasing: Some(generation), ..entry.clone() },
    });
    ChunkRecord { format: Format, incarnation, generation, tasks: entries.collect() }
}

/// Why a task is given to a member.
fn cause_of(view: &View, step: &Step, to: &InstanceId, goals: &Goals, rules: Rules) -> Cause {
    let Some(place) = view.place(&step.key) else { return Cause::New };
    let from = view.members.get(place.holder).filter(|member| member.incarnation == place.incarnation);
    let leaves = |state| state != MemberState::Active || view.controls.drains.contains(place.holder);
    let failed = matches!(goals.get(&step.key), Some(Goal::To { beyond: Some(_), .. }));
    match from {
        _ if failed => Cause::Failed,
        _ if step.kind == Kind::Renew => Cause::Renewed,
        Some(_) if view.is_released(place, rules) => Cause::Forced,
        _ if view.controls.pins.get(&step.key) == Some(to) => Cause::Pinned,
        None => Cause::Lost,
        Some(member) if !view.is_in_contact(place.holder, member) => Cause::Lost,
        Some(member) if leaves(member.state) => Cause::Left,
        Some(_) => Cause::Planned,
    }
}

fn without_releasing(record: &ChunkRecord) -> ChunkRecord {
    let mut record = record.clone();
    record.tasks.retain(|entry| entry.releasing.is_none());
    record
}

fn guards(view: &View, authority: Authority) -> Vec<Guard> {
    let mut guards = Vec::with_capacity(2);
    if authority.rules.leader_guard {
        guards.push(Guard::CreatedAt { key: view.keys.leader(), revision: authority.created });
    }
    if authority.rules.generation_guard {
        let key = view.keys.generation();
        guards.push(match view.generation {
            Some((_, revision)) => Guard::ModifiedAt { key, revision },
            None => Guard::Absent { key },
        });
    }
    guards
}

/// The distance from a floor outside the store at which a group that has fallen below it goes on: more than the
/// generations that come about before such a floor is raised.
const AHEAD: u64 = 1 << 20;

/// The generation of the next transaction (R5): above every number in any record or acknowledgement; where the records are
/// older than what is known outside the store, well above that; and where the counter is lost, above the Unix time in
/// milliseconds too, which outruns any group that commits less than a thousand times a second.
fn next_generation(view: &View, authority: Authority) -> Generation {
    if !authority.rules.floor {
        return Generation(view.generation.map_or(0, |(generation, _)| generation.0) + 1);
    }
    let clock = match view.generation {
        Some(_) if !view.counter_lost => 0,
        _ => authority.unix_millis.min(GENERATION_LIMIT / 2),
    };
    let outer = if view.floor.0 < authority.outer_floor { authority.outer_floor + AHEAD } else { 0 };
    Generation(view.floor.0.max(clock).max(outer) + 1)
}
