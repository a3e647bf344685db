//! Everything in one process: coordination and queues in memory, `tbl_task` in SQLite, no server.
//!
//! The code is the same as with servers; only the adapters differ. What is in memory ends with the process: a task that
//! had not ended is run again from `tbl_task` when a process with all roles opens the same file.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dtf_executor::ExecutorConfig;
use dtf_memory::{MemoryQueues, MemoryShards, MemoryWakeUp};
use dtf_model::plugin::{PluginRegistry, TaskPluginRegistration};
use dtf_model::{ClusterShape, StoreError};
use dtf_sql::SqlTable;
use lrmf_core::{BootClock, CoordinatorConfig, MemoryStore};

use crate::service::{Dtf, DtfBuilder, DtfConfig, Ports, ServiceError};

/// The place of `tbl_task`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Database {
    /// In memory: it ends with the process.
    Memory,
    /// In this SQLite file, which is made where there is none, and locked for as long as the ports live.
    File(PathBuf),
}

/// The stores of a process that has everything.
///
/// # Errors
/// The file cannot be opened, is of another version, or is in use by another process.
pub async fn ports(database: Database) -> Result<Ports, StoreError> {
    let table = match database {
        Database::Memory => SqlTable::in_memory().await?,
        Database::File(path) => SqlTable::open_file(&path).await?,
    };
    Ok(Ports {
        table: Arc::new(table),
        queues: Arc::new(MemoryQueues::new(Arc::new(BootClock))),
        shards: Arc::new(MemoryShards::default()),
        wake: Arc::new(MemoryWakeUp::default()),
        coordination: Arc::new(MemoryStore::new()),
    })
}

/// The time that a process with all roles may stand still and go on afterwards. No other process takes over meanwhile: a
/// laptop that was closed for a while, or a machine that stalls, ends nothing that runs.
const TTL: Duration = Duration::from_secs(3600);

/// Settings for a process that has everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Embedded {
    /// The number of subtasks that run at once.
    pub jobs: usize,
}

impl Embedded {
    /// The settings of the parts: nobody else to wait for, and parcels ready for every job.
    pub fn config(&self) -> DtfConfig {
        let shape = ClusterShape::embedded();
        let membership = CoordinatorConfig {
            ttl: TTL,
            settle: Duration::ZERO,
            companions: Duration::ZERO,
            ..CoordinatorConfig::default()
        };
        let ready = (2 * self.jobs).div_ceil(shape.shards as usize);
        let executor = ExecutorConfig {
            slots: self.jobs,
            window: u32::try_from(ready).unwrap_or(u32::MAX).max(2),
            ..ExecutorConfig::default()
        };
        DtfConfig { shape, membership, executor, alone: true, ..DtfConfig::default() }
    }
}

/// A process that has everything, to be started: [`Dtf::embedded`].
#[must_use = "it runs when it is started"]
pub struct EmbeddedBuilder {
    database: Database,
    config: DtfConfig,
    types: Vec<TaskPluginRegistration>,
}

impl Dtf {
    /// Describes a process that has all roles and needs no server. By default `tbl_task` is in memory, and as many subtasks
    /// run at once as there are processors.
    ///
    /// ```
    /// use dtf::prelude::*;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> anyhow::Result<()> {
    /// let squares = TaskType::named("squares")
    ///     .input(|limit: u64| 0..limit)
    ///     .execute(|n: u64, _ctx| async move { Ok(n * n) })
    ///     .fold(0u64, |sum, square: u64| sum + square)
    ///     .build();
    /// let dtf = Dtf::embedded().jobs(4).register(squares).start().await?;
    /// let sum: u64 = dtf.run("squares", 1000).await?;
    /// assert_eq!(sum, 332_833_500);
    /// dtf.stop().await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn embedded() -> EmbeddedBuilder {
        let jobs = std::thread::available_parallelism().map_or(2, usize::from);
        EmbeddedBuilder { database: Database::Memory, config: Embedded { jobs }.config(), types: Vec::new() }
    }
}

impl EmbeddedBuilder {
    /// Registers a type of task: a [`TaskType`](dtf_typed::TaskType), or the registration of a plugin.
    pub fn register(mut self, task_type: impl Into<TaskPluginRegistration>) -> Self {
        self.types.push(task_type.into());
        self
    }

    /// Sets the number of subtasks that run at once.
    pub fn jobs(mut self, jobs: usize) -> Self {
        self.config.executor = Embedded { jobs }.config().executor;
        self
    }

    /// Keeps `tbl_task` in this SQLite file, which is made where there is none, and locked while the process lives. Tasks that
    /// had not ended when an earlier process did are run again.
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.database = Database::File(path.into());
        self
    }

    /// Changes the settings themselves.
    pub fn config(mut self, change: impl FnOnce(&mut DtfConfig)) -> Self {
        change(&mut self.config);
        self
    }

    /// Starts the process, with all roles.
    ///
    /// # Errors
    /// The name or number of a type is taken, a setting is out of range, or the file cannot be used.
    pub async fn start(self) -> Result<Dtf, ServiceError> {
        // Before a file is made.
        let mut known = PluginRegistry::default();
        self.types.iter().try_for_each(|task_type| known.register(task_type.clone()))?;
        let builder = Dtf::builder(ports(self.database).await?).config(self.config);
        let dtf = self.types.into_iter().fold(builder, DtfBuilder::register).build()?;
        dtf.start_all().await?;
        Ok(dtf)
    }
}
