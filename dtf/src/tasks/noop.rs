//! The task type `noop`: does nothing, at a chosen speed and failure rate. For trying things and for benchmarks.
//!
//! Its subtasks are numbered bodies. Which of them fail depends on nothing but their number, so that every run of the
//! same parameters ends with the same counts.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use bytes::{BufMut, Bytes, BytesMut};
use dtf_model::plugin::{
    CollectorSupport, ExecuteContext, ExecuteError, Generated, MAX_SUBTASK_TIMEOUT, NewSubtask, ResultOf,
    SubtaskResult, TaskCollector, TaskConf, TaskExecutor, TaskGenerator, TaskPlugin, TaskPluginRegistration,
    TaskResult,
};
use dtf_model::queue::Outcome;
use dtf_model::{Counts, InvalidInput, Seq, TaskParam, TaskSpec};
use serde::{Deserialize, Serialize};

const TAKES: &str =
    "count (0 or more), sleep_ms (0 to 1500000), failure_rate (0 to 1), body_bytes (8 to 1048576)";
/// Well below what every type may take.
const LONGEST_SLEEP_MS: u64 = 1_500_000;
const LARGEST_BODY: usize = 1024 * 1024;
/// The most that one call of the generator allocates for bodies.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// The parameters of a `noop` task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object, as in {\"count\": 1000}")]
pub struct NoopParam {
    /// The number of subtasks.
    pub count: u64,
    /// The time that each takes, in milliseconds.
    #[serde(default)]
    pub sleep_ms: u64,
    /// The share of them that fails, from 0 to 1.
    #[serde(default)]
    pub failure_rate: f64,
    /// The size of each body, in bytes.
    #[serde(default = "smallest_body")]
    pub body_bytes: usize,
}

fn smallest_body() -> usize {
    size_of::<u64>()
}

impl NoopParam {
    /// So many subtasks that take no time and succeed.
    pub fn new(count: u64) -> Self {
        Self { count, sleep_ms: 0, failure_rate: 0.0, body_bytes: smallest_body() }
    }

    /// As the task's `type_param`.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "count": self.count,
            "sleep_ms": self.sleep_ms,
            "failure_rate": self.failure_rate,
            "body_bytes": self.body_bytes,
        })
    }

    fn read(param: &TaskParam) -> Result<Self, InvalidInput> {
        let read: Self = super::read_param("noop", TAKES, &param.type_param)?;
        let wrong = |what, got: String, allowed: String| Err(InvalidInput::OutOfRange { what, got, allowed });
        if read.count >= Seq::FIRST_FOLLOW_UP.0 {
            return wrong("count", read.count.to_string(), format!("less than {}", Seq::FIRST_FOLLOW_UP));
        }
        if read.sleep_ms > LONGEST_SLEEP_MS {
            return wrong("sleep_ms", read.sleep_ms.to_string(), format!("0 to {LONGEST_SLEEP_MS}"));
        }
        if !(0.0..=1.0).contains(&read.failure_rate) {
            return wrong("failure_rate", read.failure_rate.to_string(), "0 to 1".to_owned());
        }
        let bodies = smallest_body()..=LARGEST_BODY;
        if !bodies.contains(&read.body_bytes) {
            let allowed = format!("{} to {LARGEST_BODY}", smallest_body());
            return wrong("body_bytes", read.body_bytes.to_string(), allowed);
        }
        Ok(read)
    }

    /// Returns true if the subtask with this number is one that fails.
    pub fn fails(&self, number: u64) -> bool {
        // The upper 53 bits are what an f64 holds exactly: a share from 0 to below 1.
        let share = (mix(number) >> 11) as f64 / (1_u64 << 53) as f64;
        share < self.failure_rate
    }
}

