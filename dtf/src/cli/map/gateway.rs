//! The surroundings of a `map` task in this process: the exchange, and the API on a loopback address that remote workers call.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dtf::lrmf::Coordination;
use dtf::model::TaskId;
use dtf::model::plugin::TaskPluginRegistration;
use dtf::tasks::exec::{AllowedCommand, AllowedCommands, Guarded};
use dtf::webhook::{AddressRule, SenderConf};
use dtf::{Client, DtfConfig, Ports};
use dtf_http::{Access, App};
use dtf_model::connection::SqlConnections;
use dtf_model::queue::QueueStore;
use dtf_types::{Commands, Exchange, MapParts, ObjectStores, Outbound};
use lrmf_core::BootClock;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::super::{Usage, guard};

/// The functions of a task: the address that remote workers call, or the command that this process runs.
pub(crate) struct Gateway {
    listener: Option<TcpListener>,
    commands: Option<AllowedCommands>,
    outbound: Option<Outbound>,
    /// The addresses of the objects that it reads and writes.
    objects: Vec<String>,
    /// The file with the databases that it uses.
    databases: Option<PathBuf>,
}

impl Gateway {
    /// Takes the address. It is that of this machine: nobody else is to take the task's items.
    pub(super) fn bind(address: SocketAddr) -> Result<Self, Usage> {
        if !address.ip().is_loopback() {
            let why = format!(
                "--listen is {address}, which others can reach; `dtf dev --listen` serves them, and asks for tokens"
            );
            return Err(Usage(why));
        }
        let unbound =
            |error| Usage(format!("cannot listen on {address}: {error}; choose another with --listen"));
        let listener = TcpListener::bind(address).map_err(unbound)?;
        listener.set_nonblocking(true).map_err(unbound)?;
        Ok(Self { listener: Some(listener), ..Self::alone() })
    }

    /// A task without remote workers: this process runs a command for each item.
    pub(super) fn running(name: String, command: Vec<String>) -> Result<Self, Usage> {
        let command = AllowedCommand::of_this_process(command);
        let commands = AllowedCommands::new(BTreeMap::from([(name, command)])).map_err(Usage)?;
        guard::start_for(&commands);
        Ok(Self { commands: Some(commands), ..Self::alone() })
    }

    /// The same task, with requests to any address: whoever names it sits at this machine.
    pub(super) fn sending(self, per_host: usize) -> anyhow::Result<Self> {
        let conf = SenderConf { addresses: AddressRule::all(), per_host, ..SenderConf::default() };
        let outbound = Outbound::new(conf, Vec::new(), Arc::new(BootClock))?;
        Ok(Self { outbound: Some(outbound), ..self })
    }

    /// The same task, with the databases in a file.
    #[cfg(feature = "full")]
    pub(super) fn on_databases_in(self, file: Option<PathBuf>) -> Self {
        Self { databases: file, ..self }
    }

    /// The same task, which reads and writes the objects with these addresses.
    pub(super) fn using(self, objects: Vec<String>) -> Self {
        Self { objects, ..self }
    }

    /// A task that needs nobody else's.
    pub(super) fn alone() -> Self {
        Self { listener: None, commands: None, outbound: None, objects: Vec::new(), databases: None }
    }

    /// Returns the handle of its commands, where it has any.
    pub(crate) fn guarded(&self) -> Option<Guarded> {
        self.commands.as_ref().map(AllowedCommands::guarded)
    }

    /// Returns the type `map`, and what is to be served for it.
    ///
    /// # Errors
    /// An object is in no store that can be used.
    pub(crate) fn begin(self, ports: &Ports) -> Result<(TaskPluginRegistration, Serving), Usage> {
        let stores = match &self.objects[..] {
            [] => None,
            objects => {
                let stores = ObjectStores::mounted(objects.iter().map(String::as_str), std::env::vars());
                Some(stores.map_err(Usage)?)
            }
        };
        let exchange = Exchange::start();
        let registration = dtf_types::registration(MapParts {
            exchange: Some(exchange.clone()),
            commands: self.commands.map(|commands| Arc::new(commands) as Arc<dyn Commands>),
            results: Some(ports.table.clone()),
            items: Some((ports.table.clone(), ports.queues.clone())),
            outbound: self.outbound,
            stores,
            connections: connections(self.databases.as_deref())?,
        });
        let (coordination, queues) = (ports.coordination.clone(), ports.queues.clone());
        let serving = Serving { listener: self.listener, exchange, coordination, queues };
        Ok((registration, serving))
    }
}

/// Reads the databases that items may be about. It has to be called on a runtime.
pub(crate) fn connections(file: Option<&Path>) -> Result<Option<Arc<dyn SqlConnections>>, Usage> {
    #[cfg(feature = "full")]
    if let Some(file) = file {
        let wrong = |why| Usage(format!("--connections cannot be used: {why}"));
        return Ok(Some(Arc::new(crate::serve::connections::read(file).map_err(wrong)?)));
    }
    #[cfg(not(feature = "full"))]
    let _file = file;
    Ok(None)
}

/// The API of a task, to be served.
pub(crate) struct Serving {
    listener: Option<TcpListener>,
    exchange: Exchange,
    coordination: Arc<dyn Coordination>,
    queues: Arc<dyn QueueStore>,
}

impl Serving {
    /// Serves it for as long as the handle lives, and returns its address; neither where the task has no remote workers.
    pub(crate) fn start(
        self,
        client: Client,
        config: &DtfConfig,
    ) -> std::io::Result<Option<(SocketAddr, AbortOnDropHandle<()>)>> {
        let Some(listener) = self.listener else { return Ok(None) };
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let address = listener.local_addr()?;
        let app = App::new(client, self.coordination, &config.cluster).with_exchange(
            self.exchange,
            &config.instance,
            self.queues,
        );
        let serving = async move {
            let stop = CancellationToken::new();
            if let Err(error) = dtf_http::serve(listener, app, Access::of(address), stop).await {
                tracing::error!(%error, "the API is no longer served");
            }
        };
        Ok(Some((address, AbortOnDropHandle::new(tokio::spawn(serving)))))
    }
}

/// Writes the results that are kept with a task to standard output, one JSON value a line.
pub(crate) async fn print_kept(client: &Client, task: TaskId) -> anyhow::Result<()> {
    use std::io::Write;
    const PAGE: u32 = 1000;
    let mut out = std::io::BufWriter::new(std::io::stdout());
    let mut from = 0;
    loop {
        let page = client.kept_results(task, from, PAGE).await?;
        let Some((last, _)) = page.last() else { break };
        from = last + 1;
        for (_, body) in &page {
            out.write_all(body)?;
            out.write_all(b"\n")?;
        }
    }
    Ok(out.flush()?)
}
