//! The leader's step: what one member more or less costs the leader itself, planning, bookkeeping and the making of
//! transactions together. The store and the members are played, and not counted.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use lrmf_core::assignor::{Assignor, StickyBalanced};
use lrmf_core::control::{Origin, PinRecord};
use lrmf_core::coordination::{
    KeyValue, LeaseId, Op, Revision, Snapshot, Txn, TxnLimits, TxnOutcome, WatchBatch, WatchEvent,
};
use lrmf_core::keys::{Control, Keys, Kind, chunk_of};
use lrmf_core::protocol::leader::{Leader, LeaderAction, LeaderConfig, MoveLimits};
use lrmf_core::protocol::{FeedItem, Now, Rules};
use lrmf_core::records::{
    AckRecord, ChunkRecord, Entry, Format, GenerationRecord, LeaderRecord, MemberRecord, MemberState, Named,
    decode, encode,
};
use lrmf_core::{
    CoordinatorConfig, Generation, GroupId, GroupMode, Incarnation, InstanceId, Task, Timestamp, Token,
};

/// What one change cost the leader.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    /// From the news to the first transaction, in milliseconds.
    pub(crate) first_ms: f64,
    /// All its steps until nothing is left to do, in milliseconds.
    pub(crate) all_ms: f64,
    /// How many steps that were.
    pub(crate) steps: usize,
}

/// A leader of so many members, each with an even share of so many tasks.
pub(crate) struct Led {
    leader: Leader,
    keys: Keys,
    now: Now,
    revision: u64,
    sessions: u64,
    /// The transactions whose answers the store has still to give.
    committed: VecDeque<Revision>,
    /// What it has still to tell.
    news: VecDeque<WatchBatch>,
    chunks: BTreeMap<String, ChunkRecord>,
    spent: Cost,
    /// How long it took to take everything in, and to plan for the first time, in milliseconds.
    pub(crate) load_ms: f64,
    /// How long it took to hear the same list of tasks again, in milliseconds.
    pub(crate) relist_ms: f64,
}

fn member(number: usize) -> anyhow::Result<InstanceId> {
    Ok(InstanceId::new(&format!("member-{number:06}"))?)
}

fn record(incarnation: Incarnation) -> MemberRecord {
    MemberRecord {
        format: Format,
        incarnation,
        state: MemberState::Active,
        mode: GroupMode::Exclusive,
        capacity: 1,
        zone: None,
        assignor: String::new(),
        labels: BTreeMap::default(),
        load: None,
        preference: 0,
    }
}

fn entry(key: String, value: Bytes, revision: u64) -> KeyValue {
    let revision = Revision(revision);
    KeyValue { key, value, create_revision: revision, mod_revision: revision, lease: Some(LeaseId(1)) }
}

