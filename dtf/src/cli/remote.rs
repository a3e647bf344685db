//! The way to a cluster through the HTTP API of one of its processes, instead of through its servers.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use dtf::model::plugin::TaskPluginRegistration;
use dtf_client::{Client, Connection, Error};

use super::settings::Settings;
use super::{Usage, task};

/// The variable with the token, where no file is named.
const TOKEN: &str = "DTF_TOKEN";

/// The server of the API that a command asks.
#[derive(Debug, Args)]
pub(crate) struct Remote {
    /// Ask the HTTP API at this URL, and none of the cluster's servers
    #[arg(long, global = true, env = "DTF_SERVER", value_name = "URL")]
    server: Option<String>,
    /// The file with the token for it [default: the token in the variable DTF_TOKEN, where that is set]
    #[arg(long, global = true, requires = "server", value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl Remote {
    /// Returns a client of the server; none where none is named.
    ///
    /// # Errors
    /// The address or the token cannot be used.
    pub(crate) fn client(&self) -> Result<Option<Client>, Usage> {
        let Some(server) = self.server.as_deref().filter(|server| !server.is_empty()) else {
            return Ok(None);
        };
        let connection = Connection::to(server);
        let token = match &self.token_file {
            Some(file) => {
                let unread =
                    |error| Usage(format!("--token-file {} cannot be read: {error}", file.display()));
                Some(std::fs::read_to_string(file).map_err(unread)?)
            }
            None => std::env::var(TOKEN).ok().filter(|token| !token.is_empty()),
        };
        let connection = token.iter().fold(connection, |connection, token| connection.token(token));
        Client::new(connection).map(Some).map_err(|error| Usage(error.to_string()))
    }
}

/// The way to a cluster.
pub(crate) enum Way {
    /// Its servers.
    Stores(dtf::Client),
    /// The HTTP API of one of its processes.
    Server(Client),
}

/// Does something with a cluster, on the way that the arguments name.
pub(crate) fn on_way(
    remote: &Remote,
    settings: &Settings,
    types: Vec<TaskPluginRegistration>,
    perform: impl AsyncFnOnce(&Way) -> anyhow::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    match remote.client()? {
        Some(client) => ask(async || perform(&Way::Server(client)).await),
        None => task::with_client(settings, types, async |client| perform(&Way::Stores(client)).await),
    }
}

/// Asks a server.
pub(crate) fn ask(perform: impl AsyncFnOnce() -> anyhow::Result<ExitCode>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(perform())
}

/// Makes a refusal of what was asked for a usage error. Errors of the server stay as they are.
pub(crate) fn refused(error: Error) -> anyhow::Error {
    match &error {
        Error::Usage(_) | Error::Refused(_) if !error.is_retryable() => Usage(error.to_string()).into(),
        _ => error.into(),
    }
}
