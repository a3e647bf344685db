//! Remote workers: items a second through the workers of the SDKs, the latency on an idle system, what idle workers cost, and feeding.
//!
//! One process has all roles, stores in memory, and the API on a loopback address; the workers are processes of their own, whose function does
//! nothing.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args;
use dtf::embedded::{self, Database, Embedded};
use dtf::model::{TaskParam, TaskStatus, TaskTypeId, param};
use dtf::{Client, Dtf};
use dtf_http::{Access, App};
use dtf_types::{Exchange, MapParts};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::report::Report;
use crate::usage;

/// The parcels that run at once, as in `dtf dev`.
const JOBS: usize = 1000;
/// The items of a request that feeds.
const FED_TOGETHER: usize = 1000;
/// The requests that feed at once.
const FEEDERS: usize = 8;

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
    /// The number of idle workers; none are measured with 0
    #[arg(long, default_value_t = 1000)]
    idle: usize,
    /// For how long idle workers are measured, and single items are fed, in seconds; nothing is fed with 0
    #[arg(long, default_value_t = 20)]
    seconds: u64,
}

/// Workers that only wait, in a process of their own.
#[derive(Args)]
pub(crate) struct IdleOptions {
    #[arg(long)]
    url: String,
    #[arg(long)]
    count: usize,
}

pub(crate) fn run(options: &Options, runs: usize) -> anyhow::Result<Vec<Report>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let reports = runtime.block_on(async {
        let site = Site::start().await?;
        let mut reports = Vec::new();
        for sdk in &options.sdk {
            reports.push(site.through(sdk, options, runs).await?);
        }
        if options.idle > 0 {
            reports.push(site.idle(options).await?);
        }
        if options.seconds > 0 {
            reports.push(site.fed(options, runs).await?);
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
    _serving: tokio_util::sync::DropGuard,
}

impl Site {
    async fn start() -> anyhow::Result<Self> {
        let ports = embedded::ports(Database::Memory).await?;
        let (coordination, config, exchange) =
            (ports.coordination.clone(), Embedded { jobs: JOBS }.config(), Exchange::start());
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
        let app = App::new(client.clone(), coordination, &cluster).with_exchange(exchange, "bench");
        tokio::spawn(dtf_http::serve(listener, app, Access::of(address), stop.clone()));
        Ok(Self { dtf, client, map: number, address, _serving: stop.drop_guard() })
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Runs a task to its end.
    async fn task(&self, source: Value) -> anyhow::Result<()> {
        let map = json!({ "source": source, "function": { "worker": "noop" }, "sink": "count" });
        let param = TaskParam { type_param: map, timeout: param::MAX_TIMEOUT, ..TaskParam::default() };
        let row = self.client.create_task(self.map, param).await?.wait().await?;
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

    /// Workers that only wait.
    async fn idle(&self, options: &Options) -> anyhow::Result<Report> {
        let mut report = Report::new("remote idle", json!({ "workers": options.idle }));
        let program = std::env::current_exe()?;
        let count = options.idle.to_string();
        let args = ["idle-workers", "--url", &self.url(), "--count", &count];
        let _clients = Worker(Command::new(program).args(args).stdin(Stdio::null()).spawn()?);
        // Until all are there.
        tokio::time::sleep(Duration::from_secs(5)).await;
        let (begun, own) = (Instant::now(), usage::own_cpu_s());
        tokio::time::sleep(Duration::from_secs(options.seconds)).await;
        report.add("process_cpu_percent", (usage::own_cpu_s() - own) * 100.0 / begun.elapsed().as_secs_f64());
        Ok(report)
    }

    /// Items that are fed into an open task.
    async fn fed(&self, options: &Options, runs: usize) -> anyhow::Result<Report> {
        let mut report =
            Report::new("remote feed", json!({ "items": options.items, "together": FED_TOGETHER }));
        let batches = options.items.div_ceil(FED_TOGETHER as u64);
        let body: String = (0..FED_TOGETHER).map(|number| format!("{number}\n")).collect();
        for _ in 0..runs {
            let (id, begun) = (self.open().await?, Instant::now());
            let feeders = (0..FEEDERS as u64).map(|feeder| {
                let (url, body) = (self.items(id), body.clone());
                let share = (feeder..batches).step_by(FEEDERS).count();
                tokio::spawn(async move {
                    let client = reqwest::Client::new();
                    for _ in 0..share {
                        feed(&client, &url, body.clone()).await?;
                    }
                    anyhow::Ok(())
                })
            });
            futures::future::try_join_all(feeders).await?.into_iter().collect::<anyhow::Result<()>>()?;
            let items = (batches * FED_TOGETHER as u64) as f64;
            report.add("items_per_s", items / begun.elapsed().as_secs_f64());
            self.client.cancel_task(id).await?;
        }
        let (id, end) = (self.open().await?, Instant::now() + Duration::from_secs(options.seconds));
        let feeders = (0..FEEDERS).map(|_| {
            let url = self.items(id);
            tokio::spawn(async move {
                let (client, mut fed) = (reqwest::Client::new(), 0_u64);
                while Instant::now() < end {
                    feed(&client, &url, "1\n".to_owned()).await?;
                    fed += 1;
                }
                anyhow::Ok(fed)
            })
        });
        let fed = futures::future::try_join_all(feeders).await?.into_iter().sum::<anyhow::Result<u64>>()?;
        report.add("single_items_per_s", fed as f64 / options.seconds as f64);
        self.client.cancel_task(id).await?;
        Ok(report)
    }

    /// Opens a task whose function nobody has.
    async fn open(&self) -> anyhow::Result<dtf::model::TaskId> {
        let map = json!({ "source": "items", "function": { "worker": "nobody" }, "sink": "count" });
        let param = TaskParam { type_param: map, timeout: param::MAX_TIMEOUT, ..TaskParam::default() };
        Ok(self.client.create_task(self.map, param).await?.id())
    }

    fn items(&self, task: dtf::model::TaskId) -> String {
        format!("{}/v1/tasks/{task}/items", self.url())
    }
}

async fn feed(client: &reqwest::Client, url: &str, body: String) -> anyhow::Result<()> {
    let sent = client.post(url).header("content-type", "application/x-ndjson").body(body).send().await?;
    ensure!(sent.status().is_success(), "{url} answers {}", sent.status());
    Ok(())
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

/// Has workers wait until this process is ended.
pub(crate) fn idle_workers(options: &IdleOptions) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = reqwest::Client::new();
        let workers = (0..options.count).map(|number| {
            let (client, url) = (client.clone(), format!("{}/v1/work/poll", options.url));
            tokio::spawn(async move {
                let worker = json!({ "name": format!("idle-{number}") });
                let mut poll = json!({ "worker": worker, "functions": ["idle"], "most": 10 });
                loop {
                    let sent =
                        client.post(&url).header("content-type", "application/json").body(poll.to_string());
                    let answer: Value = serde_json::from_str(&sent.send().await?.text().await?)?;
                    poll = json!({ "session": answer["session"], "most": 10 });
                }
                #[expect(unreachable_code, reason = "says what the errors are")]
                anyhow::Ok(())
            })
        });
        futures::future::try_join_all(workers).await?.into_iter().collect()
    })
}
