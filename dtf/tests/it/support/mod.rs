//! Runs a plugin's parts against each other, without a framework between them.

pub(crate) mod command;
pub(crate) mod http;

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use dtf::tasks::Console;
use dtf_model::plugin::{
    CollectorSupport, ExecuteContext, ExecuteError, NewSubtask, ResultOf, SubtaskResult, TaskPlugin,
    TaskResult,
};
use dtf_model::queue::Outcome;
use dtf_model::{Counts, EmitEpoch, RunEpoch, Seq, SubtaskId, TaskId, TaskParam, TaskSpec, TaskTypeId};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// A standard output whose reader has gone.
pub(crate) struct Closed;

impl Write for Closed {
    fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The text that was written to a console.
#[derive(Clone, Default)]
pub(crate) struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A console, and what was written to its standard output and standard error.
pub(crate) fn console() -> (Console, Written, Written) {
    let (out, err) = (Written::default(), Written::default());
    (Console::new(out.clone(), err.clone()), out, err)
}

pub(crate) fn param(type_param: serde_json::Value) -> TaskParam {
    TaskParam { type_param, ..TaskParam::default() }
}

pub(crate) fn spec(type_param: serde_json::Value) -> TaskSpec {
    let param = Arc::new(param(type_param));
    TaskSpec { id: TaskId(1), request: uuid::Uuid::nil(), run: RunEpoch(1), task_type: TaskTypeId(1), param }
}

pub(crate) fn id(number: usize) -> SubtaskId {
    SubtaskId { task: TaskId(1), run: RunEpoch(1), epoch: EmitEpoch(1), seq: Seq(number as u64) }
}

pub(crate) fn context(cancelled: &CancellationToken) -> ExecuteContext {
    ExecuteContext { id: id(0), key: None, attempt: 0, cancelled: cancelled.clone() }
}

/// The difficulties that the driver adds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct How {
    /// The most subtasks that a call of the generator may yield.
    pub(crate) most: usize,
    /// The number of subtasks that run at once.
    pub(crate) at_once: usize,
    /// Results are collected in an order drawn from this.
    pub(crate) order: u64,
    /// A second collector takes over half way, and is told a quarter again.
    pub(crate) take_over: bool,
}

impl Default for How {
    fn default() -> Self {
        Self { most: 100, at_once: 4, order: 0, take_over: false }
    }
}

pub(crate) async fn generate(plugin: &dyn TaskPlugin, spec: &TaskSpec, most: usize) -> Vec<Bytes> {
    let mut generator = plugin.generator(spec).unwrap();
    generator.begin(None).await.unwrap();
    let mut bodies = Vec::new();
    loop {
        let generated = generator.next_subtasks(most).await.unwrap();
        assert!(generated.subtasks.len() <= most);
        bodies.extend(generated.subtasks.into_iter().map(|NewSubtask { body, .. }| body));
        if generated.finished {
            generator.end().await.unwrap();
            return bodies;
        }
        if let Some(saved) = generator.save_status().unwrap() {
            assert!(saved.len() <= 64 * 1024);
            generator = plugin.generator(spec).unwrap();
            generator.begin(Some(saved)).await.unwrap();
        }
    }
}

pub(crate) async fn execute(
    plugin: &dyn TaskPlugin,
    spec: &TaskSpec,
    bodies: Vec<Bytes>,
    how: How,
) -> Vec<ResultOf> {
    let executor = plugin.executor(spec).unwrap();
    let cancelled = CancellationToken::new();
    let mut running = JoinSet::new();
    let mut results = Vec::new();
    let mut bodies = bodies.into_iter().enumerate();
    loop {
        while running.len() < how.at_once
            && let Some((number, body)) = bodies.next()
        {
            let (executor, context) = (Arc::clone(&executor), context(&cancelled));
            running.spawn(async move {
                let outcome = executor.execute(&body, &context).await;
                ResultOf { id: id(number), outcome: outcome_of(outcome, body) }
            });
        }
        match running.join_next().await {
            Some(result) => results.push(result.unwrap()),
            None => return results,
        }
    }
}

fn outcome_of(executed: Result<SubtaskResult, ExecuteError>, body: Bytes) -> Outcome {
    match executed {
        Ok(result) => Outcome::Succeeded(result),
        Err(error) => Outcome::Failed { error: error.to_string(), body },
    }
}

pub(crate) async fn collect(
    plugin: &dyn TaskPlugin,
    spec: &TaskSpec,
    mut results: Vec<ResultOf>,
    how: How,
) -> anyhow::Result<TaskResult> {
    shuffle(&mut results, how.order);
    let mut collector = plugin.collector(spec)?;
    collector.begin(None).await?;
    let mut support = CollectorSupport::default();
    let (quarter, half) = (results.len() / 4, results.len() / 2);
    let mut saved = collector.save_status()?;
    for (at, result) in results[..half].iter().enumerate() {
        collector.after_execution(result, &mut support).await?;
        if at <= quarter {
            saved = collector.save_status()?;
        }
    }
    let mut from = half;
    if how.take_over {
        collector = plugin.collector(spec)?;
        collector.begin(saved).await?;
        from = if half == 0 { 0 } else { quarter + 1 };
    }
    for result in &results[from.min(results.len())..] {
        collector.after_execution(result, &mut support).await?;
    }
    let failed = |result: &&ResultOf| !matches!(result.outcome, Outcome::Succeeded(_));
    let failed = results.iter().filter(failed).count() as u64;
    let created = results.len() as u64;
    let counts = Counts { created, failed, succeeded: created - failed, ..Counts::default() };
    collector.after_task_completed(&counts).await
}

fn shuffle(results: &mut [ResultOf], mut seed: u64) {
    if seed == 0 {
        return;
    }
    for at in (1..results.len()).rev() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        results.swap(at, (seed >> 33) as usize % (at + 1));
    }
}

/// Checks, generates, executes, collects.
pub(crate) async fn run(
    plugin: &dyn TaskPlugin,
    type_param: serde_json::Value,
    how: How,
) -> anyhow::Result<TaskResult> {
    plugin.check(&param(type_param.clone()))?;
    let spec = spec(type_param);
    let bodies = generate(plugin, &spec, how.most).await;
    let results = execute(plugin, &spec, bodies, how).await;
    collect(plugin, &spec, results, how).await
}
