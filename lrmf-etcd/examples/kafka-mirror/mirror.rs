//! The provider that reads the metadata file, and the runner that mirrors.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use lrmf_core::{Held, RunTask, Task, TaskProvider, Token};
use tokio::time::MissedTickBehavior;

use super::metadata::{Metadata, Subject};

/// Says which tasks there are, from a metadata file that may change at any time. It is read anew each time; while it cannot
/// be read, the last known tasks stay.
#[derive(Clone, Debug)]
pub(crate) struct MetadataFile(PathBuf);

impl MetadataFile {
    /// The file at this path.
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Calls `changed` each time the file's content has changed, looking once in `period`. It never ends.
    pub(crate) async fn watch(&self, period: Duration, changed: impl Fn()) {
        let mut before = self.read().await.ok();
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let now = self.read().await.ok();
            if now != before {
                before = now;
                changed();
            }
        }
    }

    async fn read(&self) -> anyhow::Result<String> {
        let text = tokio::fs::read_to_string(&self.0).await;
        text.with_context(|| format!("cannot read {}", self.0.display()))
    }
}

#[async_trait]
impl TaskProvider for MetadataFile {
    async fn tasks(&self) -> anyhow::Result<Vec<Task>> {
        let metadata = Metadata::parse(&self.read().await?);
        metadata.with_context(|| format!("{} cannot be used", self.0.display()))?.tasks()
    }
}

/// The mirror of one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It begins.
    Begins,
    /// It has copied what was new, for the nth time.
    Copied(u64),
    /// It has ended: nothing of it runs any more.
    Ends,
}

/// Mirrors what its member holds. It stands in for a real one: where that would copy, it only says so.
#[derive(Clone, Debug)]
pub(crate) struct Mirror<R> {
    /// The time between two rounds of copying.
    pub(crate) period: Duration,
    /// Hears of each step.
    pub(crate) report: R,
}

#[async_trait]
impl<R: Fn(&Subject, Token, Step) + Send + Sync + 'static> RunTask for Mirror<R> {
    async fn run(&self, held: Held) -> anyhow::Result<()> {
        let subject: Subject = serde_json::from_str(&held.task.value).context("no value of this example")?;
        (self.report)(&subject, held.token, Step::Begins);
        let mut rounds = tokio::time::interval(self.period);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut count = 0;
        // A real mirror reads from where it left off and writes with `held.token` here.
        while held.stop.run_until_cancelled(rounds.tick()).await.is_some() && held.may_work() {
            count += 1;
            (self.report)(&subject, held.token, Step::Copied(count));
        }
        (self.report)(&subject, held.token, Step::Ends);
        Ok(())
    }
}
