//! The settings of a benchmark's cluster on servers, and its processes.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use dtf::lrmf::{Coordination, CoordinatorConfig};
use dtf::model::ClusterShape;
use dtf::model::Role;
use dtf::servers::{self, Servers};
use dtf::{Dtf, DtfConfig, Ports};
use dtf_redis::{RedisConfig, Topology};
use dtf_sql::SqlConfig;
use futures::{StreamExt, TryStreamExt, stream};
use lrmf_etcd::EtcdConfig;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use crate::load::{BACKLOG, Load};

/// The number of members of a process that start at the same time.
const AT_ONCE: usize = 64;
/// The roles other than the executor.
pub(crate) const OTHERS: [Role; 4] = [Role::Manager, Role::Generator, Role::Scheduler, Role::Collector];

/// The settings that a process needs to join a benchmark's cluster.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Cluster {
    pub(crate) etcd: String,
    pub(crate) sql: String,
    /// The nodes of Redis: one, or those of a Redis Cluster.
    pub(crate) redis: Vec<String>,
    pub(crate) name: String,
    /// The number of parcels that an executor runs at once.
    pub(crate) slots: usize,
    /// The TTL of sessions, in milliseconds.
    pub(crate) ttl_ms: u64,
    /// The number of subtasks of a task that may wait for dispatch.
    pub(crate) backlog: u64,
    /// The number of shards.
    pub(crate) shards: u32,
    /// The number of scheduling partitions.
    pub(crate) partitions: u32,
}

impl Cluster {
    /// A cluster with these stores and the settings of most benchmarks.
    pub(crate) fn new(etcd: String, sql: String, redis: Vec<String>, name: String) -> Self {
        let shape = ClusterShape::default();
        Self {
            etcd,
            sql,
            redis,
            name,
            slots: std::thread::available_parallelism().map_or(2, usize::from),
            ttl_ms: 3000,
            backlog: BACKLOG,
            shards: shape.shards,
            partitions: shape.partitions,
        }
    }

    /// Starts a process of this cluster with these roles.
    pub(crate) async fn process(&self, instance: &str, roles: &[Role]) -> anyhow::Result<Dtf> {
        start(self.ports().await?, self.config(instance), Load::new(self.backlog), roles).await
    }

    /// Starts members of a role in this process, on shared connections and with plugins on `plugins`. Where they are
    /// several, each of them holds something when this returns.
    pub(crate) async fn members(
        &self,
        instance: &str,
        role: Role,
        count: usize,
        plugins: &Handle,
    ) -> anyhow::Result<Vec<Dtf>> {
        let ports = self.ports().await?;
        let starts = (0..count).map(|number| {
            let name = if count == 1 { instance.to_owned() } else { format!("{instance}-{number:05}") };
            let builder = Dtf::builder(ports.clone()).config(self.config(&name)).plugins_on(plugins.clone());
            let load = Load::new(self.backlog);
            async move {
                let dtf = builder.register_task_type(load.registration())?.build()?;
                dtf.start_service(role).await?;
                anyhow::Ok(dtf)
            }
        });
        let members: Vec<Dtf> = stream::iter(starts).buffer_unordered(AT_ONCE).try_collect().await?;
        for dtf in members.iter().filter(|_| count > 1) {
            let member = dtf.member(role).await.context("the role runs")?;
            member.held().wait_for(|held| !held.is_empty()).await?;
        }
        Ok(members)
    }

    /// A process without roles, and where the groups of the roles meet: for an API.
    pub(crate) async fn observer(&self, instance: &str) -> anyhow::Result<(Dtf, Arc<dyn Coordination>)> {
        let ports = self.ports().await?;
        let coordination = ports.coordination.clone();
        Ok((start(ports, self.config(instance), Load::new(self.backlog), &[]).await?, coordination))
    }

    /// Connects to the stores.
    async fn ports(&self) -> anyhow::Result<Ports> {
        let (first, further) = self.redis.split_first().expect("a cluster has at least one node of Redis");
        let redis = RedisConfig {
            url: first.clone(),
            further_urls: further.to_vec(),
            topology: if further.is_empty() { Topology::Single } else { Topology::Cluster },
            key_prefix: format!("{}.", self.name),
            ..RedisConfig::default()
        };
        let sql = SqlConfig { url: self.sql.clone(), ..SqlConfig::default() };
        let servers = Servers { etcd: EtcdConfig::new([self.etcd.clone()]), sql, redis };
        Ok(servers::ports(servers).await?)
    }

    /// The settings of a process.
    fn config(&self, instance: &str) -> DtfConfig {
        let ttl = Duration::from_millis(self.ttl_ms);
        let membership = CoordinatorConfig {
            ttl,
            margin: ttl / 3,
            settle: Duration::ZERO,
            ..CoordinatorConfig::default()
        };
        let shape = ClusterShape {
            watch_buckets: 4,
            generation_buckets: 4,
            collection_buckets: 4,
            shards: self.shards,
            partitions: self.partitions,
            ..ClusterShape::default()
        };
        let mut config = DtfConfig {
            cluster: self.name.clone(),
            instance: instance.to_owned(),
            shape,
            membership,
            ..DtfConfig::default()
        };
        config.executor.slots = self.slots;
        // A task's own backlog must fit, also where it is larger than the default budgets.
        let most = u64::from(config.shape.generation_buckets) * self.backlog;
        for budget in [&mut config.generator.all, &mut config.generator.group] {
            budget.subtasks = budget.subtasks.max(most);
        }
        config
    }
}

/// Starts a process with these stores and roles.
pub(crate) async fn start(
    ports: Ports,
    config: DtfConfig,
    load: Load,
    roles: &[Role],
) -> anyhow::Result<Dtf> {
    let dtf = Dtf::builder(ports).config(config).register_task_type(load.registration())?.build()?;
    for role in roles {
        dtf.start_service(*role).await?;
    }
    Ok(dtf)
}
