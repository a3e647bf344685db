//! The example `task-groups`, on a real etcd, while members join and leave.

#[path = "../../examples/task-groups/groups.rs"]
mod groups;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lrmf_core::assignor::StickyWeighted;
use lrmf_core::{CoordinatorHandle, Task, TaskRunner, Token};
use tokio::sync::watch;

use crate::support::Etcd;
use crate::support::group::{Holders, LONG, PATIENCE, is_even, member, wait_for};
use groups::{GroupRunner, ListedTasks, Work, aggregate, members_of};

const SMALL: usize = 1000;
const GROUPS: u32 = 32;

/// The member that had the last turn of each small task.
type Turns = BTreeMap<String, (String, Token)>;

struct Book {
    member: String,
    turns: Arc<watch::Sender<Turns>>,
}

#[async_trait]
impl Work for Book {
    async fn work(&self, name: &str, token: Token) -> anyhow::Result<()> {
        self.turns.send_modify(|turns| {
            let before = turns.insert(name.to_owned(), (self.member.clone(), token));
            // Nobody has a turn after a later holder.
            assert!(before.is_none_or(|(_, before)| before <= token), "{name} went back to {token}");
        });
        // One whose own trouble must not be the others'.
        anyhow::ensure!(name != "small-13", "unlucky");
        Ok(())
    }
}

async fn start(etcd: &Etcd, name: &str, path: &Path, turns: &Arc<watch::Sender<Turns>>) -> CoordinatorHandle {
    let work = Book { member: name.to_owned(), turns: turns.clone() };
    let builder = member(&etcd.endpoint(), "task-groups", name, LONG).await;
    let provider = ListedTasks { path: path.to_owned(), groups: GROUPS };
    let worker = TaskRunner::new(GroupRunner { period: Duration::from_millis(100), work });
    builder.provider(provider).assignor(StickyWeighted).worker(worker).start().await.unwrap()
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("small-{number}")).collect()
}

fn write(path: &Path, names: &[String]) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, names.join("\n")).unwrap();
    std::fs::rename(beside, path).unwrap();
}

/// Waits until all groups are held by these members, and each small task has had its turn at its group's holder.
async fn settled(members: &[&CoordinatorHandle], turns: &watch::Sender<Turns>, small: &[String]) -> Holders {
    let groups = aggregate(small.iter().map(String::as_str), GROUPS).unwrap();
    let mut watch = turns.subscribe();
    loop {
        // The groups do not weigh the same, so their numbers may differ by more than one.
        let is_settled =
            |holders: &Holders| holders.len() == groups.len() && is_even(holders, members.len(), 4);
        let holders = wait_for(members, is_settled).await;
        let of_group = |group: &Task| {
            let holder = holders[&group.key].clone();
            members_of(group).unwrap().into_iter().map(move |name| (name, holder.clone()))
        };
        let wanted: Turns = groups.iter().flat_map(of_group).collect();
        tokio::select! {
            seen = tokio::time::timeout(PATIENCE, watch.wait_for(|turns| *turns == wanted)) => {
                assert!(seen.is_ok(), "not everybody had a turn");
                return holders;
            }
            _ = wait_for(members, |now| *now != holders) => {}
        }
    }
}

fn moved(before: &Holders, after: &Holders) -> usize {
    after.iter().filter(|(key, holder)| before.get(*key) != Some(holder)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn small_tasks_go_with_their_group() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("small.txt");
    let mut small = names(SMALL);
    write(&path, &small);
    let (etcd, turns) = (Etcd::start(), Arc::default());
    let a = start(&etcd, "a", &path, &turns).await;
    settled(&[&a], &turns, &small).await;
    let b = start(&etcd, "b", &path, &turns).await;
    let two = settled(&[&a, &b], &turns, &small).await;
    let c = start(&etcd, "c", &path, &turns).await;
    let three = settled(&[&a, &b, &c], &turns, &small).await;
    let newcomer = three.values().filter(|(name, _)| name == "c").count();
    assert_eq!(moved(&two, &three), newcomer, "what moved, moved to the newcomer");

    // One small task more: its group begins anew where it is, and nothing else happens.
    small.push("one-more".to_owned());
    write(&path, &small);
    b.trigger_rebalance();
    let mut watch = turns.subscribe();
    let seen = watch.wait_for(|turns| turns.contains_key("one-more"));
    drop(tokio::time::timeout(PATIENCE, seen).await.unwrap().unwrap());
    let more = settled(&[&a, &b, &c], &turns, &small).await;
    assert_eq!(moved(&three, &more), 1);

    b.close().await;
    let left = settled(&[&a, &c], &turns, &small).await;
    let orphans = more.values().filter(|(name, _)| name == "b").count();
    assert!(moved(&more, &left) >= orphans);
    tokio::join!(a.close(), c.close());
}

#[test]
fn a_small_task_changes_its_own_group_only() {
    let all = names(SMALL);
    let before = aggregate(all.iter().map(String::as_str), GROUPS).unwrap();
    let after = aggregate(all[1..].iter().map(String::as_str), GROUPS).unwrap();
    assert_eq!(before.iter().zip(&after).filter(|(before, after)| before != after).count(), 1);

    let listed: Vec<String> = before.iter().flat_map(|group| members_of(group).unwrap()).collect();
    assert_eq!(listed.len(), SMALL, "each is in one group");
    assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), all.into_iter().collect());
    assert_eq!(before.iter().map(|group| group.weight as usize).sum::<usize>(), SMALL);
}

#[test]
fn what_cannot_be_grouped_is_named() {
    let twice = aggregate(["a", "b", "a"], GROUPS).unwrap_err().to_string();
    assert!(twice.contains("\"a\" is there twice"), "{twice}");
    let many = names(5000);
    let large = aggregate(many.iter().map(String::as_str), 1).unwrap_err().to_string();
    assert!(large.contains("use more groups than 1"), "{large}");
}
