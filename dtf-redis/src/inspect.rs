//! A look at the server, for people who want to know whether it is fit.

use dtf_model::StoreError;
use dtf_model::wake::Topic;

use crate::connection::{Redis, STORE, ServerInfo, store_error};

/// The findings of an inspection of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// The version, as the server calls itself.
    pub version: String,
    /// True if it keeps an append-only file; without it, a restart forgets everything.
    pub append_only: bool,
    /// Its eviction policy; `noeviction`, or it would not have been connected to.
    pub eviction: String,
    /// The memory that it uses, in bytes.
    pub used_memory: u64,
    /// The memory that it may use, in bytes; 0 is all there is.
    pub max_memory: u64,
    /// The failures of the server's latest writes to its disk.
    pub persistence_failures: Vec<String>,
    /// The time by the server's clock, in milliseconds since the Unix epoch.
    pub unix_millis: u64,
}

/// The number of keys that are written to in a Cluster.
const PROBES: u32 = 32;

/// Returns the failures of the server's latest writes to its disk.
fn persistence_failures(info: &ServerInfo<'_>) -> Vec<String> {
    let of = [
        ("rdb_last_bgsave_status", "the last snapshot"),
        ("aof_last_write_status", "the last write of the append-only file"),
        ("aof_last_bgrewrite_status", "the last rewrite of the append-only file"),
    ];
    let failed = of.into_iter().filter(|(field, _)| info.field(field) == "err");
    failed.map(|(field, what)| format!("{what} failed ({field}: err)")).collect()
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
            persistence_failures: infos.iter().flat_map(persistence_failures).collect(),
            unix_millis: seconds * 1000 + micros / 1000,
        })
    }

    /// Writes to the servers as a service does, and gives up a connection to a server that is no master.
    ///
    /// # Errors
    /// A server does not answer, is a replica, or refuses writes: its memory or disk is full, replicas are missing, or the user has no
    /// right to the keys.
    pub async fn check_writable(&self) -> Result<(), StoreError> {
        for text in self.infos("replication").await? {
            if matches!(ServerInfo(&text).field("role"), "slave" | "replica") {
                self.give_up();
                let cause =
                    "it is a replica now, which refuses writes; its address has to lead to the master"
                        .to_owned();
                return Err(StoreError::Unreachable { store: STORE, cause });
            }
        }
        let number = if self.is_one_server() { 1 } else { PROBES };
        let write = |key| {
            let mut write = redis::cmd("SET");
            write.arg(key).arg("").arg("PX").arg(1000);
            write
        };
        self.send_all::<redis::Value>(self.keys().probes(number).map(write).collect()).await.map(drop)
    }

    /// Does what needs a right of the user, besides [writing](Self::check_writable): calls a script, publishes and listens.
    ///
    /// # Errors
    /// A server does not answer, or the user has no right to something, with the rule to add.
    pub async fn check_rights(&self) -> Result<(), StoreError> {
        self.send::<redis::Value>(redis::cmd("TIME").arg(&[] as &[&str])).await?;
        self.send::<redis::Value>(redis::cmd("EVAL").arg("return 1").arg(0)).await?;
        let channel = self.keys().channel(Topic::Control);
        // A message without a sender tells nothing to anybody.
        self.publish(&[(channel.clone(), Vec::new())]).await?;
        let mut listening = self.listen().await?;
        listening.subscribe(channel).await.map_err(|error| self.with_rule(store_error(&error)))
    }
}
