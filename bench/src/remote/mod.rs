//! Remote workers: items a second through the workers of the SDKs, the latency on an idle system, the time until a worker hears of a
//! cancellation, what idle workers cost, and feeding.
//!
//! One process has all roles, stores in memory, and the API on a loopback address; the workers are processes of their own, whose function does
//! nothing.

mod cancel;
mod feed;
mod idle;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args;
use dtf::embedded::{self, Database, Embedded};
use dtf::model::{TaskParam, TaskStatus, TaskTypeId, param};
use dtf::{Client, Dtf, TaskHandle};
use dtf_http::{Access, App};
use dtf_types::{Exchange, MapParts};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::report::Report;
use crate::usage;

pub(crate) use self::idle::{IdleOptions, idle_workers};

/// The parcels that run at once, as in `dtf dev`.
const JOBS: usize = 1000;
#[derive(Args)]
pub(crate) struct Options {
    /// The number of items of a run
    #[arg(long, default_value_t = 200_000)]
    items: u64,
    /// The number of worker processes of each SDK
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// The number of items that a worker runs at once
    #[arg(long, default_value_t = 8)]
    concurrency: usize,
    /// The SDKs: python, python-processes, node, go
    #[arg(long, value_delimiter = ',', default_value = "python,python-processes,node,go")]
    sdk: Vec<String>,
    /// The number of one-item tasks whose latency is measured
    #[arg(long, default_value_t = 300)]
    latencies: usize,
    /// The number of tasks that are cancelled while a worker runs their items
    #[arg(long, default_value_t = 100)]
    cancels: usize,
    /// The number of idle workers; none are measured with 0
    #[arg(long, default_value_t = 1000)]
    idle: usize,
    /// For how long idle workers are measured, and single items are fed, in seconds; nothing is fed with 0
    #[arg(long, default_value_t = 20)]
    seconds: u64,
}

pub(crate) fn run(options: &Options, runs: usize) -> anyhow::Result<Vec<Report>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let reports = runtime.block_on(async {
        let site = Site::start().await?;
        let mut reports = Vec::new();
        for sdk in &options.sdk {
            reports.push(site.through(sdk, options, runs).await?);
        }
        if options.cancels > 0 {
            reports.push(cancel::report(&site, options.cancels).await?);
        }
        if options.idle > 0 {
            reports.push(idle::report(&site, options).await?);
        }
        if options.seconds > 0 {
            reports.push(feed::report(&site, options, runs).await?);
        }
        site.dtf.stop().await;
        anyhow::Ok(reports)
    });
    runtime.shutdown_background();
    reports
}

/// The process with all roles.
struct Site {
    dtf: Dtf,
    client: Client,
    map: TaskTypeId,
    address: SocketAddr,
    _serving: AbortOnDropHandle<std::io::Result<()>>,
}

