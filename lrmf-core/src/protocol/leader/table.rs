//! A leader on a table: over the simulation's store, with members that a test plays.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::seats::Seats;
use super::*;
use crate::assignor::{Assignor, StickyBalanced};
use crate::clock::Timestamp;
use crate::coordination::Op;
use crate::ids::{Generation, GroupId, Incarnation};
use crate::records::{
    AckRecord, ChunkRecord, Entry, Failure, Format, GenerationRecord, MemberRecord, MemberState, Named,
    Record, decode, encode,
};
use crate::sim::store::Store;
use crate::task::Task;

pub(super) struct Table {
    pub(super) store: Store,
    pub(super) leader: Leader,
    pub(super) assignor: Arc<dyn Assignor>,
    pub(super) keys: Keys,
    pub(super) at: Duration,
    pub(super) events: Vec<Event>,
    pub(super) commits: Vec<Txn>,
    pub(super) reloads: usize,
    pub(super) floor_asked: usize,
    pub(super) stepped_down: bool,
}

pub(super) fn name(text: &str) -> InstanceId {
    InstanceId::new(text).unwrap()
}

pub(super) fn incarnation(number: u128) -> Incarnation {
    Incarnation(Uuid::from_u128(number))
}

pub(super) fn tasks(count: usize) -> Vec<Task> {
    (0..count).map(|task| Task::new(format!("task-{task}"), "")).collect()
}

impl Table {
    /// A leader that has not loaded yet.
    pub(super) fn new(change: impl FnOnce(&mut LeaderConfig)) -> Self {
        let keys = Keys::new(&GroupId::new("p", "b", "t").unwrap());
        let mut config = LeaderConfig {
            keys: keys.clone(),
            assignor: StickyBalanced.name(),
            limits: TxnLimits { ops: 128, bytes: 1 << 20 },
            settle: Duration::ZERO,
            mode: GroupMode::Exclusive,
            companions: Duration::from_millis(10),
            provider_period: Duration::from_secs(30),
            moves: MoveLimits { most: 1000, most_of_zone: 1000, zone_per_minute: None },
            patience: Duration::from_secs(10),
            has_floor: false,
            rules: Rules::ALL,
        };
        change(&mut config);
        let record = LeaderRecord::new(name("l"), incarnation(9), "");
        let mut store = Store::default();
        let lease = store.grant(Duration::ZERO, Duration::from_secs(1000)).id;
        let op = Op::Put { key: keys.leader(), value: encode(&record), lease: Some(lease) };
        store.commit(&Txn { guards: vec![], ops: vec![op] }).unwrap();
        let (leader, actions) = Leader::new(config, store.revision(), record, lease, Now::default());
        assert_eq!(actions, [LeaderAction::AskProvider]);
        Self {
            store,
            leader,
            assignor: Arc::new(StickyBalanced),
            keys,
            at: Duration::ZERO,
            events: vec![],
            commits: vec![],
            reloads: 0,
            floor_asked: 0,
            stepped_down: false,
        }
    }

    /// A leader of these members and tasks, with everything placed.
    pub(super) fn placed(members: &[(&str, u128)], count: usize) -> Self {
        let mut table = Self::new(|_| {});
        members.iter().for_each(|(name, number)| table.member(name, *number, MemberState::Active));
        table.load();
        table.list(Ok(tasks(count)));
        table.run();
        table
    }

    /// Another leader comes after this one.
    pub(super) fn succeed(&mut self) {
        let Leader { config, record, lease, .. } = self.leader.clone();
        self.delete(self.keys.leader());
        let op = Op::Put { key: self.keys.leader(), value: encode(&record), lease: Some(lease) };
        self.store.commit(&Txn { guards: vec![], ops: vec![op] }).unwrap();
        self.leader = Leader::new(config, self.store.revision(), record, lease, self.now()).0;
    }

    /// Lowers how many members may hold tasks.
    pub(super) fn most_members(&mut self, most: usize) {
        let view = &mut self.leader.view;
        view.seats = Seats::new(most);
        view.sessions.iter().for_each(|(instance, session)| view.seats.enter(session.created, instance));
    }

    pub(super) fn now(&self) -> Now {
        Now { at: Timestamp(self.at), unix_millis: 1000 }
    }

    pub(super) fn put(&mut self, key: String, record: &impl Record) {
        let op = Op::Put { key, value: encode(record), lease: None };
        self.store.commit(&Txn { guards: vec![], ops: vec![op] }).unwrap();
    }

    pub(super) fn delete(&mut self, key: String) {
        self.store.commit(&Txn { guards: vec![], ops: vec![Op::Delete { key }] }).unwrap();
    }

    pub(super) fn member(&mut self, text: &str, number: u128, state: MemberState) {
        self.member_of(GroupMode::Exclusive, text, number, state);
    }

    pub(super) fn member_of(&mut self, mode: GroupMode, text: &str, number: u128, state: MemberState) {
        let record = MemberRecord {
            format: Format,
            incarnation: incarnation(number),
            state,
            mode,
            capacity: 1,
            zone: None,
            assignor: String::new(),
            load: None,
            preference: 0,
            labels: Default::default(),
        };
        self.put(self.keys.session(&name(text)), &record);
    }

    /// A member that says this about itself.
    pub(super) fn labelled(&mut self, text: &str, number: u128, label: &str) {
        self.member_with(text, number, |record| {
            record.labels.insert("knows".to_owned(), label.to_owned());
        });
    }

