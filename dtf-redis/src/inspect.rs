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
    /// Looks at the server; at all masters of a Cluster, of which the least fit speaks for all and memory is added up.
    ///
    /// # Errors
    /// It does not answer, or is still loading its data.
    pub async fn inspect(&self) -> Result<Inspection, StoreError> {
        let texts = self.infos("default").await?;
        let (seconds, micros): (u64, u64) = self.send(&redis::cmd("TIME")).await?;
        let infos: Vec<_> = texts.iter().map(|text| ServerInfo(text)).collect();
        infos.iter().try_for_each(ServerInfo::is_there)?;
        let least = |field| infos.iter().map(|info| info.field(field)).min().unwrap_or_default();
        let sum = |field| infos.iter().map(|info| info.field(field).parse::<u64>().unwrap_or(0)).sum();
        let policies = infos.iter().map(|info| info.field("maxmemory_policy"));
        let evicting = policies.clone().find(|policy| *policy != "noeviction").or(policies.clone().next());
        Ok(Inspection {
            version: least("redis_version").to_owned(),
            append_only: infos.iter().all(|info| info.field("aof_enabled") == "1"),
            eviction: evicting.unwrap_or_default().to_owned(),
            used_memory: sum("used_memory"),
            max_memory: sum("maxmemory"),
            unix_millis: seconds * 1000 + micros / 1000,
        })
    }
}
