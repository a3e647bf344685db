//! Gateways: processes that remote workers are connected to, and the workers of each, for people. The port to `tbl_gateway`.
//!
//! A gateway says anew who is connected when that changes, and now and then while anybody is; what it says holds for a while. Nothing
//! decides by it.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::{InvalidInput, StoreError};
use crate::text::{MAX_NAME_CHARS, check_length};

/// The most workers that a gateway names.
pub const MAX_NAMED_WORKERS: usize = 1000;

/// A gateway, as it describes itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// One life of the process.
    pub id: Uuid,
    /// The name of the process.
    pub process: String,
    /// The workers that are connected to it, at most [`MAX_NAMED_WORKERS`] of them.
    pub workers: Vec<NamedWorker>,
    /// The number of all that are connected.
    pub connected: u32,
    /// The time until which this holds, in milliseconds since the Unix epoch.
    pub until: u64,
}

/// A remote worker, as it describes itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedWorker {
    /// Its session.
    pub session: Uuid,
    /// Its name.
    pub name: String,
    /// Its language, as in `python 3.13`.
    pub language: String,
    /// The version of its program.
    pub version: String,
    /// The number of items that it runs at once.
    pub slots: u32,
    /// Its functions, by name.
    pub functions: Vec<String>,
    /// True if it was asked to leave.
    pub drained: bool,
}

impl Gateway {
    /// Checks that it can be kept.
    ///
    /// # Errors
    /// The first thing that is wrong, and what is allowed.
    pub fn check(&self) -> Result<(), InvalidInput> {
        check_length("the name of the process", &self.process, MAX_NAME_CHARS)?;
        if self.workers.len() > MAX_NAMED_WORKERS {
            let (got, allowed) = (self.workers.len().to_string(), format!("at most {MAX_NAMED_WORKERS}"));
            return Err(InvalidInput::OutOfRange { what: "the number of named workers", got, allowed });
        }
        Ok(())
    }
}

/// The table of gateways.
///
/// # What an implementor guarantees
/// - A call that returned `Ok` is durable, and the next read sees it.
/// - A gateway is what it said last.
/// - Gateways are listed by their ids.
/// - What does not fit is refused with [`StoreError::InvalidInput`] and nothing is written.
///
/// ```
/// use dtf_memory::MemoryTable;
/// use dtf_model::gateway::{Gateway, GatewayTable};
/// use uuid::Uuid;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> anyhow::Result<()> {
/// let table = MemoryTable::new();
/// let (id, process) = (Uuid::new_v4(), "one".to_owned());
/// table.announce_gateway(&Gateway { id, process, workers: Vec::new(), connected: 0, until: 2000 }).await?;
/// assert_eq!(table.gateways(1000, None, 10).await?.len(), 1);
/// assert!(table.gateways(3000, None, 10).await?.is_empty(), "it has said nothing for a while");
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait GatewayTable: Send + Sync + 'static {
    /// Writes what a gateway says.
    async fn announce_gateway(&self, gateway: &Gateway) -> Result<(), StoreError>;

    /// The gateways with ids above `after` whose word holds at this time, by id, at most so many.
    async fn gateways(&self, now: u64, after: Option<Uuid>, most: u32) -> Result<Vec<Gateway>, StoreError>;

    /// Deletes a gateway, and those whose word holds no more at this time. One that is not there is deleted already.
    async fn withdraw_gateway(&self, id: Uuid, now: u64) -> Result<(), StoreError>;
}
