//! Everything in one process: coordination and queues in memory, `tbl_task` in SQLite, no server.
//!
//! The code is the same as with servers; only the adapters differ. What is in memory ends with the process: a task that
//! had not ended is run again from `tbl_task` when a process with all roles opens the same file.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dtf_executor::ExecutorConfig;
use dtf_memory::{MemoryQueues, MemoryShards, MemoryWakeUp};
use dtf_model::{ClusterShape, StoreError};
use dtf_sql::SqlTable;
use lrmf_core::{BootClock, CoordinatorConfig, MemoryStore};

use crate::service::{DtfConfig, Ports};

/// Where `tbl_task` is.
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

/// How long a process that has everything may stand still and go on where it was. There is nobody to take over meanwhile: a
/// laptop that was closed for a while, or a machine that stalls, ends nothing that runs.
const TTL: Duration = Duration::from_secs(3600);

/// Settings for a process that has everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Embedded {
    /// How many subtasks run at once.
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
