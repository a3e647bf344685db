//! A group of a hundred members and a hundred thousand tasks in one process. Prints what it takes; asserts no time.
//! `cargo test --release -p lrmf-core --test scale -- --ignored --nocapture`

#![expect(clippy::unwrap_used, reason = "tests panic to fail")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use lrmf_core::smooth::SmoothWorker;
use lrmf_core::{
    Coordinator, CoordinatorConfig, CoordinatorHandle, FixedTasks, GroupId, InstanceId, MemoryStore, Task,
};

const MEMBERS: usize = 100;
const TASKS: usize = 100_000;

async fn join(store: &Arc<MemoryStore>, name: &str) -> CoordinatorHandle {
    let config = CoordinatorConfig { settle: Duration::from_millis(200), ..CoordinatorConfig::default() };
    Coordinator::builder(store.clone(), GroupId::new("p", "b", "t").unwrap())
        .instance_id(InstanceId::new(name).unwrap())
        .provider(FixedTasks::new((0..TASKS).map(|task| Task::new(format!("task-{task:06}"), ""))))
        .worker(SmoothWorker::new(|_| {}))
        .config(config)
        .start()
        .await
        .unwrap()
}

async fn all_held(members: &[CoordinatorHandle]) {
    let most = TASKS.div_ceil(members.len());
    for member in members {
        member.held().wait_for(|held| held.len() == most || held.len() == most - 1).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures, and takes a while"]
async fn a_hundred_members_hold_a_hundred_thousand_tasks() {
    let store = Arc::new(MemoryStore::with_history(1 << 20));
    let begun = Instant::now();
    let mut members = Vec::new();
    for member in 0..MEMBERS {
        members.push(join(&store, &format!("member-{member:03}")).await);
    }
    println!("{MEMBERS} joined after {:?}", begun.elapsed());
    all_held(&members).await;
    println!("{TASKS} tasks held after {:?}", begun.elapsed());
    for round in 0..5 {
        let (begun, revision) = (Instant::now(), store.revision());
        members.push(join(&store, &format!("late-{round}")).await);
        all_held(&members).await;
        println!("join {:?}, {} writes", begun.elapsed(), store.revision().0 - revision.0);
        let (begun, revision) = (Instant::now(), store.revision());
        let late = members.pop().unwrap();
        late.close().await;
        all_held(&members).await;
        println!("leave {:?}, {} writes", begun.elapsed(), store.revision().0 - revision.0);
    }
}
