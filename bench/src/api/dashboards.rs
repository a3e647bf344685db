//! What open dashboards cost: a cluster is busy in processes of its own, this one serves the API, and the browsers are a third.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::Args;
use dtf::model::{Priority, ResourceGroup, Role, TaskParam, param};
use futures::StreamExt;
use serde_json::json;

use super::{Options, Server};
use crate::load::{LOAD, LoadParam};
use crate::processes::Processes;
use crate::report::Report;
use crate::servers::Servers;
use crate::usage;

/// The tasks that run meanwhile.
const TASKS: usize = 30;
/// The time that a subtask waits, in microseconds.
const MICROS: u64 = 20_000;
/// The slots of the executor.
const SLOTS: usize = 32;
/// The period at which an overview fetches itself.
const PAGE: Duration = Duration::from_secs(2);
/// The period at which its charts are fetched.
const CHART: Duration = Duration::from_secs(5);
/// The time until everything is as it goes on.
const SETTLE: Duration = Duration::from_secs(5);

/// Dashboards, in a process of their own.
#[derive(Args)]
pub(crate) struct WatcherOptions {
    #[arg(long)]
    url: String,
    #[arg(long)]
    count: usize,
}

struct Watchers(Child);

impl Drop for Watchers {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

pub(super) async fn measure(options: &Options, servers: &Servers) -> anyhow::Result<Report> {
    let params = json!({ "dashboards": options.dashboards, "seconds": options.seconds, "tasks": TASKS, "slots": SLOTS });
    let mut report = Report::new("api dashboards", params);
    servers.describe(&mut report).await?;
    let cluster = crate::cluster::Cluster { slots: SLOTS, ..servers.cluster().await? };
    let mut processes = Processes::new(cluster.clone());
    for role in Role::ALL {
        processes.start_silent(role)?;
    }
    let (dtf, coordination) = cluster.observer("api").await?;
    let server = Server::start(dtf, coordination, &cluster.name).await?;
    load(&server).await?;
    tokio::time::sleep(SETTLE).await;
    let quiet = Costs::over(options.seconds, servers, &processes).await?;
    let watchers = Command::new(std::env::current_exe()?)
        .args(["dashboards", "--url", &server.url(), "--count", &options.dashboards.to_string()])
        .stdin(Stdio::null())
        .spawn()?;
    let watchers = Watchers(watchers);
    tokio::time::sleep(SETTLE).await;
    let watched = Costs::over(options.seconds, servers, &processes).await?;
    drop(watchers);
    report.add("api_cpu_percent_without", 100.0 * quiet.api);
    report.add("api_cpu_percent_with", 100.0 * watched.api);
    report.add("redis_cpu_percent_without", 100.0 * quiet.redis);
    report.add("redis_cpu_percent_with", 100.0 * watched.redis);
    report.add("sql_cpu_percent_without", 100.0 * quiet.sql);
    report.add("sql_cpu_percent_with", 100.0 * watched.sql);
    report.add("subtasks_per_s_without", quiet.subtasks);
    report.add("subtasks_per_s_with", watched.subtasks);
    Ok(report)
}

/// Creates tasks in some groups that run for longer than is measured.
async fn load(server: &Server) -> anyhow::Result<()> {
    for number in 0..TASKS {
        let group = format!("group {}", number % 5);
        server.client.set_group(&ResourceGroup::named(&group)).await?;
        let load = LoadParam { count: 10_000_000, micros: vec![MICROS], ..LoadParam::default() };
        let (name, priority) = (format!("busy {number}"), Priority(6000));
        let param = TaskParam { name, group, priority, timeout: param::MAX_TIMEOUT, ..load.task() };
        server.client.create_task(LOAD, param).await?;
    }
    Ok(())
}

/// The shares of a core that were used, and what was done meanwhile.
struct Costs {
    api: f64,
    redis: f64,
    sql: f64,
    subtasks: f64,
}

impl Costs {
    async fn over(seconds: u64, servers: &Servers, processes: &Processes) -> anyhow::Result<Self> {
        let done = async || -> anyhow::Result<f64> {
            // The scripts of Redis are what subtasks cost there.
            Ok(servers.redis_usage().await?.scripts)
        };
        let (begun, api, cpu, before) =
            (Instant::now(), usage::own_cpu_s(), servers.cpu().await?, done().await?);
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let (used, after) = (servers.cpu().await?.since(cpu), done().await?);
        let took = begun.elapsed().as_secs_f64();
        anyhow::ensure!(processes.pids().count() == Role::ALL.len(), "a process of the cluster has ended");
        Ok(Self {
            api: (usage::own_cpu_s() - api) / took,
            redis: used.redis_s / took,
            sql: used.sql_s / took,
            subtasks: (after - before) / took,
        })
    }
}

/// Has dashboards look until this process is ended.
pub(crate) fn watch(options: &WatcherOptions) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let http = reqwest::Client::new();
        let all = (0..options.count).map(|number| {
            let (http, url) = (http.clone(), options.url.clone());
            // Spread as people are.
            let begin = PAGE.mul_f64(number as f64 / options.count as f64);
            tokio::spawn(async move {
                tokio::time::sleep(begin).await;
                let (page, chart, stream) =
                    (fetch(&http, url.clone() + "/", PAGE), chart(&http, &url), follow(&http, &url));
                tokio::try_join!(page, chart, stream)
            })
        });
        for ended in futures::future::join_all(all).await {
            ended??;
        }
        anyhow::Ok(())
    })
}

async fn fetch(http: &reqwest::Client, url: String, every: Duration) -> anyhow::Result<()> {
    let mut ticks = tokio::time::interval(every);
    loop {
        ticks.tick().await;
        http.get(&url).send().await?.error_for_status()?.bytes().await?;
    }
}

async fn chart(http: &reqwest::Client, url: &str) -> anyhow::Result<()> {
    let mut ticks = tokio::time::interval(CHART);
    let mut since = 0;
    loop {
        ticks.tick().await;
        let text = http
            .get(format!("{url}/v1/history?since={since}"))
            .send()
            .await?
            .error_for_status()?
            .text()
            .await?;
        let history: serde_json::Value = serde_json::from_str(&text)?;
        let last = history["at"].as_array().and_then(|at| at.last()?.as_u64());
        since = last.unwrap_or(since);
    }
}

async fn follow(http: &reqwest::Client, url: &str) -> anyhow::Result<()> {
    let response = http.get(format!("{url}/v1/events")).send().await?.error_for_status()?;
    let mut events = response.bytes_stream();
    while let Some(event) = events.next().await {
        event?;
    }
    anyhow::bail!("the stream has ended")
}
