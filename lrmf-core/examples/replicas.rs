//! Shards with a primary and a standby each, on three members of one process: one member leaves the hard way, and its shards go on
//! where their standbys were.
//!
//! ```console
//! cargo run -p lrmf-core --example replicas
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lrmf_core::assignor::ReplicaBalanced;
use lrmf_core::replicas::{Replica, ReplicaRoles, ReplicaWorker, Replicated, Role, parse};
use lrmf_core::{
    Coordinator, CoordinatorConfig, CoordinatorHandle, FixedTasks, GroupId, InstanceId, MemoryStore, Task,
};

/// Says what becomes of its replicas.
struct Shards(&'static str);

#[async_trait]
impl ReplicaWorker for Shards {
    async fn take_role(&self, replica: &Replica) -> anyhow::Result<()> {
        let (name, task, token) = (self.0, &replica.task.key, replica.token);
        match replica.role {
            Role::Primary => println!("{name}: primary of {task}; writes with token {token}"),
            Role::Standby => println!("{name}: stands by for {task}"),
        }
        Ok(())
    }

    async fn give_up(&self, replica: &Replica) -> anyhow::Result<()> {
        println!("{}: no replica of {} any more", self.0, replica.task.key);
        Ok(())
    }
}

/// The members with a primary, and of how many shards.
fn primaries(members: &BTreeMap<&'static str, CoordinatorHandle>) -> BTreeMap<&'static str, usize> {
    let is_primary = |key: &Arc<str>| parse(key).is_some_and(|(_, number)| number == 0);
    let count =
        |member: &CoordinatorHandle| member.held().borrow().keys().filter(|key| is_primary(key)).count();
    members.iter().map(|(name, member)| (*name, count(member))).collect()
}

async fn settle(members: &BTreeMap<&'static str, CoordinatorHandle>, replicas: usize) {
    let held = || members.values().map(|member| member.held().borrow().len()).sum::<usize>();
    while held() != replicas {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let store = Arc::new(MemoryStore::new());
    let shards = FixedTasks::new((1..=6).map(|shard| Task::new(format!("shard-{shard}"), "")));
    let config = CoordinatorConfig {
        ttl: Duration::from_secs(2),
        margin: Duration::from_millis(700),
        ..CoordinatorConfig::default()
    };
    let mut members = BTreeMap::new();
    for name in ["a", "b", "c"] {
        let member = Coordinator::builder(store.clone(), GroupId::new("example", "shards", "default")?)
            .instance_id(InstanceId::new(name)?)
            .provider(Replicated::new(2, shards.clone())?)
            .assignor(ReplicaBalanced)
            .worker(ReplicaRoles::new(Shards(name)))
            .config(config.clone())
            .start()
            .await?;
        members.insert(name, member);
    }
    settle(&members, 12).await;
    println!("primaries: {:?}", primaries(&members));

    println!("b dies");
    if let Some(dead) = members.remove("b") {
        dead.kill().await;
    }
    settle(&members, 12).await;
    println!("primaries: {:?}", primaries(&members));
    for member in members.values() {
        member.close().await;
    }
    Ok(())
}
