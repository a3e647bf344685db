//! `dtf serve`.

use std::process::ExitCode;

use dtf::config::{Log, LogFormat};
use dtf::model::plugin::TaskPluginRegistration;
use dtf::serve::{self, ConnectError, ServeError};
use dtf::tasks::exec::AllowedCommands;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use super::Usage;
use super::guard;
use super::log_lines::LogLines;
use super::settings::Settings;
use super::signals::end_on_signals;

pub(crate) fn run(settings: &Settings, types: Vec<TaskPluginRegistration>) -> anyhow::Result<ExitCode> {
    let config = settings.load()?.config;
    log(&config.log)?;
    let commands = serve::commands(&config).map_err(|wrong| Usage(wrong.to_string()))?;
    commands.iter().for_each(guard::start_for);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        let stop = CancellationToken::new();
        let _signals = end_on_signals(stop.clone(), commands.as_ref().map(AllowedCommands::guarded))?;
        serve::run_with_commands(&config, types, commands, &stop).await.map_err(anyhow::Error::from)
    });
    // Plugin code that blocks would be waited for.
    runtime.shutdown_background();
    match ended {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => match error.downcast_ref::<ServeError>() {
            Some(ServeError::Connect(ConnectError::Config(wrong))) => Err(Usage(wrong.to_string()).into()),
            _ => Err(error),
        },
    }
}

fn log(config: &Log) -> Result<(), Usage> {
    let filter = match std::env::var(EnvFilter::DEFAULT_ENV) {
        Ok(directives) if !directives.is_empty() => directives,
        _ => config.filter.clone(),
    };
    let filter = EnvFilter::builder()
        .parse(&filter)
        .map_err(|error| Usage(format!("log.filter is {filter:?}, which is not understood: {error}")))?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false);
    match config.format {
        LogFormat::Human => logs.with_writer(LogLines).init(),
        // JSON has escapes of its own.
        LogFormat::Json => logs.with_writer(std::io::stderr).json().init(),
    }
    Ok(())
}
