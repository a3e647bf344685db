//! One measurement of dispatch to executors in processes of their own, which `scale` and `lone` repeat with other numbers.

use std::time::{Duration, Instant};

use dtf::Dtf;
use dtf::model::Role;
use dtf::model::TaskStatus;
use serde_json::{Value, json};

use crate::cluster::{Cluster, OTHERS};
use crate::load::{LOAD, LoadParam};
use crate::processes::Processes;
use crate::report::Report;
use crate::servers::Servers;
use crate::usage;

/// The time that a cluster is left alone before its idle cost is measured.
const SETTLED: Duration = Duration::from_secs(3);

/// The numbers of a measurement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    /// The number of executor processes.
    pub(crate) executors: usize,
    /// The number of slots of each executor process.
    pub(crate) slots: usize,
    /// The number of shards of the cluster.
    pub(crate) shards: u32,
    /// The time that each subtask waits, in microseconds.
    pub(crate) micros: u64,
    /// The number of subtasks, over all executors.
    pub(crate) subtasks: u64,
    /// The time over which the idle cost is measured; zero leaves it out.
    pub(crate) idle: Duration,
}

impl Case {
    pub(crate) fn params(&self) -> Value {
        json!({
            "executors": self.executors, "slots": self.slots, "shards": self.shards, "micros": self.micros,
            "subtasks": self.subtasks,
        })
    }

    /// Runs the case once in a cluster of its own and adds its figures to the report.
    pub(crate) async fn measure(&self, servers: &Servers, report: &mut Report) -> anyhow::Result<()> {
        let Self { slots, shards, .. } = *self;
        let cluster = Cluster { slots, shards, ..servers.cluster().await? };
        let others = cluster.process("others", &OTHERS).await?;
        let mut executors = Processes::new(cluster);
        for _ in 0..self.executors {
            executors.start_silent(Role::Executor)?;
        }
        // Afterwards the executors hold their shards, and the run time of subtasks is known.
        self.run(&others, 1000).await?;
        if !self.idle.is_zero() {
            self.measure_idle(servers, &executors, report).await?;
        }
        let before = Reading::take(servers, &executors).await?;
        let begin = Instant::now();
        self.run(&others, self.subtasks).await?;
        let wall = begin.elapsed().as_secs_f64();
        let used = Reading::take(servers, &executors).await?.since(before);
        let subtasks = self.subtasks as f64;
        report.add("subtasks_per_s", subtasks / wall);
        report.add("client_cpu_s", used.others_s + used.executors_s);
        report.add("redis_cpu_s", used.redis_s);
        report.add("client_us_per_subtask", (used.others_s + used.executors_s) * 1e6 / subtasks);
        report.add("redis_us_per_subtask", used.redis_s * 1e6 / subtasks);
        report.add("scripts_per_subtask", used.scripts / subtasks);
        others.stop().await;
        Ok(())
    }

    async fn run(&self, dtf: &Dtf, count: u64) -> anyhow::Result<()> {
        let micros = if self.micros == 0 { Vec::new() } else { vec![self.micros] };
        let param = LoadParam { count, micros, ..LoadParam::default() };
        let row = dtf.client().create_task(LOAD, param.task()).await?.wait().await?;
        let ended = row.status;
        anyhow::ensure!(ended == TaskStatus::Completed, "the task ended as {ended}: {}", row.reason);
        Ok(())
    }

    /// Measures the cost of the cluster while it has no work, in cores.
    async fn measure_idle(
        &self,
        servers: &Servers,
        executors: &Processes,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        tokio::time::sleep(SETTLED).await;
        let (before, begin) = (Reading::take(servers, executors).await?, Instant::now());
        tokio::time::sleep(self.idle).await;
        let used = Reading::take(servers, executors).await?.since(before);
        let seconds = begin.elapsed().as_secs_f64();
        report.add("idle_executor_cores", used.executors_s / seconds / self.executors as f64);
        report.add("idle_others_cores", used.others_s / seconds);
        report.add("idle_redis_cores", used.redis_s / seconds);
        report.add("idle_redis_commands_per_s", used.commands / seconds);
        Ok(())
    }
}

/// The costs so far.
#[derive(Clone, Copy)]
struct Reading {
    executors_s: f64,
    /// The benchmark's own process, which has the other roles.
    others_s: f64,
    redis_s: f64,
    scripts: f64,
    commands: f64,
}

impl Reading {
    async fn take(servers: &Servers, executors: &Processes) -> anyhow::Result<Self> {
        let redis = servers.redis_usage().await?;
        Ok(Self {
            executors_s: executors.cpu_s(),
            others_s: usage::own_cpu_s(),
            redis_s: redis.cpu_s,
            scripts: redis.scripts,
            commands: redis.commands,
        })
    }

    fn since(self, earlier: Self) -> Self {
        Self {
            executors_s: self.executors_s - earlier.executors_s,
            others_s: self.others_s - earlier.others_s,
            redis_s: self.redis_s - earlier.redis_s,
            scripts: self.scripts - earlier.scripts,
            commands: self.commands - earlier.commands,
        }
    }
}
