//! Roles, as a worker is told of them.

use std::time::Duration;

use super::*;
use crate::assignor::ReplicaBalanced;
use crate::provider::FixedTasks;
use crate::testkit::group::TestGroup;

/// Notes what it is told, as text.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    fn note(&self, what: &str, replica: &Replica) {
        self.0
            .lock()
            .unwrap()
            .push(format!("{what} {:?} {} {}", replica.role, replica.task.key, replica.token));
    }
}

#[async_trait]
impl ReplicaWorker for Notes {
    async fn take_role(&self, replica: &Replica) -> anyhow::Result<()> {
        anyhow::ensure!(&*replica.task.value != "refused", "refused");
        self.note("take", replica);
        Ok(())
    }

    async fn give_up(&self, replica: &Replica) -> anyhow::Result<()> {
        self.note("end", replica);
        Ok(())
    }
}

fn holding(number: u32, value: &str, token: u64) -> Holding {
    Holding { task: Task::new(key_of("t", number), value), token: Token(token) }
}

#[tokio::test]
async fn the_highest_role_counts_and_each_change_is_told_once() {
    let notes = Notes::default();
    let roles = ReplicaRoles::new(notes.clone());
    roles.assign(&[holding(2, "", 5)]).await.unwrap();
    roles.assign(&[holding(1, "", 6)]).await.unwrap();
    assert_eq!(notes.take(), ["take Standby t 5"], "a second standby is nothing new");
    roles.assign(&[holding(0, "", 7)]).await.unwrap();
    roles.revoke(&[holding(2, "", 5)]).await.unwrap();
    assert_eq!(notes.take(), ["take Primary t 7"]);
    roles.revoke(&[holding(0, "", 7)]).await.unwrap();
    roles.revoke(&[holding(1, "", 6)]).await.unwrap();
    assert_eq!(notes.take(), ["take Standby t 6", "end Standby t 6"]);
}

#[tokio::test]
async fn a_role_that_is_not_taken_is_not_held() {
    let notes = Notes::default();
    let roles = ReplicaRoles::new(notes.clone());
    assert!(roles.assign(&[holding(0, "refused", 5)]).await.is_err());
    roles.revoke(&[holding(0, "refused", 5)]).await.unwrap();
    assert_eq!(notes.take(), [""; 0]);
}

#[test]
fn numbers_of_replicas_are_checked_and_keys_are_read_back() {
    for wrong in [0, MAX_REPLICAS + 1] {
        let error = Replicated::new(wrong, FixedTasks::default()).unwrap_err().to_string();
        assert!(error.contains("from 1 to 16"), "{error}");
    }
    assert_eq!(parse(&key_of("a#replica-b", 3)), Some(("a#replica-b", 3)));
    assert_eq!(parse("a#replica-"), None);
    assert_eq!(parse("a"), None);
}

/// A member that dies: each of its primaries goes on where a standby was, with a higher token, and everything has two replicas.
#[tokio::test(start_paused = true)]
async fn a_standby_is_promoted_with_a_higher_token_when_the_primary_dies() {
    let mut group = TestGroup::new([]).with_assignor(ReplicaBalanced);
    let tasks = || (0..6).map(|task| Task::new(format!("t{task}"), ""));
    let replicas = Replicated::new(2, FixedTasks::new(tasks())).unwrap();
    group.set_tasks(replicas.tasks().await.unwrap());
    let notes: BTreeMap<&str, Notes> = ["a", "b", "c"].map(|name| (name, Notes::default())).into();
    for (name, notes) in &notes {
        group.join(name, ReplicaRoles::new(notes.clone())).await;
    }
    group.settled().await;
    let before = group.holders();
    let primaries = |of: &BTreeMap<String, String>, name: &str| -> Vec<String> {
        let held = of.iter().filter(|(_, holder)| *holder == name);
        held.filter_map(|(key, _)| {
            parse(key).filter(|(_, number)| *number == 0).map(|(task, _)| task.to_owned())
        })
        .collect()
    };
    let of_dead = primaries(&before, "a");
    assert!(!of_dead.is_empty());
    let token = |group: &TestGroup, name: &str, task: &str| {
        group.handle(name).held().borrow().get(&key_of(task, 0)).map(|holding| holding.token)
    };
    let tokens: Vec<_> = of_dead.iter().map(|task| token(&group, "a", task).unwrap()).collect();
    notes.values().for_each(|notes| drop(notes.take()));

    group.crash("a").await;
    group.advance(Duration::from_secs(12)).await;
    group.settled().await;
    let after = group.holders();
    let told: BTreeMap<&str, Vec<String>> = notes.iter().map(|(name, notes)| (*name, notes.take())).collect();
    for (task, token_before) in of_dead.iter().zip(tokens) {
        let standby = &before[&*key_of(task, 1)];
        assert_eq!(&after[&*key_of(task, 0)], standby, "{task} goes on where its standby was");
        let token = token(&group, standby, task).unwrap();
        assert!(token > token_before);
        assert!(told[standby.as_str()].contains(&format!("take Primary {task} {token}")));
        assert_ne!(after[&*key_of(task, 0)], after[&*key_of(task, 1)]);
    }
}