/// The last step of SplitMix64: every bit of the number moves half of the bits of what comes out.
fn mix(number: u64) -> u64 {
    let mut bits = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// The task type `noop`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Noop;

impl Noop {
    /// Under its number and name.
    pub fn registration() -> TaskPluginRegistration {
        TaskPluginRegistration {
            task_type: super::NOOP,
            name: "noop".to_owned(),
            description: "does nothing, at a chosen speed and failure rate".to_owned(),
            plugin: Arc::new(Self),
        }
    }
}

impl TaskPlugin for Noop {
    fn conf(&self) -> TaskConf {
        TaskConf { subtask_timeout: MAX_SUBTASK_TIMEOUT, max_attempts: 1, ..TaskConf::default() }
    }

    fn check(&self, param: &TaskParam) -> Result<(), InvalidInput> {
        NoopParam::read(param).map(drop)
    }

    fn schema(&self) -> Option<serde_json::Value> {
        let number = |about: &str, least: u64, most: u64| serde_json::json!({ "type": "integer", "description": about, "minimum": least, "maximum": most });
        let bodies = smallest_body() as u64..=LARGEST_BODY as u64;
        Some(serde_json::json!({
            "type": "object",
            "required": ["count"],
            "additionalProperties": false,
            "properties": {
                "count": number("the number of subtasks", 0, Seq::FIRST_FOLLOW_UP.0 - 1),
                "sleep_ms": number("the time that each takes, in milliseconds", 0, LONGEST_SLEEP_MS),
                "failure_rate": {
                    "type": "number",
                    "description": "the share of them that fails, from 0 to 1",
                    "minimum": 0,
                    "maximum": 1,
                },
                "body_bytes": number("the size of each body, in bytes", *bodies.start(), *bodies.end()),
            },
        }))
    }

    fn generator(&self, spec: &TaskSpec) -> anyhow::Result<Box<dyn TaskGenerator>> {
        Ok(Box::new(NoopGenerator { param: NoopParam::read(&spec.param)?, next: 0 }))
    }

    fn executor(&self, spec: &TaskSpec) -> anyhow::Result<Arc<dyn TaskExecutor>> {
        Ok(Arc::new(NoopExecutor { param: NoopParam::read(&spec.param)? }))
    }

    fn collector(&self, _spec: &TaskSpec) -> anyhow::Result<Box<dyn TaskCollector>> {
        Ok(Box::new(NoopCollector::default()))
    }
}

struct NoopGenerator {
    param: NoopParam,
    next: u64,
}

#[async_trait]
impl TaskGenerator for NoopGenerator {
    async fn begin(&mut self, saved: Option<Bytes>) -> anyhow::Result<()> {
        self.next = saved.map_or(Ok(0), |saved| number_in(&saved).context("the generator's saved status"))?;
        Ok(())
    }

    async fn next_subtasks(&mut self, most: usize) -> anyhow::Result<Generated> {
        let size = self.param.body_bytes;
        let left = usize::try_from(self.param.count.saturating_sub(self.next)).unwrap_or(usize::MAX);
        let count = most.min(left).min((BATCH_BYTES / size).max(1));
        // One allocation for all: each body is a slice of it.
        let mut bodies = BytesMut::zeroed(count * size);
        for (body, number) in bodies.chunks_exact_mut(size).zip(self.next..) {
            body[..size_of::<u64>()].copy_from_slice(&number.to_be_bytes());
        }
        let bodies = bodies.freeze();
        let subtasks = (0..count).map(|at| NewSubtask::new(bodies.slice(at * size..(at + 1) * size)));
        let subtasks = subtasks.collect();
        self.next += count as u64;
        Ok(Generated { subtasks, finished: self.next >= self.param.count })
    }

    fn save_status(&self) -> anyhow::Result<Option<Bytes>> {
        Ok(Some(Bytes::copy_from_slice(&self.next.to_be_bytes())))
    }

    fn query_progress(&self) -> Option<f32> {
        match self.param.count {
            0 => Some(1.0),
            count => Some((self.next as f64 / count as f64) as f32),
        }
    }
}

struct NoopExecutor {
    param: NoopParam,
}

#[async_trait]
impl TaskExecutor for NoopExecutor {
    async fn execute(&self, body: &Bytes, context: &ExecuteContext) -> Result<SubtaskResult, ExecuteError> {
        let number = number_in(body).map_err(ExecuteError::Final)?;
        if self.param.sleep_ms > 0 {
            let work = tokio::time::sleep(Duration::from_millis(self.param.sleep_ms));
            if context.cancelled.run_until_cancelled(work).await.is_none() {
                return Err(ExecuteError::Final(anyhow::anyhow!("cancelled")));
            }
        }
        match self.param.fails(number) {
            true => Err(ExecuteError::Final(anyhow::anyhow!("subtask {number} fails, as its task asks for"))),
            false => Ok(SubtaskResult::default()),
        }
    }
}

fn number_in(body: &[u8]) -> anyhow::Result<u64> {
    let head = body.first_chunk().context("it is shorter than the 8 bytes of a number")?;
    Ok(u64::from_be_bytes(*head))
}

#[derive(Default)]
struct NoopCollector {
    succeeded: u64,
    failed: u64,
}

#[async_trait]
impl TaskCollector for NoopCollector {
    async fn begin(&mut self, saved: Option<Bytes>) -> anyhow::Result<()> {
        *self = Self::default();
        if let Some(saved) = saved {
            self.succeeded = number_in(&saved).context("the collector's saved status")?;
            self.failed = number_in(&saved[size_of::<u64>()..]).context("the collector's saved status")?;
        }
        Ok(())
    }

    async fn after_execution(
        &mut self,
        result: &ResultOf,
        _support: &mut CollectorSupport,
    ) -> anyhow::Result<()> {
        match result.outcome {
            Outcome::Succeeded(_) => self.succeeded += 1,
            _ => self.failed += 1,
        }
        Ok(())
    }

    fn save_status(&self) -> anyhow::Result<Option<Bytes>> {
        let mut status = BytesMut::with_capacity(2 * size_of::<u64>());
        status.put_u64(self.succeeded);
        status.put_u64(self.failed);
        Ok(Some(status.freeze()))
    }

    async fn after_task_completed(&mut self, _counts: &Counts) -> anyhow::Result<TaskResult> {
        let subtasks = self.succeeded + self.failed;
        Ok(TaskResult {
            code: 0,
            reason: format!("{subtasks} subtasks, {} failed", self.failed),
            data: serde_json::json!({ "subtasks": subtasks, "failed_items": self.failed }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_failing_share_is_what_was_asked_for() {
        for rate in [0.0, 0.1, 0.5, 1.0] {
            let param = NoopParam { failure_rate: rate, ..NoopParam::new(0) };
            let failing = (0..100_000).filter(|number| param.fails(*number)).count();
            assert!((failing as f64 / 100_000.0 - rate).abs() < 0.005, "{rate}: {failing}");
        }
    }
}
