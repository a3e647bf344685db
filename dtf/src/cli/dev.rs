//! `dtf dev`: everything in one process, with the dashboard.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;

use clap::Args;
use dtf::embedded::{self, Database, Embedded};
use dtf::model::plugin::TaskPluginRegistration;
use dtf::tasks::exec::AllowedCommands;
use dtf::webhook::{AddressRule, SenderConf};
use dtf::{Client, Dtf};
use dtf_control::NewToken;
use dtf_http::{Access, App, TokenRule};
use dtf_model::token::TokenRole;
use dtf_types::{Commands, Exchange, MapParts, ObjectStores, Outbound};
use lrmf_core::BootClock;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::jobs::Jobs;
use super::map::connections;
use super::oneshot::refused;
use super::signals::end_on_signals;
use super::{Usage, guard, say};

/// The name of the database file in the data directory.
const DATABASE: &str = "tasks.sqlite";
/// The subtasks that run at once where nothing else is said: most are waited for, not computed here.
const JOBS: usize = 1000;

#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    /// The address of the API and the dashboard; port 0 for any that is free. Requests need a token where it is no loopback address
    #[arg(long, default_value = "127.0.0.1:7070", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Keep tasks in this directory, in SQLite; it is made where there is none [default: in memory]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The number of subtasks that run at once, in this process and in remote workers: a number, or N%, +N or -N of the number of
    /// processors [default: 1000]
    #[arg(short, long, value_name = "N", allow_hyphen_values = true)]
    jobs: Option<Jobs>,
    /// Run the commands in this TOML file for items of tasks of type map
    #[cfg(feature = "full")]
    #[arg(long, value_name = "FILE")]
    commands: Option<PathBuf>,
    /// An object store that tasks of type map may read and write, as in s3://bucket/in/; may be given several times
    #[cfg(feature = "full")]
    #[arg(long, value_name = "ADDRESS")]
    store: Vec<String>,
    /// Let tasks of type map use the databases in this TOML file, which has lines of NAME = "URL"
    #[cfg(feature = "full")]
    #[arg(long, value_name = "FILE")]
    connections: Option<PathBuf>,
    /// Answer only requests with a token, also from this machine; the first one, of an admin, is written to standard error
    #[arg(long)]
    tokens: bool,
    /// Open the dashboard in the browser
    #[arg(long)]
    open: bool,
}

pub(crate) fn run(args: &DevArgs, types: Vec<TaskPluginRegistration>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(until_told(args, types));
    // Plugin code that blocks would be waited for.
    runtime.shutdown_background();
    ended.map(|()| ExitCode::SUCCESS)
}

async fn until_told(args: &DevArgs, types: Vec<TaskPluginRegistration>) -> anyhow::Result<()> {
    let processors = std::thread::available_parallelism().map_or(2, usize::from);
    let jobs = args.jobs.map_or(Ok(JOBS), |jobs| jobs.count(processors)).map_err(Usage)?;
    // Whatever may be refused is asked for before anything is begun.
    let commands = commands(args)?;
    commands.iter().for_each(guard::start_for);
    let guarded = commands.as_ref().map(AllowedCommands::guarded);
    let listener = listen(args.listen).await?;
    let url = format!("http://{}", listener.local_addr()?);
    let ports = embedded::ports(database(args)?).await.map_err(refused)?;
    let (coordination, queues) = (ports.coordination.clone(), ports.queues.clone());
    let exchange = Exchange::start();
    let mut config = Embedded { jobs }.config();
    if listener.local_addr()?.ip().is_loopback() {
        // Whoever gives the addresses is on this machine already.
        config.webhooks.addresses = AddressRule::all();
    }
    let map = dtf_types::registration(MapParts {
        exchange: Some(exchange.clone()),
        commands: commands.map(|commands| Arc::new(commands) as Arc<dyn Commands>),
        results: Some(ports.table.clone()),
        items: Some((ports.table.clone(), ports.queues.clone())),
        outbound: Some(outbound(&config.webhooks)?),
        stores: stores(args)?,
        connections: connections(databases(args))?,
    });
    let (cluster, process) = (config.cluster.clone(), config.instance.clone());
    let mut builder = Dtf::builder(ports).config(config);
    for registration in types.into_iter().chain([map]) {
        builder = builder.register_task_type(registration)?;
    }
    let dtf = builder.build()?;
    let stop = CancellationToken::new();
    let _signals = end_on_signals(stop.clone(), guarded)?;
    dtf.start_all().await?;
    say(&format!("{url} has the dashboard, {url}/openapi.json describes the API; Ctrl-C ends"));
    if args.open {
        open(url);
    }
    let (client, access) = (dtf.client(), access(args, listener.local_addr()?));
    if access.needs_tokens() {
        first_token(&client).await?;
    }
    let app = App::new(client, coordination, &cluster).with_exchange(exchange.clone(), &process, queues);
    let _announcing = dtf_http::announce(dtf.client(), exchange, &process);
    let served = dtf_http::serve(listener, app, access, stop).await;
    dtf.stop().await;
    Ok(served?)
}

