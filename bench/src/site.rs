//! Where a benchmark of DTF runs: everything in one process, or on servers.

use std::time::Duration;

use anyhow::Context;
use clap::{Args, ValueEnum};
use dtf::embedded::{self, Database, Embedded};
use dtf::lrmf::CoordinatorConfig;
use dtf::model::ClusterShape;
use dtf::model::Role;
use dtf::servers::{self, Servers};
use dtf::{Dtf, DtfConfig};
use dtf_redis::RedisConfig;
use dtf_sql::SqlConfig;
use integration_tests::servers::{Etcd, MariaDb, Redis};
use lrmf_etcd::EtcdConfig;
use serde::{Deserialize, Serialize};
use sqlx::ConnectOptions;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use tokio::runtime::Runtime;

use crate::load::{BACKLOG, Load};
use crate::report::Report;
use crate::usage;

/// Which stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Backend {
    /// In memory and SQLite, no server
    Embedded,
    /// etcd, MariaDB or MySQL, and Redis or Valkey
    Redis,
}

impl Backend {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Redis => "redis",
        }
    }
}

/// What all benchmarks on stores can be told.
#[derive(Args)]
pub(crate) struct Where {
    /// The stores
    #[arg(long, value_enum, default_value_t = Backend::Embedded)]
    pub(crate) backend: Backend,
    /// The servers that DTF_ETCD, DTF_MYSQL and DTF_REDIS name, instead of private ones
    #[arg(long)]
    pub(crate) external: bool,
}

impl Where {
    /// The servers, where there are any. The report says which they are.
    pub(crate) fn stack(&self, runtime: &Runtime, report: &mut Report) -> anyhow::Result<Option<Stack>> {
        match self.backend {
            Backend::Embedded => Ok(None),
            Backend::Redis => {
                let stack = Stack::new(self.external)?;
                runtime.block_on(stack.describe(report))?;
                Ok(Some(stack))
            }
        }
    }
}

/// The servers of a benchmark. Private ones end with it.
pub(crate) struct Stack {
    etcd: Etcd,
    sql: MariaDb,
    redis: Redis,
}

impl Stack {
    /// Private servers, or those that the environment names.
    pub(crate) fn new(external: bool) -> anyhow::Result<Self> {
        if !external {
            return Ok(Self { etcd: Etcd::private()?, sql: MariaDb::private()?, redis: Redis::private()? });
        }
        for variable in ["DTF_ETCD", "DTF_MYSQL", "DTF_REDIS"] {
            std::env::var(variable)
                .with_context(|| format!("--external needs {variable}: the server's URL"))?;
        }
        Ok(Self { etcd: Etcd::get()?, sql: MariaDb::get()?, redis: Redis::get()? })
    }

    /// Says in a report which servers these are.
    pub(crate) async fn describe(&self, report: &mut Report) -> anyhow::Result<()> {
        report.add_version("etcd", usage::etcd_version(&self.etcd.url())?);
        report.add_version("redis", usage::redis_version(&self.redis.url()).await?);
        let mut connection = self.connect().await?;
        report.add_version("sql", sqlx::query_scalar("SELECT VERSION()").fetch_one(&mut connection).await?);
        Ok(())
    }

    async fn connect(&self) -> anyhow::Result<MySqlConnection> {
        let options: MySqlConnectOptions = self.sql.url("").parse()?;
        options.connect().await.context("the SQL server does not answer")
    }

    pub(crate) fn redis_url(&self) -> String {
        self.redis.url()
    }

    /// A cluster that nobody has used, on these servers.
    pub(crate) async fn site(&self) -> anyhow::Result<Site> {
        let name = format!("bench{}", uuid::Uuid::new_v4().simple());
        let mut connection = self.connect().await?;
        let statement = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
        sqlx::raw_sql(statement).execute(&mut connection).await?;
        Ok(Site {
            etcd: self.etcd.url(),
            sql: self.sql.url(&name),
            redis: self.redis.url(),
            name,
            slots: std::thread::available_parallelism().map_or(2, usize::from),
            ttl_ms: 3000,
            backlog: BACKLOG,
        })
    }
}

/// A cluster on servers: what a process needs to know to join it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Site {
    pub(crate) etcd: String,
    pub(crate) sql: String,
    pub(crate) redis: String,
    pub(crate) name: String,
    /// How many parcels an executor runs at once.
    pub(crate) slots: usize,
    /// The time to live of sessions.
    pub(crate) ttl_ms: u64,
    /// How many subtasks of a task may wait for dispatch.
    pub(crate) backlog: u64,
}

impl Site {
    /// A process of this cluster, with these roles.
    pub(crate) async fn process(&self, instance: &str, roles: &[Role]) -> anyhow::Result<Dtf> {
        let ports = servers::ports(Servers {
            etcd: EtcdConfig::new([self.etcd.clone()]),
            sql: SqlConfig { url: self.sql.clone(), ..SqlConfig::default() },
            redis: RedisConfig {
                url: self.redis.clone(),
                key_prefix: format!("{}.", self.name),
                ..RedisConfig::default()
            },
        });
        start(ports.await?, self.config(instance), self.backlog, roles).await
    }

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
        // As much as a task's own backlog may wait, also where it is more than is usual.
        let most = u64::from(config.shape.generation_buckets) * self.backlog;
        config.generator.all = config.generator.all.max(most);
        config.generator.group = config.generator.group.max(most);
        config
    }
}

/// A process that has everything in memory.
pub(crate) async fn embedded(slots: usize) -> anyhow::Result<Dtf> {
    let config = Embedded { jobs: slots }.config();
    start(embedded::ports(Database::Memory).await?, config, BACKLOG, &Role::ALL).await
}

async fn start(ports: dtf::Ports, config: DtfConfig, backlog: u64, roles: &[Role]) -> anyhow::Result<Dtf> {
    let load = Load { backlog }.registration();
    let dtf = Dtf::builder(ports).config(config).register_task_type(load)?.build()?;
    for role in roles {
        dtf.start_service(*role).await?;
    }
    Ok(dtf)
}
