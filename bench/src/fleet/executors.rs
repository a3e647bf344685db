//! Thousands of executors in this process: members with the role's real code, on shared connections.

use std::time::Duration;

use dtf::lrmf::CoordinatorHandle;
use dtf::model::Role;
use dtf::{Dtf, Ports};
use futures::{StreamExt, TryStreamExt, stream};
use tokio::runtime::Runtime;

use crate::cluster::Cluster;
use crate::load::Load;

/// The number of executors that start at the same time.
const AT_ONCE: usize = 64;
/// The time between two looks at the shards that are held.
const PERIOD: Duration = Duration::from_millis(50);

/// An executor and its membership.
struct Member {
    executor: Dtf,
    handle: CoordinatorHandle,
}

/// The executors of this process.
pub(super) struct Executors {
    members: Vec<Member>,
    shards: usize,
}

impl Executors {
    /// Starts this many executors of a cluster, whose plugins run on `plugins`, and waits until they hold all shards.
    pub(super) async fn start(
        cluster: &Cluster,
        ports: &Ports,
        plugins: &Runtime,
        count: usize,
    ) -> anyhow::Result<Self> {
        let starts = (0..count).map(|number| {
            let dtf = Dtf::builder(ports.clone())
                .config(cluster.config(&format!("executor-{number:05}")))
                .plugins_on(plugins.handle().clone())
                .register_task_type(Load::new(cluster.backlog).registration());
            async move {
                let executor = dtf?.build()?;
                executor.start_service(Role::Executor).await?;
                let handle = executor.member(Role::Executor).await;
                let handle = handle.expect("the role was started and is not stopped");
                anyhow::Ok(Member { executor, handle })
            }
        });
        let members = stream::iter(starts).buffer_unordered(AT_ONCE).try_collect().await?;
        let executors = Self { members, shards: cluster.shards as usize };
        executors.until_all_held().await;
        Ok(executors)
    }

    async fn until_all_held(&self) {
        let mut period = tokio::time::interval(PERIOD);
        while self.held() < self.shards {
            period.tick().await;
        }
    }

    /// Returns the number of shards that the members hold.
    fn held(&self) -> usize {
        self.members.iter().map(|member| member.handle.held().borrow().len()).sum()
    }

    /// Kills this many executors at the same time, without a word to anybody.
    pub(super) async fn kill(&mut self, count: usize) {
        let left = self.members.len().saturating_sub(count);
        let killed = self.members.split_off(left);
        stream::iter(&killed).for_each_concurrent(None, |member| member.executor.kill()).await;
    }

    /// Returns the number of executors that live.
    pub(super) fn count(&self) -> usize {
        self.members.len()
    }
}