impl Led {
    pub(crate) fn new(tasks: usize, members: usize) -> anyhow::Result<Self> {
        let keys = Keys::new(&GroupId::new("bench", "leading", "t")?);
        let settings = CoordinatorConfig::default();
        let config = LeaderConfig {
            keys: keys.clone(),
            assignor: StickyBalanced.name(),
            limits: TxnLimits::ETCD,
            settle: Duration::ZERO,
            mode: GroupMode::Exclusive,
            companions: settings.companions,
            provider_period: settings.provider_period,
            moves: MoveLimits::from(&settings),
            patience: settings.ttl,
            has_floor: false,
            rules: Rules::ALL,
        };
        let candidates = (0..5.min(members)).map(member).collect::<anyhow::Result<_>>()?;
        let leads = LeaderRecord { candidates, ..LeaderRecord::new(member(0)?, session(0), "") };
        let now = Now { at: Timestamp(Duration::from_secs(1)), unix_millis: 1000 };
        let (leader, _) = Leader::new(config, Revision(1), leads.clone(), LeaseId(1), now);
        let mut entries = vec![entry(keys.leader(), encode(&leads), 1)];
        let counter = GenerationRecord { format: Format, generation: Generation(1) };
        entries.push(entry(keys.generation(), encode(&counter), 2));
        let all: Vec<Task> = (0..tasks).map(|task| Task::new(format!("task-{task:09}"), "")).collect();
        let mut chunks: BTreeMap<String, ChunkRecord> = BTreeMap::new();
        for number in 0..members {
            let name = member(number)?;
            entries.push(entry(
                keys.session(&name),
                encode(&record(session(number as u64))),
                3 + number as u64,
            ));
            for task in all.iter().skip(number).step_by(members) {
                let chunk = chunks.entry(keys.chunk(&name, chunk_of(&task.key)));
                let chunk = chunk.or_insert_with(|| ChunkRecord::empty(session(number as u64)));
                chunk.generation = Generation(1);
                chunk.insert(Entry::held(task, Token(1)));
            }
        }
        let revision = 3 + members as u64;
        entries.extend(chunks.iter().map(|(key, chunk)| entry(key.clone(), encode(chunk), revision)));
        let mut led = Self {
            leader,
            keys,
            now,
            revision,
            sessions: members as u64,
            committed: VecDeque::new(),
            news: VecDeque::new(),
            chunks,
            spent: Cost::default(),
            load_ms: 0.0,
            relist_ms: 0.0,
        };
        let snapshot = FeedItem::Loaded(Snapshot { revision: Revision(revision), entries });
        led.step(|leader, now| leader.on_feed(now, &snapshot))?;
        let list = all.clone();
        led.step(|leader, now| leader.on_tasks(now, Ok(list)))?;
        led.rest()?;
        led.load_ms = std::mem::take(&mut led.spent).all_ms;
        led.step(|leader, now| leader.on_tasks(now, Ok(all)))?;
        led.rest()?;
        led.relist_ms = std::mem::take(&mut led.spent).all_ms;
        Ok(led)
    }

    /// A member joins.
    pub(crate) fn join(&mut self, number: usize) -> anyhow::Result<Cost> {
        self.sessions += 1;
        let value = encode(&record(session(self.sessions)));
        let key = self.keys.session(&member(number)?);
        self.write(vec![Op::Put { key, value, lease: Some(LeaseId(1)) }])?;
        self.change()
    }

    /// A member's session ends.
    pub(crate) fn lose(&mut self, number: usize) -> anyhow::Result<Cost> {
        self.write(vec![Op::Delete { key: self.keys.session(&member(number)?) }])?;
        self.change()
    }

    /// An operator pins a task to a member.
    pub(crate) fn pin(&mut self, task: usize, number: usize) -> anyhow::Result<Cost> {
        let record = PinRecord { format: Format, member: member(number)?, origin: Origin::default() };
        let key = self.keys.control(&Control::Pin(format!("task-{task:09}").into()));
        self.write(vec![Op::Put { key, value: encode(&record), lease: None }])?;
        self.change()
    }

    /// How many tasks a member has.
    pub(crate) fn held_by(&self, number: usize) -> anyhow::Result<usize> {
        let prefix = self.keys.assignment(&member(number)?);
        let of_member = self.chunks.range(prefix.clone()..).take_while(|(key, _)| key.starts_with(&prefix));
        Ok(of_member.map(|(_, chunk)| chunk.tasks.len()).sum())
    }

    fn change(&mut self) -> anyhow::Result<Cost> {
        self.spent = Cost::default();
        self.rest()?;
        Ok(self.spent)
    }

    /// Plays the store and the members until nothing is left to do.
    fn rest(&mut self) -> anyhow::Result<()> {
        loop {
            if let Some(revision) = self.committed.pop_front() {
                let applied = Ok(TxnOutcome::Applied { revision });
                self.step(|leader, now| leader.on_committed(now, &applied))?;
            } else if let Some(batch) = self.news.pop_front() {
                self.step(|leader, now| leader.on_feed(now, &FeedItem::Changed(batch)))?;
            } else if let Some(at) =
                self.leader.next_wake(self.now).filter(|at| at.since(self.now.at).as_secs() < 1)
            {
                self.now.at = at;
                self.step(Leader::tick)?;
            } else {
                return Ok(());
            }
        }
    }

