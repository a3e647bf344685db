//! The servers that a benchmark runs on.

use anyhow::Context;
use clap::Args;
use sqlx::ConnectOptions;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use test_servers::servers::{Etcd, MariaDb, Redis, RedisCluster};

use crate::cluster::Cluster;
use crate::report::Report;
use crate::usage::{self, RedisUsage};

/// The choice of servers.
#[derive(Args)]
pub(crate) struct ServerOptions {
    /// The servers that DTF_ETCD, DTF_MYSQL and DTF_REDIS name, instead of private ones
    #[arg(long)]
    external: bool,
    /// A private Redis Cluster of three nodes instead of one Redis
    #[arg(long, conflicts_with = "external")]
    redis_cluster: bool,
    /// The number of scheduling partitions
    #[arg(long, default_value_t = 1)]
    partitions: u32,
}

/// The Redis of a benchmark.
enum RedisServers {
    Single(Redis),
    Cluster(RedisCluster),
}

/// Runs a benchmark on servers, on a runtime of its own.
pub(crate) fn on_servers<T>(
    options: &ServerOptions,
    run: impl AsyncFnOnce(&Servers) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let servers = Servers::new(options)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ran = runtime.block_on(run(&servers));
    runtime.shutdown_background();
    ran
}

/// The servers of a benchmark. Private ones end with it.
pub(crate) struct Servers {
    etcd: Etcd,
    sql: MariaDb,
    redis: RedisServers,
    partitions: u32,
}

impl Servers {
    /// Starts private servers, or takes those that the environment names.
    pub(crate) fn new(options: &ServerOptions) -> anyhow::Result<Self> {
        let ServerOptions { external, redis_cluster, partitions } = *options;
        if external {
            for variable in ["DTF_ETCD", "DTF_MYSQL", "DTF_REDIS"] {
                std::env::var(variable)
                    .with_context(|| format!("--external needs {variable}: the server's URL"))?;
            }
            let (etcd, sql) = (Etcd::get()?, MariaDb::get()?);
            return Ok(Self { etcd, sql, redis: RedisServers::Single(Redis::get()?), partitions });
        }
        let redis = match redis_cluster {
            true => RedisServers::Cluster(RedisCluster::private()?),
            false => RedisServers::Single(Redis::private()?),
        };
        Ok(Self { etcd: Etcd::private()?, sql: MariaDb::private()?, redis, partitions })
    }

    /// Adds the versions and the layout of the servers to a report.
    pub(crate) async fn describe(&self, report: &mut Report) -> anyhow::Result<()> {
        let redis = self.redis_urls();
        report.add_version("etcd", usage::etcd_version(&self.etcd.url())?);
        report.add_version("redis", usage::redis_version(&redis[0]).await?);
        let mut connection = self.connect().await?;
        report.add_version("sql", sqlx::query_scalar("SELECT VERSION()").fetch_one(&mut connection).await?);
        report.add_param("redis_nodes", redis.len());
        report.add_param("partitions", self.partitions);
        Ok(())
    }

    async fn connect(&self) -> anyhow::Result<MySqlConnection> {
        let options: MySqlConnectOptions = self.sql.url("").parse()?;
        options.connect().await.context("the SQL server does not answer")
    }

    /// The URLs of all nodes of Redis; at least one.
    pub(crate) fn redis_urls(&self) -> Vec<String> {
        match &self.redis {
            RedisServers::Single(redis) => vec![redis.url()],
            RedisServers::Cluster(cluster) => cluster.urls(),
        }
    }

    /// The figures of Redis.
    pub(crate) async fn redis_usage(&self) -> anyhow::Result<RedisUsage> {
        usage::redis(&self.redis_urls()).await
    }

    /// The processor time of each server.
    pub(crate) async fn cpu(&self) -> anyhow::Result<ServerCpu> {
        Ok(ServerCpu {
            redis_s: self.redis_usage().await?.cpu_s,
            sql_s: self.sql.pid().and_then(usage::cpu_s_of).unwrap_or(f64::NAN),
            etcd_s: usage::etcd(&self.etcd.url())?.cpu_s,
        })
    }

    /// The settings of a new and empty cluster on these servers.
    pub(crate) async fn cluster(&self) -> anyhow::Result<Cluster> {
        let name = format!("bench{}", uuid::Uuid::new_v4().simple());
        let mut connection = self.connect().await?;
        let statement = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
        sqlx::raw_sql(statement).execute(&mut connection).await?;
        let cluster = Cluster::new(self.etcd.url(), self.sql.url(&name), self.redis_urls(), name);
        Ok(Cluster { partitions: self.partitions, ..cluster })
    }
}

/// The processor time that the servers have used, in seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerCpu {
    pub(crate) redis_s: f64,
    /// Not a number where the SQL server is not the benchmark's own.
    pub(crate) sql_s: f64,
    pub(crate) etcd_s: f64,
}

impl ServerCpu {
    /// The time used since an earlier reading.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            redis_s: self.redis_s - earlier.redis_s,
            sql_s: self.sql_s - earlier.sql_s,
            etcd_s: self.etcd_s - earlier.etcd_s,
        }
    }
}