fn access(args: &DevArgs, address: SocketAddr) -> Access {
    let access = Access::of(address);
    if args.tokens { access.tokens(TokenRule::Always) } else { access }
}

/// Makes a token where there is none yet: without one nobody could make any.
async fn first_token(client: &Client) -> anyhow::Result<()> {
    if client.has_tokens().await.map_err(refused)? {
        return Ok(());
    }
    let new = NewToken {
        name: "first".to_owned(),
        role: TokenRole::Admin,
        groups: Vec::new(),
        types: Vec::new(),
        lifetime: None,
        created_by: "dtf dev".to_owned(),
    };
    let (_, secret) = client.create_token(new).await.map_err(refused)?;
    say(&format!("the token of an admin, shown this once: {secret}"));
    Ok(())
}

/// Returns the way to receivers of requests.
fn outbound(webhooks: &SenderConf) -> anyhow::Result<Outbound> {
    let conf = SenderConf { per_host: JOBS, ..webhooks.clone() };
    Ok(Outbound::new(conf, Vec::new(), Arc::new(BootClock))?)
}

/// The object stores that tasks may use.
fn stores(args: &DevArgs) -> Result<Option<ObjectStores>, Usage> {
    #[cfg(feature = "full")]
    if !args.store.is_empty() {
        let stores = ObjectStores::mounted(args.store.iter().map(String::as_str), std::env::vars());
        return stores.map(Some).map_err(|why| Usage(format!("--store: {why}")));
    }
    #[cfg(not(feature = "full"))]
    let _args = args;
    Ok(None)
}

/// Returns the file with the databases that items may be about.
fn databases(args: &DevArgs) -> Option<&Path> {
    #[cfg(feature = "full")]
    let file = args.connections.as_deref();
    #[cfg(not(feature = "full"))]
    let (file, _args) = (None, args);
    file
}

/// Reads the commands that may be run for items.
fn commands(args: &DevArgs) -> Result<Option<AllowedCommands>, Usage> {
    #[cfg(feature = "full")]
    if let Some(file) = &args.commands {
        return AllowedCommands::read(file)
            .map(Some)
            .map_err(|why| Usage(format!("--commands cannot be used: {why}")));
    }
    #[cfg(not(feature = "full"))]
    let _args = args;
    Ok(None)
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let unbound = |error| Usage(format!("cannot listen on {address}: {error}; choose another with --listen"));
    Ok(TcpListener::bind(address).await.map_err(unbound)?)
}

fn database(args: &DevArgs) -> anyhow::Result<Database> {
    let Some(directory) = &args.data else { return Ok(Database::Memory) };
    let unmade = |error| Usage(format!("cannot make the directory {}: {error}", directory.display()));
    std::fs::create_dir_all(directory).map_err(unmade)?;
    Ok(Database::File(directory.join(DATABASE)))
}

/// Opens a page in the browser of the desktop, as far as there is one.
fn open(url: String) {
    tokio::task::spawn_blocking(move || {
        let opened = Command::new("xdg-open").arg(&url).status();
        if !opened.is_ok_and(|status| status.success()) {
            say(&format!("no browser could be opened (xdg-open); go to {url}"));
        }
    });
}
