//! The time that the work of a role rests when the process that does it is killed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use dtf::model::Role;
use dtf::model::{TaskId, TaskStatus};
use dtf::{Client, TaskHandle};
use serde_json::json;

use crate::cluster::Cluster;
use crate::events::{Event, EventKind, now_ns};
use crate::load::{Books, LOAD, LoadParam};
use crate::polling::until;
use crate::processes::Processes;
use crate::report::Report;
use crate::servers::{ServerOptions, Servers};

#[derive(Args)]
pub(crate) struct Options {
    /// The number of tasks that run when a process is killed
    #[arg(long, default_value_t = 8)]
    tasks: usize,
    /// The number of subtasks, of 5 ms, that each of them has
    #[arg(long, default_value_t = 2000)]
    subtasks: u64,
    /// The sessions' time to live, in milliseconds
    #[arg(long, default_value_t = 3000)]
    ttl_ms: u64,
    #[command(flatten)]
    servers: ServerOptions,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    let Options { tasks, subtasks, ttl_ms, .. } = *options;
    let params =
        json!({ "tasks": tasks, "subtasks": subtasks, "subtask_ms": 5, "ttl_ms": ttl_ms, "executors": 2 });
    let mut report = Report::new("recovery", params);
    let servers = Servers::new(&options.servers)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        servers.describe(&mut report).await?;
        // A short backlog: a generator that rests is felt.
        let cluster = Cluster { slots: 4, ttl_ms, backlog: 64, ..servers.cluster().await? };
        let client = cluster.process("client", &[]).await?.client();
        let mut processes = Processes::new(cluster);
        for _ in 0..2 {
            for role in Role::ALL {
                processes.start(role)?;
            }
        }
        for role in Role::ALL {
            kill_one(options, role, &client, &mut processes, &mut report).await?;
            processes.start(role)?;
        }
        Ok(report)
    })
}

/// A role's process is killed while tasks run; they end, and their books are right.
async fn kill_one(
    options: &Options,
    role: Role,
    client: &Client,
    processes: &mut Processes,
    report: &mut Report,
) -> anyhow::Result<()> {
    processes.forget();
    let mut tasks = create(options, client).await?;
    until(|| async { tasks_seen(&processes.events()).len() == options.tasks }).await;
    let victim = processes.oldest(role)?;
    let killed = processes.kill(victim)?;
    let rested = match role {
        Role::Manager => {
            let more = create(options, client).await?;
            let all = options.tasks + more.len();
            until(|| async { tasks_seen(&processes.events()).len() == all }).await;
            tasks.extend(more);
            since(killed, now_ns())
        }
        Role::Collector => longest_rest_of_collecting(&tasks).await?,
        _ => {
            all_ended(&tasks).await?;
            rest_in(&processes.events(), role, victim, killed)?
        }
    };
    report.add(figure(role), rested);
    check_books(options, &tasks, report).await
}

fn figure(role: Role) -> &'static str {
    match role {
        Role::Manager => "manager_ms",
        Role::Generator => "generator_ms",
        Role::Scheduler => "scheduler_ms",
        Role::Executor => "executor_ms",
        Role::Collector => "collector_ms",
    }
}

async fn create(options: &Options, client: &Client) -> anyhow::Result<Vec<TaskHandle>> {
    let param =
        LoadParam { count: options.subtasks, micros: vec![5000], books: true, ..LoadParam::default() };
    let mut tasks = Vec::new();
    for _ in 0..options.tasks {
        tasks.push(client.create_task(LOAD, param.task()).await?);
    }
    Ok(tasks)
}

fn tasks_seen(events: &[Event]) -> BTreeSet<TaskId> {
    events.iter().map(|event| event.task).collect()
}

async fn all_ended(tasks: &[TaskHandle]) -> anyhow::Result<()> {
    for task in tasks {
        task.wait().await?;
    }
    Ok(())
}

fn since(begin: u64, end: u64) -> f64 {
    end.saturating_sub(begin) as f64 / 1e6
}

/// From the kill until everything that rested for it went on, as the executors' events tell.
fn rest_in(events: &[Event], role: Role, victim: usize, killed: u64) -> anyhow::Result<f64> {
    let starts = || events.iter().filter(|event| event.kind == EventKind::Started);
    if role == Role::Executor {
        let ended: BTreeSet<_> =
            events.iter().filter(|event| event.kind == EventKind::Ended).collect_of(victim);
        let begun: BTreeSet<_> = starts().collect_of(victim);
        let again = |lost: &(TaskId, u64)| {
            let by_others = starts().filter(|event| event.process != victim);
            by_others.filter(|event| (event.task, event.number.0) == *lost).map(|event| event.at_ns).min()
        };
        let lost: Vec<_> = begun.difference(&ended).collect();
        let times: Option<Vec<u64>> = lost.iter().map(|lost| again(lost)).collect();
        let latest = times.context("a subtask that ran in the killed process never ran again")?;
        return Ok(latest.into_iter().max().map_or(0.0, |at| since(killed, at)));
    }
    let mut rests: BTreeMap<Option<TaskId>, (u64, u64)> = BTreeMap::new();
    for event in starts().filter(|event| event.at_ns > killed) {
        let of = (role == Role::Generator).then_some(event.task);
        let (last, longest) = rests.entry(of).or_insert((killed, 0));
        *longest = (*longest).max(event.at_ns - *last);
        *last = event.at_ns;
    }
    Ok(rests.values().map(|(_, longest)| *longest).max().unwrap_or(0) as f64 / 1e6)
}

/// The subtasks that a member spoke of.
trait CollectOf {
    fn collect_of(self, member: usize) -> BTreeSet<(TaskId, u64)>;
}

impl<'a, I: Iterator<Item = &'a Event>> CollectOf for I {
    fn collect_of(self, member: usize) -> BTreeSet<(TaskId, u64)> {
        self.filter(|event| event.process == member).map(|event| (event.task, event.number.0)).collect()
    }
}

/// The longest time in which nothing of a task was collected, until its end.
async fn longest_rest_of_collecting(tasks: &[TaskHandle]) -> anyhow::Result<f64> {
    let begin = now_ns();
    let mut seen = vec![(0_u64, begin); tasks.len()];
    let (mut longest, mut open) = (0, tasks.len());
    while open > 0 {
        open = 0;
        for (task, (collected, at)) in tasks.iter().zip(&mut seen) {
            let status = task.status().await?;
            let Some(queues) = status.queues.filter(|_| !status.row.status.is_terminal()) else { continue };
            open += 1;
            let now = now_ns();
            if queues.collected > *collected {
                longest = longest.max(now - *at);
                (*collected, *at) = (queues.collected, now);
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(longest as f64 / 1e6)
}

async fn check_books(options: &Options, tasks: &[TaskHandle], report: &mut Report) -> anyhow::Result<()> {
    let (mut lost, mut double) = (0, 0);
    for task in tasks {
        let row = task.wait().await?;
        anyhow::ensure!(
            row.status == TaskStatus::Completed,
            "a task ended as {}: {}",
            row.status,
            row.reason
        );
        let data = row.result.context("a completed task has a result")?.data;
        let books: Books = serde_json::from_value(data)?;
        lost += options.subtasks.saturating_sub(books.results);
        double += books.results.saturating_sub(options.subtasks);
        let right = books == Books::of(options.subtasks);
        anyhow::ensure!(right || lost + double > 0, "one subtask was counted in place of another");
    }
    report.add("lost", lost as f64);
    report.add("double_counted", double as f64);
    Ok(())
}
