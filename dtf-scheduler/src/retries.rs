//! The generator of a task that runs the failed subtasks of another one again.

use std::sync::Arc;

use anyhow::Context;
use async_trait::async_trait;
use bytes::Bytes;
use dtf_model::failure::FailureKey;
use dtf_model::plugin::{Generated, TaskGenerator, TaskPlugin};
use dtf_model::table::TaskTable;
use dtf_model::{EmitEpoch, RunEpoch, Seq, TaskId, TaskSpec};

/// The most failures that are read at a time; a body may have 64 KiB.
const PAGE: usize = 100;

/// Emits the bodies of the failures that are kept of an ended task, in their order.
pub(crate) struct Retries {
    table: Arc<dyn TaskTable>,
    plugin: Arc<dyn TaskPlugin>,
    spec: TaskSpec,
    of: TaskId,
    /// The last run of that task.
    run: RunEpoch,
    after: Option<FailureKey>,
}

impl Retries {
    pub(crate) fn new(
        table: Arc<dyn TaskTable>,
        plugin: Arc<dyn TaskPlugin>,
        spec: TaskSpec,
        of: TaskId,
    ) -> Self {
        Self { table, plugin, spec, of, run: RunEpoch(0), after: None }
    }
}

#[async_trait]
impl TaskGenerator for Retries {
    async fn begin(&mut self, saved: Option<Bytes>) -> anyhow::Result<()> {
        let row =
            self.table.get(self.of).await?.with_context(|| format!("task {} does not exist", self.of))?;
        self.run = row.run;
        self.after = saved.as_deref().map(read).transpose()?;
        Ok(())
    }

    async fn next_subtasks(&mut self, most: usize) -> anyhow::Result<Generated> {
        let most = most.min(PAGE);
        let page = self.table.failures(self.of, self.run, self.after, u32::try_from(most)?).await?;
        let finished = page.len() < most;
        self.after = page.last().map(|failure| failure.key).or(self.after);
        // Those whose bodies were too large to keep cannot be run again.
        let bodies = page.into_iter().filter_map(|failure| failure.body);
        let subtasks = bodies.map(|body| self.plugin.again(&self.spec, body));
        Ok(Generated { subtasks: subtasks.collect::<Result<_, _>>()?, finished })
    }

    fn save_status(&self) -> anyhow::Result<Option<Bytes>> {
        Ok(self.after.map(|after| Bytes::from(format!("{} {}", after.epoch, after.seq))))
    }
}

fn read(saved: &[u8]) -> anyhow::Result<FailureKey> {
    let text = std::str::from_utf8(saved)?;
    let (epoch, seq) = text.split_once(' ').context("the checkpoint names no subtask")?;
    Ok(FailureKey { epoch: EmitEpoch(epoch.parse()?), seq: Seq(seq.parse()?) })
}
