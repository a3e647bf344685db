//! Large groups on a real etcd, in one process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use lrmf_core::smooth::SmoothWorker;
use lrmf_core::task::MAX_VALUE_BYTES;
use lrmf_core::{
    Coordinator, CoordinatorConfig, CoordinatorHandle, FixedTasks, GroupId, InstanceId, Task, TaskProvider,
};
use lrmf_etcd::EtcdStore;

use crate::support::Etcd;

/// Far more than it takes: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(600);

/// Members of one group, over one connection.
struct Crowd {
    store: Arc<EtcdStore>,
    provider: Arc<dyn TaskProvider>,
}

impl Crowd {
    async fn new(etcd: &Etcd, tasks: usize) -> Self {
        Self::with_values_of(0, etcd, tasks).await
    }

    async fn with_values_of(bytes: usize, etcd: &Etcd, tasks: usize) -> Self {
        let store = Arc::new(etcd.store().await);
        let value: Arc<str> = "v".repeat(bytes).into();
        let tasks = (0..tasks).map(|task| Task::new(format!("task-{task:06}"), value.clone()));
        Self { store, provider: Arc::new(FixedTasks::new(tasks)) }
    }

    async fn join(&self, member: usize) -> CoordinatorHandle {
        // A long session: a busy machine is not what is tested here.
        let config = CoordinatorConfig {
            ttl: Duration::from_secs(300),
            margin: Duration::from_secs(100),
            settle: Duration::from_secs(1),
            ..CoordinatorConfig::default()
        };
        Coordinator::builder(self.store.clone(), GroupId::new("scale", "etcd", "t").unwrap())
            .instance_id(InstanceId::new(&format!("member-{member:04}")).unwrap())
            .shared_provider(self.provider.clone())
            .worker(SmoothWorker::new(|_| {}))
            .config(config)
            .start()
            .await
            .unwrap()
    }

    async fn join_all(&self, members: usize) -> Vec<CoordinatorHandle> {
        futures::stream::iter(0..members).map(|member| self.join(member)).buffered(64).collect().await
    }
}

/// Waits until all members together hold all tasks, and each of them its even share.
async fn share(members: &[CoordinatorHandle], tasks: usize) {
    let least = tasks / members.len();
    let held = || members.iter().map(|member| member.held().borrow().len()).collect::<Vec<_>>();
    let is_even = |held: &[usize]| {
        held.iter().sum::<usize>() == tasks && held.iter().all(|held| (least..=least + 1).contains(held))
    };
    let looking = async {
        while !is_even(&held()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let begun = Instant::now();
    assert!(tokio::time::timeout(PATIENCE, looking).await.is_ok(), "they hold {:?}", held());
    eprintln!("{tasks} tasks on {} members after {:?}", members.len(), begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_tasks_on_ten_members() {
    const TASKS: usize = 100_000;
    let etcd = Etcd::start();
    let crowd = Crowd::new(&etcd, TASKS).await;
    let mut members = crowd.join_all(10).await;
    share(&members, TASKS).await;
    members.push(crowd.join(10).await);
    share(&members, TASKS).await;
    members.remove(0).close().await;
    share(&members, TASKS).await;
}

/// The largest values that there may be, and a hundred megabytes of smaller ones.
#[tokio::test(flavor = "multi_thread")]
async fn large_values_on_one_member() {
    for (tasks, bytes) in [(100_000, 1024), (12_000, MAX_VALUE_BYTES)] {
        let etcd = Etcd::start();
        let crowd = Crowd::with_values_of(bytes, &etcd, tasks).await;
        let member = crowd.join(0).await;
        let stage = member.status().borrow().stage.clone();
        share(std::slice::from_ref(&member), tasks).await;
        // In one session: it was not fenced, and did not begin again.
        assert_eq!(member.status().borrow().stage, stage);
        member.kill().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_tasks_on_a_thousand_members() {
    const TASKS: usize = 1000;
    let etcd = Etcd::start();
    let crowd = Crowd::new(&etcd, TASKS).await;
    let mut members = crowd.join_all(1000).await;
    share(&members, TASKS).await;
    for leaver in [500, 0] {
        members.remove(leaver).close().await;
    }
    share(&members, TASKS).await;
}