impl Site {
    async fn start() -> anyhow::Result<Self> {
        let ports = embedded::ports(Database::Memory).await?;
        let (coordination, config, exchange) =
            (ports.coordination.clone(), Embedded { jobs: JOBS }.config(), Exchange::start());
        let queues = ports.queues.clone();
        let map = dtf_types::registration(MapParts {
            exchange: Some(exchange.clone()),
            results: Some(ports.table.clone()),
            items: Some((ports.table.clone(), ports.queues.clone())),
            ..MapParts::default()
        });
        let (number, cluster) = (map.task_type, config.cluster.clone());
        let dtf = Dtf::builder(ports).config(config).register_task_type(map)?.build()?;
        dtf.start_all().await?;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let (address, client, stop) = (listener.local_addr()?, dtf.client(), CancellationToken::new());
        let app = App::new(client.clone(), coordination, &cluster).with_exchange(exchange, "bench", queues);
        let serving = tokio::spawn(dtf_http::serve(listener, app, Access::of(address), stop));
        Ok(Self { dtf, client, map: number, address, _serving: AbortOnDropHandle::new(serving) })
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Creates a task.
    async fn create(&self, source: Value, function: &str) -> anyhow::Result<TaskHandle> {
        let map = json!({ "source": source, "function": { "worker": function }, "sink": "count" });
        let param = TaskParam { type_param: map, timeout: param::MAX_TIMEOUT, ..TaskParam::default() };
        Ok(self.client.create_task(self.map, param).await?)
    }

    /// Runs a task to its end.
    async fn task(&self, source: Value) -> anyhow::Result<()> {
        let row = self.create(source, "noop").await?.wait().await?;
        let all = row.counts.succeeded == row.counts.created && row.status == TaskStatus::Completed;
        ensure!(all, "the task is {}: {}, with {:?}", row.status, row.reason, row.counts);
        Ok(())
    }

    /// Items through the workers of an SDK.
    async fn through(&self, sdk: &str, options: &Options, runs: usize) -> anyhow::Result<Report> {
        let program = program(sdk)?;
        let start = || start(&program, sdk, &self.url(), options.concurrency);
        let workers = (0..options.workers).map(|_| start()).collect::<anyhow::Result<Vec<_>>>()?;
        self.task(json!({ "range": { "to": 10_000 } })).await?;
        let params = json!({
            "sdk": sdk, "items": options.items, "workers": options.workers, "concurrency": options.concurrency,
        });
        let mut report = Report::new("remote", params);
        let worker_cpu = || workers.iter().map(Worker::cpu_s).sum::<f64>();
        for _ in 0..runs {
            let (begun, own, theirs) = (Instant::now(), usage::own_cpu_s(), worker_cpu());
            self.task(json!({ "range": { "to": options.items } })).await?;
            let items = options.items as f64;
            report.add("items_per_s", items / begun.elapsed().as_secs_f64());
            report.add("process_cpu_us_per_item", (usage::own_cpu_s() - own) * 1e6 / items);
            report.add("worker_cpu_us_per_item", (worker_cpu() - theirs) * 1e6 / items);
        }
        let mut took = Vec::new();
        for number in 0..options.latencies {
            let begun = Instant::now();
            self.task(json!({ "list": [number] })).await?;
            took.push(begun.elapsed().as_secs_f64() * 1e3);
            // The next one finds an idle system.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        took.sort_by(f64::total_cmp);
        if !took.is_empty() {
            report.add("idle_latency_p50_ms", took[took.len() / 2]);
            report.add("idle_latency_p99_ms", took[took.len() * 99 / 100]);
        }
        Ok(report)
    }
}

/// A process, ended with this.
struct Worker(Child);

impl Worker {
    fn cpu_s(&self) -> f64 {
        usage::cpu_s_of(self.0.id()).unwrap_or(0.0)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The directory of the SDKs, in the checkout that this was built from.
fn sdk_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk")
}

/// Returns the command line of the worker of an SDK: that of its scenarios.
fn program(sdk: &str) -> anyhow::Result<Vec<String>> {
    let directory = sdk_directory();
    let text = |path: PathBuf| path.display().to_string();
    match sdk {
        "python" | "python-processes" => {
            Ok(vec!["python3".to_owned(), text(directory.join("python/tests/worker.py"))])
        }
        "node" => Ok(vec!["node".to_owned(), text(directory.join("typescript/tests/worker.mjs"))]),
        "go" => {
            let built = std::env::temp_dir().join(format!("dtf-bench-worker-{}", std::process::id()));
            let mut build = Command::new("go");
            build
                .args(["build", "-o"])
                .arg(&built)
                .arg("./internal/scenario")
                .current_dir(directory.join("go"));
            ensure!(
                build.status().context("go cannot be run")?.success(),
                "the worker in Go cannot be built"
            );
            Ok(vec![text(built)])
        }
        other => anyhow::bail!("--sdk is {other:?}; allowed are python, python-processes, node and go"),
    }
}

fn start(program: &[String], sdk: &str, url: &str, concurrency: usize) -> anyhow::Result<Worker> {
    let mode = if sdk == "python-processes" { "processes" } else { "threads" };
    let mut command = Command::new(&program[0]);
    command.args(&program[1..]).arg("worker").env("DTF_URL", url).env("DTF_MODE", mode);
    command.env("DTF_NAME", sdk).env("DTF_CONCURRENCY", concurrency.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::null());
    Ok(Worker(command.spawn().with_context(|| format!("{} cannot be run", program[0]))?))
}

/// A client of the API. Addresses are plain, and the client insists on a TLS library all the same.
fn http_client() -> reqwest::Client {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Whoever was faster has installed one as well.
        drop(rustls::crypto::ring::default_provider().install_default());
    }
    reqwest::Client::new()
}

/// Calls the API, as workers do.
async fn call(client: &reqwest::Client, url: String, body: &Value) -> anyhow::Result<Value> {
    let sent =
        client.post(&url).header("content-type", "application/json").body(body.to_string()).send().await?;
    let (status, text) = (sent.status(), sent.text().await?);
    ensure!(status.is_success(), "{url} answers {status}: {text}");
    Ok(serde_json::from_str(&text)?)
}
