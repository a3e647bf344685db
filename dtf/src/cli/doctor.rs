//! `dtf doctor` and `dtf migrate`.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use dtf::config::Config;
use dtf::lrmf::{BootClock, Clock};
use dtf_sql::{Reach, SqlTable};
use serde::Serialize;

use super::FAILED;
use super::args::Output;
use super::say;
use super::settings::Head;
use crate::serve::connect::{coordination, database, migrated, queues};
use crate::serve::watched::{check_etcd, check_table};

/// A difference of clocks that is worth a word, in milliseconds.
const MUCH: u64 = 2000;

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    head: Head,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Good,
    /// It works, and there is something to know.
    Warning,
    /// It does not work.
    Bad,
}

/// The finding about one thing.
#[derive(Debug, Serialize)]
struct Finding {
    of: &'static str,
    verdict: Verdict,
    says: String,
}

impl Finding {
    fn good(of: &'static str, says: impl Into<String>) -> Self {
        Self { of, verdict: Verdict::Good, says: says.into() }
    }

    fn warning(of: &'static str, says: impl Into<String>) -> Self {
        Self { of, verdict: Verdict::Warning, says: says.into() }
    }

    fn bad(of: &'static str, says: impl std::fmt::Display) -> Self {
        Self { of, verdict: Verdict::Bad, says: says.to_string().replace('\n', " ") }
    }

    /// Returns the finding about the answer to a write.
    fn of_writes(of: &'static str, answer: Result<(), impl std::fmt::Display>) -> Self {
        match answer {
            Ok(()) => Self::good(of, "it takes writes"),
            Err(error) => Self::bad(of, format!("it takes no writes: {error}")),
        }
    }

    /// Returns the finding about the difference between a server's clock and ours.
    fn of_clock(of: &'static str, before: u64, theirs: u64, after: u64) -> Self {
        // They looked at their clock at some time between.
        let off = theirs.saturating_sub(after).max(before.saturating_sub(theirs));
        if off > MUCH {
            return Self::warning(
                of,
                format!(
                    "its clock and this machine's differ by {off} ms or more: start times and timeouts will be off by as much; let both follow NTP"
                ),
            );
        }
        Self::good(of, "its clock is this machine's")
    }
}

pub(crate) fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let config = args.head.settings.load()?.config;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let findings = runtime.block_on(async {
        let (etcd, mysql, redis) = tokio::join!(etcd(&config), mysql(&config), redis(&config));
        [etcd, mysql, redis].into_iter().flatten().collect::<Vec<_>>()
    });
    runtime.shutdown_background();
    let mut out = std::io::stdout();
    match args.head.output {
        Output::Json => writeln!(out, "{}", serde_json::to_string(&findings)?)?,
        Output::Text => {
            for Finding { of, verdict, says } in &findings {
                let mark = match verdict {
                    Verdict::Good => "good",
                    Verdict::Warning => "WARNING",
                    Verdict::Bad => "BAD",
                };
                writeln!(out, "{mark:<8} {of:<6} {says}")?;
            }
        }
    }
    let bad = findings.iter().any(|finding| finding.verdict == Verdict::Bad);
    Ok(if bad { ExitCode::from(FAILED) } else { ExitCode::SUCCESS })
}

async fn etcd(config: &Config) -> Vec<Finding> {
    const OF: &str = "etcd";
    let store = match coordination(config).await {
        Ok(store) => store,
        Err(error) => return vec![Finding::bad(OF, error)],
    };
    let version = match store.version().await {
        Ok((version, faults)) if faults.is_empty() => Finding::good(OF, format!("version {version}")),
        Ok((version, faults)) => Finding::warning(OF, format!("version {version}: {}", faults.join("; "))),
        Err(error) => Finding::bad(OF, error),
    };
    vec![version, Finding::of_writes(OF, check_etcd(&store).await)]
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
        findings.push(Finding::of_clock(OF, before, found.unix_millis, BootClock.unix_millis()));
    }
    // Says also why there was nothing to look at.
    match database(config).await {
        Ok(table) => {
            findings.push(Finding::good(OF, "the schema is the one that this program needs"));
            findings.push(Finding::of_writes(OF, check_table(&*table).await));
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
        Finding::of_clock(OF, before, found.unix_millis, after),
        Finding::of_writes(OF, redis.check_writable().await),
        rights,
    ];
    findings.extend(failures);
    findings
}

#[derive(Debug, Args)]
pub(crate) struct MigrateArgs {
    #[command(flatten)]
    head: Head,
    /// Take steps also with which processes of the version before do not work; for when none of them runs any more
    #[arg(long)]
    allow_incompatible: bool,
}

/// Brings the schema up to date.
pub(crate) fn migrate(args: &MigrateArgs) -> anyhow::Result<ExitCode> {
    let head = &args.head;
    let reach = if args.allow_incompatible { Reach::Any } else { Reach::Compatible };
    let config = head.settings.load()?.config;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(migrated(&config, reach)).map_err(super::connecting)?;
    match head.output {
        Output::Json => {
            let done = serde_json::json!({ "database": config.mysql.url, "schema": "up to date" });
            writeln!(std::io::stdout(), "{done}")?;
        }
        Output::Text => say(&format!("the schema at {} is up to date", config.mysql.url)),
    }
    Ok(ExitCode::SUCCESS)
}
