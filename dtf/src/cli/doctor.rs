//! `dtf doctor` and `dtf migrate`.

use std::process::ExitCode;

use clap::Args;
use dtf_sql::SqlTable;

use super::Usage;
use super::args::Output;
use super::settings::Settings;

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    settings: Settings,
    /// For people, or for scripts
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

pub(crate) fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let _config = args.settings.load()?.config;
    let _ = args.output;
    Ok(ExitCode::SUCCESS)
}

/// Brings the schema up to date.
pub(crate) fn migrate(settings: &Settings) -> anyhow::Result<ExitCode> {
    let config = settings.load()?.config;
    let sql = config.mysql().map_err(|error| Usage(error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(SqlTable::migrate(&sql))?;
    eprintln!("dtf: the schema at {} is up to date", config.mysql.url);
    Ok(ExitCode::SUCCESS)
}