    fn step(&mut self, step: impl FnOnce(&mut Leader, Now) -> Vec<LeaderAction>) -> anyhow::Result<()> {
        let begin = Instant::now();
        let mut actions = step(&mut self.leader, self.now);
        let is_plan = |action: &LeaderAction| matches!(action, LeaderAction::Plan(_));
        while let Some(at) = actions.iter().position(is_plan) {
            if let LeaderAction::Plan(request) = actions.remove(at) {
                let plan = request.ask(&StickyBalanced);
                actions.extend(self.leader.on_planned(self.now, &request, plan));
            }
        }
        let took = begin.elapsed().as_secs_f64() * 1000.0;
        self.spent.all_ms += took;
        self.spent.steps += 1;
        if self.spent.steps == 1 {
            self.spent.first_ms = took;
        }
        for action in actions {
            match action {
                LeaderAction::Commit(Txn { ops, .. }) => {
                    let revision = self.write(ops)?;
                    self.committed.push_back(revision);
                }
                LeaderAction::Reload | LeaderAction::StepDown { .. } => anyhow::bail!("the leader gave up"),
                LeaderAction::AskProvider
                | LeaderAction::AskFloor
                | LeaderAction::Plan(_)
                | LeaderAction::Emit(_) => {}
            }
        }
        Ok(())
    }

    /// Writes, and lets members acknowledge what they are asked for.
    fn write(&mut self, ops: Vec<Op>) -> anyhow::Result<Revision> {
        self.revision += 1;
        let (mut events, mut acks) = (Vec::new(), BTreeMap::new());
        for op in ops {
            match op {
                Op::Put { key, value, .. } => {
                    if let Some(Kind::Chunk(holder, _)) = self.keys.kind(&key) {
                        let chunk: ChunkRecord = decode(&key, &value)?;
                        let asked = chunk.tasks.iter().filter(|entry| entry.releasing.is_some());
                        let asked: Vec<_> =
                            asked.map(|entry| Named { key: entry.key.clone(), token: entry.token }).collect();
                        if !asked.is_empty() {
                            let of = acks.entry(holder).or_insert((
                                chunk.incarnation,
                                chunk.generation,
                                Vec::new(),
                            ));
                            of.2.extend(asked);
                        }
                        self.chunks.insert(key.clone(), chunk);
                    }
                    events.push(WatchEvent::Put(entry(key, value, self.revision)));
                }
                Op::Delete { key } => {
                    self.chunks.remove(&key);
                    events.push(WatchEvent::Delete { key });
                }
            }
        }
        let revision = Revision(self.revision);
        self.news.push_back(WatchBatch { revision, events });
        for (holder, (incarnation, generation, mut released)) in acks {
            released.sort();
            let ack = AckRecord {
                format: Format,
                incarnation,
                generation,
                released: Some(released),
                releasing: Vec::new(),
                failed: Vec::new(),
                stuck: Vec::new(),
            };
            self.revision += 1;
            let put = WatchEvent::Put(entry(self.keys.ack(&holder), encode(&ack), self.revision));
            self.news.push_back(WatchBatch { revision: Revision(self.revision), events: vec![put] });
        }
        Ok(revision)
    }
}

fn session(number: u64) -> Incarnation {
    Incarnation(uuid::Uuid::from_u128(u128::from(number) + 1))
}

/// Joins and losses, each of one member.
pub(crate) fn changes(
    led: &mut Led,
    tasks: usize,
    members: usize,
    changes: usize,
) -> anyhow::Result<Vec<[Cost; 2]>> {
    let mut costs = Vec::new();
    for _ in 0..changes {
        let join = led.join(members)?;
        let held = led.held_by(members)?;
        anyhow::ensure!(held.abs_diff(tasks / (members + 1)) <= 1, "the new member has {held} tasks");
        let loss = led.lose(members)?;
        anyhow::ensure!(led.held_by(members)? == 0, "the lost member still has tasks");
        costs.push([join, loss]);
    }
    costs.first().context("no changes were asked for")?;
    Ok(costs)
}
