//! The examination of a cluster's servers: whether each is there, takes writes, and is set to what it should be.

use std::sync::Arc;
use std::time::Duration;

use dtf_api::Finding;
use dtf_http::Doctor;
use dtf_model::Role;
use dtf_sql::SqlTable;
use futures::FutureExt;
use futures::future::BoxFuture;
use lrmf_core::admin::Admin;
use lrmf_core::{BootClock, Clock};
use lrmf_etcd::EtcdStore;
use tokio::runtime::Handle;

use super::connect::{coordination, database, queues};
use super::watched::{check_etcd, check_table};
use crate::config::Config;

/// A difference of clocks that is worth a word, in milliseconds.
const MUCH: u64 = 2000;
/// The time that each server has.
const PATIENCE: Duration = Duration::from_secs(12);

/// Examines the servers that the settings name, by connections of its own.
pub(crate) struct ServerDoctor(pub(crate) Config);

impl Doctor for ServerDoctor {
    fn examine(&self) -> BoxFuture<'_, Vec<Finding>> {
        let (config, runtime) = (self.0.clone(), Handle::current());
        // Connecting is no work that may move between threads; each server's time is bounded.
        let examined = tokio::task::spawn_blocking(move || runtime.block_on(findings(&config)));
        examined.map(|examined| examined.unwrap_or_else(|error| vec![Finding::bad("servers", error)])).boxed()
    }
}

/// Returns the findings about all servers.
pub(crate) async fn findings(config: &Config) -> Vec<Finding> {
    let (etcd, mysql, redis) = tokio::join!(
        in_time("etcd", etcd(config)),
        in_time("mysql", mysql(config)),
        in_time("redis", redis(config))
    );
    [etcd, mysql, redis].concat()
}

async fn in_time(of: &'static str, findings: impl Future<Output = Vec<Finding>>) -> Vec<Finding> {
    let late = |_| vec![Finding::bad(of, format!("it did not answer within {PATIENCE:?}"))];
    tokio::time::timeout(PATIENCE, findings).await.unwrap_or_else(late)
}

/// Returns the finding about the answer to a write.
fn of_writes(of: &'static str, answer: Result<(), impl std::fmt::Display>) -> Finding {
    match answer {
        Ok(()) => Finding::good(of, "it takes writes"),
        Err(error) => Finding::bad(of, format!("it takes no writes: {error}")),
    }
}

/// Returns the finding about the difference between a server's clock and ours.
fn of_clock(of: &'static str, before: u64, theirs: u64, after: u64) -> Finding {
    // They looked at their clock at some time between.
    let off = theirs.saturating_sub(after).max(before.saturating_sub(theirs));
    if off > MUCH {
        return Finding::warning(
            of,
            format!(
                "its clock and this machine's differ by {off} ms or more: start times and timeouts will be off by as much; let both follow NTP"
            ),
        );
    }
    Finding::good(of, "its clock is this machine's")
}

async fn etcd(config: &Config) -> Vec<Finding> {
    const OF: &str = "etcd";
    let store = match coordination(config).await {
        Ok(store) => Arc::new(store),
        Err(error) => return vec![Finding::bad(OF, error)],
    };
    let executors = executors(store.clone(), config).await;
    let version = match store.version().await {
        Ok((version, faults)) if faults.is_empty() => Finding::good(OF, format!("version {version}")),
        Ok((version, faults)) => Finding::warning(OF, format!("version {version}: {}", faults.join("; "))),
        Err(error) => Finding::bad(OF, error),
    };
    let mut findings = vec![version, of_writes(OF, check_etcd(&store).await)];
    findings.extend(executors);
    findings
}

/// Returns the finding about executors that get no work, as all shards are with others; none where there is nothing to say.
async fn executors(store: Arc<EtcdStore>, config: &Config) -> Option<Finding> {
    let group = Role::Executor.group(&config.cluster).ok()?;
    // A group that nobody ever joined is no fault, and what the store says to reads it says to writes.
    let state = Admin::new(store, group).read().await.ok()?;
    of_executors(state.member_views().len(), state.task_views().len())
}

fn of_executors(executors: usize, shards: usize) -> Option<Finding> {
    let idle = executors.checked_sub(shards).filter(|idle| *idle > 0 && shards > 0)?;
    let says = format!(
        "{executors} executors share {shards} shards: {idle} of them or more get no work; set shape.shards to two or three for each executor, stop all \
         processes, run dtf cluster grow, and start them with the new number"
    );
    Some(Finding::warning("executors", says))
}

async fn mysql(config: &Config) -> Vec<Finding> {
    const OF: &str = "mysql";
    let sql = match config.mysql() {
        Ok(sql) => sql,
        Err(error) => return vec![Finding::bad(OF, error)],
    };
    let before = BootClock.unix_millis();
    let mut findings = Vec::new();
    if let Ok(found) = SqlTable::inspect(&sql).await {
        findings.push(Finding::good(OF, format!("version {}", found.version)));
        findings.push(of_clock(OF, before, found.unix_millis, BootClock.unix_millis()));
    }
    // Says also why there was nothing to look at.
    match database(config).await {
        Ok(table) => {
            findings.push(Finding::good(OF, "the schema is the one that this program needs"));
            findings.push(of_writes(OF, check_table(&*table).await));
        }
        Err(error) => findings.push(Finding::bad(OF, error)),
    }
    findings
}

async fn redis(config: &Config) -> Vec<Finding> {
    const OF: &str = "redis";
    let redis = match queues(config).await {
        Ok(redis) => redis,
        Err(error) => return vec![Finding::bad(OF, error)],
    };
    let before = BootClock.unix_millis();
    let found = match redis.inspect().await {
        Ok(found) => found,
        Err(error) => return vec![Finding::bad(OF, error)],
    };
    let after = BootClock.unix_millis();
    let mebibytes = |bytes: u64| bytes / (1024 * 1024);
    let memory = match found.max_memory {
        0 => Finding::warning(
            OF,
            format!(
                "{} MiB in use, and no maxmemory: set one below what the machine has",
                mebibytes(found.used_memory)
            ),
        ),
        most => {
            Finding::good(OF, format!("{} of {} MiB in use", mebibytes(found.used_memory), mebibytes(most)))
        }
    };
    let durable = if found.append_only {
        Finding::good(OF, "appendonly is on")
    } else {
        Finding::warning(
            OF,
            "appendonly is off: a restart of it forgets the progress of all tasks, which then run again",
        )
    };
    let failures = found.persistence_failures.iter().map(|failure| {
        Finding::warning(
            OF,
            format!(
                "{failure}: look at its log and its disk; a restart of it would lose what it could not write"
            ),
        )
    });
    let rights = match redis.check_rights().await {
        Ok(()) => Finding::good(OF, "the user has the rights to scripts and channels"),
        Err(error) => Finding::bad(OF, error),
    };
    let mut findings = vec![
        Finding::good(OF, format!("version {}, maxmemory-policy {}", found.version, found.eviction)),
        durable,
        memory,
        of_clock(OF, before, found.unix_millis, after),
        of_writes(OF, redis.check_writable().await),
        rights,
    ];
    findings.extend(failures);
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executors_without_work_are_spoken_of() {
        assert_eq!(of_executors(64, 64), None);
        assert_eq!(of_executors(2, 0), None, "nothing is dealt out yet");
        let says = of_executors(70, 64).unwrap().says;
        assert!(says.starts_with("70 executors share 64 shards: 6 of them or more get no work"), "{says}");
    }
}
