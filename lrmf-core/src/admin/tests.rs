//! Over the store in memory, with records that the tests write, and with a living group.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;

use super::*;
use crate::clock::RuntimeClock;
use crate::memory::MemoryStore;
use crate::records::{
    AckRecord, Cause, ChunkRecord, Entry, GenerationRecord, MemberState, Named, Stuck, StuckBy,
};
use crate::smooth::SmoothWorker;
use crate::task::Task;
use crate::{Coordinator, CoordinatorConfig, CoordinatorHandle, FixedTasks, Generation};

fn group() -> GroupId {
    GroupId::new("p", "b", "t").unwrap()
}

fn name(text: &str) -> InstanceId {
    InstanceId::new(text).unwrap()
}

fn session(number: u128) -> Incarnation {
    Incarnation(uuid::Uuid::from_u128(number))
}

/// A group that is nothing but its records.
struct Written {
    store: Arc<MemoryStore>,
    keys: Keys,
    admin: Admin,
}

impl Written {
    fn new() -> Self {
        let store = Arc::new(MemoryStore::new());
        Self { admin: Admin::new(store.clone(), group()), keys: Keys::new(&group()), store }
    }

    async fn put(&self, key: String, record: &impl Record) {
        let op = Op::Put { key, value: encode(record), lease: None };
        self.store.commit(Txn { guards: vec![], ops: vec![op] }).await.unwrap();
    }

    async fn member(&self, member: &str, number: u128, state: MemberState) {
        let record = MemberRecord {
            format: Format,
            incarnation: session(number),
            state,
            mode: Default::default(),
            capacity: 1,
            zone: None,
            labels: Default::default(),
            load: None,
            assignor: String::new(),
            preference: 0,
        };
        self.put(self.keys.session(&name(member)), &record).await;
    }

    /// One task, with this member.
    async fn task(&self, member: &str, number: u128, change: impl FnOnce(&mut Entry)) {
        let mut entry = Entry::held(&Task::new("x", ""), Token(7));
        change(&mut entry);
        let mut record = ChunkRecord::empty(session(number));
        record.insert(entry);
        self.put(self.keys.chunk(&name(member), crate::keys::chunk_of("x")), &record).await;
        let record = GenerationRecord { format: Format, generation: Generation(9) };
        self.put(self.keys.generation(), &record).await;
    }

    async fn ack(&self, number: u128, generation: u64, released: &[u64], stuck: Option<StuckBy>) {
        let record = AckRecord {
            format: Format,
            incarnation: session(number),
            generation: Generation(generation),
            released: Some(
                released.iter().map(|token| Named { key: "x".into(), token: Token(*token) }).collect(),
            ),
            releasing: vec![],
            failed: vec![],
            stuck: stuck.into_iter().map(|by| Stuck { key: "x".into(), token: Token(7), by }).collect(),
        };
        self.put(self.keys.ack(&name("a")), &record).await;
    }

    async fn phase(&self) -> TaskPhase {
        let state = self.admin.read().await.unwrap();
        state.phase(state.place("x").unwrap())
    }

