//! The HTTP API: the cost of open dashboards, the time that a page of a large table takes, and the cost of a creation over that of the library.

mod creations;
mod dashboards;
mod pages;

use std::net::SocketAddr;
use std::sync::Arc;

use clap::Args;
use dtf::lrmf::Coordination;
use dtf::{Client, Dtf};
use dtf_http::{Access, App};
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) use dashboards::{WatcherOptions, watch};

use crate::report::Report;
use crate::servers::{ServerOptions, on_servers};

#[derive(Args)]
pub(crate) struct Options {
    /// The number of open dashboards
    #[arg(long, default_value_t = 100)]
    dashboards: usize,
    /// The time over which the cluster is measured without them and with them, in seconds each
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// The number of rows of the table whose pages are read
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,
    /// The number of times that each page is read
    #[arg(long, default_value_t = 300)]
    reads: usize,
    /// The number of tasks that are created each way
    #[arg(long, default_value_t = 2000)]
    creations: usize,
    /// The parts: dashboards, pages, creations
    #[arg(long, value_delimiter = ',', default_value = "dashboards,pages,creations")]
    only: Vec<String>,
    #[command(flatten)]
    servers: ServerOptions,
}

pub(crate) fn run(options: &Options, runs: usize) -> anyhow::Result<Vec<Report>> {
    on_servers(&options.servers, async |servers| {
        let mut reports = Vec::new();
        for part in &options.only {
            match part.as_str() {
                "dashboards" => reports.push(dashboards::measure(options, servers, runs).await?),
                "pages" => reports.extend(pages::measure(options, servers).await?),
                "creations" => reports.push(creations::measure(options, servers, runs).await?),
                other => anyhow::bail!("--only has {other:?}; allowed are dashboards, pages and creations"),
            }
        }
        Ok(reports)
    })
}

/// A server of the API on a loopback address, in this process.
struct Server {
    address: SocketAddr,
    client: Client,
    _dtf: Dtf,
    _serving: DropGuard,
}

impl Server {
    async fn start(dtf: Dtf, coordination: Arc<dyn Coordination>, cluster: &str) -> anyhow::Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let (address, client, stop) = (listener.local_addr()?, dtf.client(), CancellationToken::new());
        let app = App::new(client.clone(), coordination, cluster);
        tokio::spawn(dtf_http::serve(listener, app, Access::of(address), stop.clone()));
        Ok(Self { address, client, _dtf: dtf, _serving: stop.drop_guard() })
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}
