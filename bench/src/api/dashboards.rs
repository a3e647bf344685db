//! The cost of open dashboards: a cluster is busy in processes of its own, this one serves the API, and the browsers are a third.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::Args;
use dtf::model::{Priority, ResourceGroup, Role, TaskParam, param};
use dtf_client::Connection;
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

/// Browsers, in a process of their own.
#[derive(Args)]
pub(crate) struct WatcherOptions {
    #[arg(long)]
    url: String,
    #[arg(long)]
    count: usize,
    /// The first of the tasks whose pages are open; the overview where none is given
    #[arg(long)]
    task: Option<u64>,
}

struct Watchers(Child);

impl Drop for Watchers {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

pub(super) async fn measure(options: &Options, servers: &Servers, runs: usize) -> anyhow::Result<Report> {
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
    let first = load(&server).await?;
    for _ in 0..runs {
        tokio::time::sleep(SETTLE).await;
        let quiet = Costs::over(options.seconds, servers, &processes).await?;
        let overviews = watched(options, servers, &processes, &server, None).await?;
        let tasks = watched(options, servers, &processes, &server, Some(first)).await?;
        report.add("api_cpu_percent", 100.0 * quiet.api);
        report.add("api_cpu_percent_overviews", 100.0 * overviews.api);
        report.add("api_cpu_percent_task_pages", 100.0 * tasks.api);
        report.add("redis_cpu_percent", 100.0 * quiet.redis);
        report.add("redis_cpu_percent_overviews", 100.0 * overviews.redis);
        report.add("redis_cpu_percent_task_pages", 100.0 * tasks.redis);
        report.add("sql_cpu_percent", 100.0 * quiet.sql);
        report.add("sql_cpu_percent_overviews", 100.0 * overviews.sql);
        report.add("sql_cpu_percent_task_pages", 100.0 * tasks.sql);
        report.add("redis_scripts_per_s", quiet.scripts);
        report.add("redis_scripts_per_s_overviews", overviews.scripts);
        report.add("redis_scripts_per_s_task_pages", tasks.scripts);
    }
    Ok(report)
}

/// Measures while as many browsers as there are to be have the overview open, or the pages of tasks from a first one on.
async fn watched(
    options: &Options,
    servers: &Servers,
    processes: &Processes,
    server: &Server,
    task: Option<u64>,
) -> anyhow::Result<Costs> {
    let task = task.map(|task| format!("--task={task}"));
    let watchers = Command::new(std::env::current_exe()?)
        .args(["dashboards", "--url", &server.url(), "--count", &options.dashboards.to_string()])
        .args(task)
        .stdin(Stdio::null())
        .spawn()?;
    let mut watchers = Watchers(watchers);
    tokio::time::sleep(SETTLE).await;
    let costs = Costs::over(options.seconds, servers, processes).await?;
    anyhow::ensure!(watchers.0.try_wait()?.is_none(), "the browsers have ended");
    Ok(costs)
}

/// Creates tasks in some groups that run for longer than is measured, and returns the first.
async fn load(server: &Server) -> anyhow::Result<u64> {
    let mut first = None;
    for number in 0..TASKS {
        let group = format!("group {}", number % 5);
        server.client.set_group(&ResourceGroup::named(&group)).await?;
        let load = LoadParam { count: 10_000_000, micros: vec![MICROS], ..LoadParam::default() };
        let (name, priority) = (format!("busy {number}"), Priority(6000));
        let param = TaskParam { name, group, priority, timeout: param::MAX_TIMEOUT, ..load.task() };
        let created = server.client.create_task(LOAD, param).await?.id().0;
        first.get_or_insert(created);
    }
    Ok(first.unwrap_or_default())
}

/// The shares of a core that were used, and the work of the cluster meanwhile.
struct Costs {
    api: f64,
    redis: f64,
    sql: f64,
    scripts: f64,
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
            scripts: (after - before) / took,
        })
    }
}

/// Has browsers look until this process is ended.
pub(crate) fn watch(options: &WatcherOptions) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    // It installs the cryptography that a client wants to have, although none is used here.
    drop(dtf_client::Client::new(Connection::to(options.url.clone()))?);
    runtime.block_on(async {
        let http = reqwest::Client::new();
        let all = (0..options.count).map(|number| {
            let (http, url) = (http.clone(), options.url.clone());
            let task = options.task.map(|first| first + (number % TASKS) as u64);
            // Spread as people are.
            let begin = PAGE.mul_f64(number as f64 / options.count as f64);
            tokio::spawn(async move {
                tokio::time::sleep(begin).await;
                match task {
                    None => {
                        tokio::try_join!(fetch(&http, url.clone() + "/", PAGE), chart(&http, &url)).map(drop)
                    }
                    Some(task) => follow(&http, &url, task).await,
                }
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

/// Fetches the page of a task whenever an event says that it has changed.
async fn follow(http: &reqwest::Client, url: &str, task: u64) -> anyhow::Result<()> {
    let response = http.get(format!("{url}/v1/tasks/{task}/events")).send().await?.error_for_status()?;
    let (mut events, page) = (response.bytes_stream(), format!("{url}/tasks/{task}"));
    while let Some(event) = events.next().await {
        if event?.starts_with(b"event") {
            http.get(&page).send().await?.error_for_status()?.bytes().await?;
        }
    }
    anyhow::bail!("the stream has ended")
}
