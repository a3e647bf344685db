//! A look at the server, for people who want to know whether it is fit.

use dtf_model::StoreError;

use crate::connection::{Redis, ServerInfo};

/// What a look at a server found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// The version, as the server calls itself.
    pub version: String,
    /// Whether it keeps an append-only file; without it, a restart forgets everything.
    pub append_only: bool,
    /// What it does when memory is short; `noeviction`, or it would not have been connected to.
    pub eviction: String,
    /// The memory that it uses, in bytes.
    pub used_memory: u64,
    /// The memory that it may use, in bytes; 0 is all there is.
    pub max_memory: u64,
    /// The time by the server's clock, in milliseconds since the Unix epoch.
    pub unix_millis: u64,
}

impl Redis {
    /// Looks at the server.
    ///
    /// # Errors
    /// It does not answer, or is still loading its data.
    pub async fn inspect(&self) -> Result<Inspection, StoreError> {
        let text: String = self.send(&redis::cmd("INFO")).await?;
        let (seconds, micros): (u64, u64) = self.send(&redis::cmd("TIME")).await?;
        let info = ServerInfo(&text);
        info.is_there()?;
        let number = |field| info.field(field).parse().unwrap_or(0);
        Ok(Inspection {
            version: info.field("redis_version").to_owned(),
            append_only: info.field("aof_enabled") == "1",
            eviction: info.field("maxmemory_policy").to_owned(),
            used_memory: number("used_memory"),
            max_memory: number("maxmemory"),
            unix_millis: seconds * 1000 + micros / 1000,
        })
    }
}
