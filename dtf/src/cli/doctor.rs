//! `dtf doctor` and `dtf migrate`.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use dtf_api::{Finding, Verdict};
use dtf_sql::Reach;

use super::FAILED;
use super::args::Output;
use super::remote::{self, Remote};
use super::say;
use super::settings::Head;
use crate::serve::connect::migrated;
use crate::serve::doctor::findings;

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    head: Head,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    if let Some(client) = args.remote.client()? {
        return remote::ask(async || {
            let findings = client.examine().await.map_err(remote::refused)?;
            show(&findings, args.head.output)
        });
    }
    let config = args.head.settings.load()?.config;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let findings = runtime.block_on(findings(&config));
    runtime.shutdown_background();
    show(&findings, args.head.output)
}

/// Prints the findings; the exit code says whether any server does not work.
fn show(findings: &[Finding], output: Output) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout();
    match output {
        Output::Json => writeln!(out, "{}", serde_json::to_string(findings)?)?,
        Output::Text => {
            for Finding { of, verdict, says } in findings {
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
