//! `dtf dev`: everything in one process, with the dashboard.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use clap::Args;
use dtf::Dtf;
use dtf::embedded::{self, Database, Embedded};
use dtf::model::plugin::TaskPluginRegistration;
use dtf_http::{App, ServeError};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::jobs::Jobs;
use super::oneshot::refused;
use super::signals::end_on_signals;
use super::{Usage, say};

/// The name of the database file in the data directory.
const DATABASE: &str = "tasks.sqlite";

#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    /// The loopback address of the API and the dashboard; port 0 for any that is free
    #[arg(long, default_value = "127.0.0.1:7070", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Keep tasks in this directory, in SQLite; it is made where there is none [default: in memory]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The number of subtasks that run at once: a number, or N%, +N or -N of the number of processors [default: 100%]
    #[arg(short, long, value_name = "N", allow_hyphen_values = true)]
    jobs: Option<Jobs>,
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
    let jobs = args.jobs.map_or(Ok(processors), |jobs| jobs.count(processors)).map_err(Usage)?;
    // Whatever may be refused is asked for before anything is begun.
    let listener = listen(args.listen).await?;
    let url = format!("http://{}", listener.local_addr()?);
    let ports = embedded::ports(database(args)?).await.map_err(refused)?;
    let coordination = ports.coordination.clone();
    let config = Embedded { jobs }.config();
    let cluster = config.cluster.clone();
    let mut builder = Dtf::builder(ports).config(config);
    for registration in types {
        builder = builder.register_task_type(registration)?;
    }
    let dtf = builder.build()?;
    let stop = CancellationToken::new();
    let _signals = end_on_signals(stop.clone())?;
    dtf.start_all().await?;
    say(&format!("{url} has the dashboard, {url}/openapi.json describes the API; Ctrl-C ends"));
    if args.open {
        open(url);
    }
    let served = dtf_http::serve(listener, App::new(dtf.client(), coordination, &cluster), stop).await;
    dtf.stop().await;
    Ok(served?)
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    if !address.ip().is_loopback() {
        return Err(Usage(ServeError::NotLoopback(address).to_string()).into());
    }
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
