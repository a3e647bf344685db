//! The choice between stores in memory and on servers.

use clap::{Args, ValueEnum};
use dtf::Dtf;
use dtf::embedded::{self, Database, Embedded};
use dtf::model::Role;
use tokio::runtime::Runtime;

use crate::cluster;
use crate::load::{BACKLOG, Load};
use crate::report::Report;
use crate::servers::{ServerOptions, Servers};

/// The kind of the stores.
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

/// The options of benchmarks that run on either kind of stores.
#[derive(Args)]
pub(crate) struct StoreOptions {
    /// The stores
    #[arg(long, value_enum, default_value_t = Backend::Embedded)]
    pub(crate) backend: Backend,
    #[command(flatten)]
    servers: ServerOptions,
}

impl StoreOptions {
    /// Starts the servers, where the backend has any, and adds them to the report.
    pub(crate) fn servers(&self, runtime: &Runtime, report: &mut Report) -> anyhow::Result<Option<Servers>> {
        match self.backend {
            Backend::Embedded => Ok(None),
            Backend::Redis => {
                let servers = Servers::new(&self.servers)?;
                runtime.block_on(servers.describe(report))?;
                Ok(Some(servers))
            }
        }
    }
}

/// Starts a process with all roles and this many slots, on servers or with everything in memory.
pub(crate) async fn process(servers: Option<&Servers>, slots: usize) -> anyhow::Result<Dtf> {
    match servers {
        Some(servers) => {
            let cluster = cluster::Cluster { slots, ..servers.cluster().await? };
            cluster.process("all", &Role::ALL).await
        }
        None => {
            let config = Embedded { jobs: slots }.config();
            let ports = embedded::ports(Database::Memory).await?;
            cluster::start(ports, config, Load::new(BACKLOG), &Role::ALL).await
        }
    }
}

/// The number of slots for subtasks that compute: one for each core.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}