    async fn codes(&self, key: &str) -> Vec<&'static str> {
        let explanation = self.admin.read().await.unwrap().explain(key);
        explanation.reasons.iter().map(|reason| reason.code).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_that_nobody_joined_is_named() {
    let written = Written::new();
    let error = written.admin.read().await.unwrap_err();
    assert!(error.to_string().contains("no group p/b/t"), "{error}");
    for error in [
        written.admin.drain(&name("a")).await.unwrap_err(),
        written.admin.freeze().await.unwrap_err(),
        written.admin.unfreeze().await.unwrap_err(),
        written.admin.trigger().await.unwrap_err(),
        written.admin.evict(&name("a")).await.unwrap_err(),
        written.admin.force_release("x").await.unwrap_err(),
    ] {
        assert!(matches!(error, AdminError::NoGroup { .. }), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_phase_of_a_task_is_told_from_the_others() {
    let written = Written::new();
    written.member("a", 1, MemberState::Active).await;
    written.task("a", 1, |_| {}).await;
    assert_eq!(written.phase().await, TaskPhase::Held);
    written.task("a", 1, |entry| entry.releasing = Some(Generation(8))).await;
    assert_eq!(written.phase().await, TaskPhase::Releasing);
    assert_eq!(written.codes("x").await, ["new", "releasing", "no-leader"]);
    // One that it had before does not count.
    written.ack(1, 8, &[6], None).await;
    assert_eq!(written.phase().await, TaskPhase::Releasing);
    for (by, text) in [(StuckBy::Overdue, "revoke_timeout"), (StuckBy::Panicked, "panicked")] {
        written.ack(1, 8, &[], Some(by)).await;
        assert_eq!(written.phase().await, TaskPhase::Stuck);
        let explained = written.admin.read().await.unwrap().explain("x");
        assert!(
            explained.reasons[1].code == "stuck" && explained.reasons[1].text.contains(text),
            "{explained:?}"
        );
        assert!(explained.reasons[1].text.contains("force-release"));
    }
    written.ack(1, 8, &[7], None).await;
    assert_eq!(written.phase().await, TaskPhase::Released);
    written.member("a", 1, MemberState::Restarting).await;
    assert_eq!(written.phase().await, TaskPhase::Waiting);
    written.member("a", 2, MemberState::Active).await;
    assert_eq!(written.phase().await, TaskPhase::Orphaned);
}

#[tokio::test(start_paused = true)]
async fn what_operators_want_is_explained() {
    let written = Written::new();
    written.member("a", 1, MemberState::Active).await;
    written.task("a", 1, |entry| entry.cause = Cause::Planned).await;
    let admin = &written.admin;
    admin.pin("x", &name("b")).await.unwrap();
    assert_eq!(written.codes("x").await, ["planned", "held", "pin-waits", "no-leader"]);
    admin.pin("x", &name("a")).await.unwrap();
    admin.drain(&name("a")).await.unwrap();
    admin.freeze().await.unwrap();
    assert_eq!(written.codes("x").await, ["planned", "held", "drained", "pin", "frozen", "no-leader"]);
    assert!(admin.unpin("x").await.unwrap() && !admin.unpin("x").await.unwrap());
    assert!(admin.undrain(&name("a")).await.unwrap() && admin.unfreeze().await.unwrap());
    let released = admin.force_release("x").await.unwrap();
    assert_eq!(released, Released { member: name("a"), incarnation: session(1), token: Token(7) });
    assert_eq!(written.codes("x").await, ["planned", "held", "force-release", "no-leader"]);
    assert_eq!(written.codes("y").await, ["unplaced", "no-leader"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_cannot_be_released_or_evicted() {
    let written = Written::new();
    written.task("a", 1, |_| {}).await;
    let error = written.admin.force_release("x").await.unwrap_err();
    assert!(matches!(error, AdminError::NotHeld { .. }), "{error}");
    let error = written.admin.force_release("y").await.unwrap_err();
    assert!(matches!(error, AdminError::NoTask { .. }), "{error}");
    let error = written.admin.evict(&name("a")).await.unwrap_err();
    assert!(matches!(error, AdminError::NoMember { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_shown_beside_the_rest() {
    let written = Written::new();
    written.member("a", 1, MemberState::Active).await;
    let key = written.keys.control(&Control::Freeze);
    let op = Op::Put { key: key.clone(), value: r#"{"format":99}"#.into(), lease: None };
    written.store.commit(Txn { guards: vec![], ops: vec![op] }).await.unwrap();
    let state = written.admin.read().await.unwrap();
    assert_eq!(state.unreadable.keys().collect::<Vec<_>>(), [&key]);
    assert!(state.freeze.is_none() && state.member_views().len() == 1);
}

async fn join(store: &Arc<MemoryStore>, clock: &Arc<RuntimeClock>, member: &str) -> CoordinatorHandle {
    Coordinator::builder(store.clone(), group())
        .instance_id(name(member))
        .provider(FixedTasks::new((0..4).map(|task| Task::new(format!("task-{task}"), ""))))
        .worker(SmoothWorker::new(|_| {}))
        .config(CoordinatorConfig { settle: Duration::ZERO, ..Default::default() })
        .clock(clock.clone())
        .start()
        .await
        .unwrap()
}

async fn holds(member: &CoordinatorHandle, count: usize) {
    let mut held = member.held();
    tokio::time::timeout(Duration::from_secs(60), held.wait_for(|held| held.len() == count))
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_living_group_obeys_and_is_watched() {
    let (store, clock) = (Arc::new(MemoryStore::new()), Arc::new(RuntimeClock::new()));
    let a = join(&store, &clock, "a").await;
    let b = join(&store, &clock, "b").await;
    holds(&a, 2).await;
    holds(&b, 2).await;
    let admin = Admin::new(store.clone(), group());
    let (state, mut changes) = admin.watch().await.unwrap();
    assert_eq!(state.member_views().iter().map(|member| member.tasks).sum::<usize>(), 4);
    let mut until = async |wanted: &dyn Fn(&Change) -> bool| loop {
        let next = tokio::time::timeout(Duration::from_secs(60), changes.next());
        if next.await.unwrap().unwrap().iter().any(wanted) {
            return;
        }
    };
    // Of what comes right after it nothing is missed, also not a request that leaves no trace.
    admin.trigger().await.unwrap();
    until(&|change| matches!(change, Change::Control { control: "trigger", .. })).await;
    admin.drain(&name("b")).await.unwrap();
    until(&|change| matches!(change, Change::Control { control: "drain", wanted: true, .. })).await;
    until(&|change| matches!(change, Change::Task { from: Some(from), cause: Some(Cause::Left), .. } if from.as_str() == "b"))
        .await;
    holds(&a, 4).await;
    admin.undrain(&name("b")).await.unwrap();
    holds(&b, 2).await;
    admin.evict(&name("b")).await.unwrap();
    until(&|change| matches!(change, Change::Member { state: MemberPhase::Gone, .. })).await;
    holds(&a, 4).await;
    // It comes back by itself.
    until(&|change| matches!(change, Change::Member { state: MemberPhase::Active, .. })).await;
    holds(&b, 2).await;
    tokio::join!(a.close(), b.close());
}