    /// A member that changes this in its record.
    fn member_with(&mut self, text: &str, number: u128, change: impl FnOnce(&mut MemberRecord)) {
        let key = self.keys.session(&name(text));
        self.member(text, number, MemberState::Active);
        let entry = self.store.list(&key).entries.remove(0);
        let mut record: MemberRecord = serde_json::from_slice(&entry.value).unwrap();
        change(&mut record);
        self.put(key, &record);
    }

    /// A member in a zone.
    pub(super) fn zoned(&mut self, text: &str, number: u128, zone: &str) {
        self.member_with(text, number, |record| record.zone = Some(zone.into()));
    }

    /// A member with a preference for it as the leader.
    pub(super) fn preferred(&mut self, text: &str, number: u128, preference: u8) {
        self.member_with(text, number, |record| record.preference = preference);
    }

    pub(super) fn gone(&mut self, text: &str) {
        self.delete(self.keys.session(&name(text)));
    }

    /// The member says that it has released all that was taken from it up to a generation, but for what it is `releasing`.
    pub(super) fn ack(
        &mut self,
        text: &str,
        number: u128,
        generation: u64,
        releasing: &[(&str, u64)],
        failed: Vec<Failure>,
    ) {
        let record = AckRecord {
            format: Format,
            incarnation: incarnation(number),
            generation: Generation(generation),
            released: Some(self.released(text, generation, releasing)),
            releasing: vec![],
            failed,
            stuck: vec![],
        };
        self.put(self.keys.ack(&name(text)), &record);
    }

    /// What was taken from a member up to a generation, in key order, but for some.
    fn released(&self, member: &str, generation: u64, but: &[(&str, u64)]) -> Vec<Named> {
        let chunks = self.store.list(&self.keys.assignment(&name(member))).entries;
        let chunks = chunks.iter().map(|kv| decode::<ChunkRecord>(&kv.key, &kv.value).unwrap());
        let marked = chunks.flat_map(|chunk| chunk.tasks).filter(|entry| {
            let marked = entry.releasing.is_some_and(|marked| marked <= Generation(generation));
            marked && !but.iter().any(|(key, _)| **key == *entry.key)
        });
        let named: BTreeMap<_, _> = marked.map(|entry| (entry.key, entry.token)).collect();
        named.into_iter().map(|(key, token)| Named { key, token }).collect()
    }

    pub(super) fn load(&mut self) {
        self.store.take_news();
        let snapshot = self.store.list(self.keys.root());
        let actions = self.leader.on_feed(self.now(), &FeedItem::Loaded(snapshot));
        self.take(actions);
    }

    pub(super) fn list(&mut self, answer: Result<Vec<Task>, String>) {
        let actions = self.leader.on_tasks(self.now(), answer);
        self.take(actions);
    }

    pub(super) fn take(&mut self, actions: Vec<LeaderAction>) {
        for action in actions {
            match action {
                LeaderAction::Commit(txn) => self.commits.push(txn),
                LeaderAction::Emit(event) => self.events.push(event),
                LeaderAction::Reload => self.reloads += 1,
                LeaderAction::StepDown { .. } => self.stepped_down = true,
                LeaderAction::AskProvider => {}
                LeaderAction::AskFloor => self.floor_asked += 1,
                LeaderAction::Plan(request) => {
                    let answer = request.ask(self.assignor.as_ref());
                    let actions = self.leader.on_planned(self.now(), &request, answer);
                    self.take(actions);
                }
            }
        }
    }

    /// Delivers what the store has done.
    pub(super) fn deliver(&mut self) {
        for batch in self.store.take_news() {
            let actions = self.leader.on_feed(self.now(), &FeedItem::Changed(batch));
            self.take(actions);
        }
    }

    /// Carries out what the leader commits until it commits nothing more; says how often it did.
    pub(super) fn run(&mut self) -> usize {
        self.run_with(|_| Ok(()))
    }

    /// The same over a store that refuses some writes.
    pub(super) fn run_with(&mut self, accepts: impl Fn(&Txn) -> Result<(), CoordinationError>) -> usize {
        self.deliver();
        let mut count = 0;
        while let Some(txn) = self.commits.pop() {
            count += 1;
            let outcome = accepts(&txn).and_then(|()| self.store.commit(&txn));
            let actions = self.leader.on_committed(self.now(), &outcome);
            self.take(actions);
            self.deliver();
            if outcome.is_err() {
                self.load();
                self.later(Duration::from_secs(1));
            }
        }
        count
    }

    pub(super) fn later(&mut self, span: Duration) {
        self.at += span;
        let actions = self.leader.tick(self.now());
        self.take(actions);
    }

    /// Who has a task, its token, and since which generation it is to be released.
    pub(super) fn entry(&self, task: &str) -> (String, Incarnation, Entry) {
        let mut found = self.store.entries().filter_map(|kv| {
            let Some(crate::keys::Kind::Chunk(member, _)) = self.keys.kind(&kv.key) else { return None };
            let chunk: ChunkRecord = decode(&kv.key, &kv.value).unwrap();
            Some((member.to_string(), chunk.incarnation, chunk.get(task)?.clone()))
        });
        let entry = found.next().unwrap();
        assert!(found.next().is_none(), "{task} is in two records");
        entry
    }

    pub(super) fn holders(&self, count: usize) -> Vec<String> {
        (0..count).map(|task| self.entry(&format!("task-{task}")).0).collect()
    }

    pub(super) fn generation(&self) -> u64 {
        let kv = self.store.get(&self.keys.generation()).unwrap();
        decode::<GenerationRecord>(&kv.key, &kv.value).unwrap().generation.0
    }
}
