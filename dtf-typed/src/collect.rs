//! The collector: folds the results of a task into a state that is saved with each commit.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use bytes::Bytes;
use dtf_model::plugin::{CollectorSupport, NewSubtask, ResultOf, TaskCollector, TaskResult};
use dtf_model::queue::Outcome;
use dtf_model::{Counts, SubtaskId, TaskSpec};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::codec::{decode, encode};
use crate::input::KeyOf;
use crate::live::{Feed, Live, LiveResult};

/// The end of one subtask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended<I, O> {
    /// It was executed.
    Succeeded(O),
    /// It failed for good.
    Failed {
        /// The item; `None` where it cannot be decoded, which is then the reason.
        item: Option<I>,
        /// The reason.
        error: String,
    },
    /// Its last attempt took longer than the subtask timeout.
    TimedOut {
        /// The item; `None` where it cannot be decoded.
        item: Option<I>,
    },
    /// It was told to stop, as its task was cancelled.
    Cancelled,
}

/// The subtasks that a collector adds while it is told of a result. They are committed together with the collection of that
/// result, so none is lost and none is added twice.
pub struct FollowUps<'a, I> {
    id: SubtaskId,
    key: Option<&'a KeyOf<I>>,
    added: Vec<NewSubtask>,
    open: Option<(NewSubtask, Duration)>,
}

impl<I: Serialize> FollowUps<'_, I> {
    /// Returns the id of the subtask whose result is at hand.
    pub fn id(&self) -> SubtaskId {
        self.id
    }

    /// Adds a subtask for this item.
    ///
    /// # Errors
    /// The item cannot be written as JSON.
    pub fn add(&mut self, item: &I) -> anyhow::Result<()> {
        self.added.push(self.subtask(item)?);
        Ok(())
    }

    /// Executes the subtask at hand again, with this item and after this wait. Its result so far does not count.
    ///
    /// See [`CollectorSupport::keep_open`].
    ///
    /// # Errors
    /// The item cannot be written as JSON.
    pub fn keep_open(&mut self, item: &I, after: Duration) -> anyhow::Result<()> {
        self.open = Some((self.subtask(item)?, after));
        Ok(())
    }

    fn subtask(&self, item: &I) -> anyhow::Result<NewSubtask> {
        Ok(NewSubtask { body: encode("the item", item)?, key: self.key.map(|key| key(item)) })
    }
}

/// A step of a fold. It is given the state by value, as its caller has it from a stored copy.
pub(crate) type Step<I, O, S> =
    dyn Fn(S, Ended<I, O>, &mut FollowUps<'_, I>) -> anyhow::Result<S> + Send + Sync;
/// The end of a fold.
pub(crate) type Finish<S, R> = dyn Fn(S, &Counts) -> anyhow::Result<R> + Send + Sync;

/// Puts the result of a task in words.
pub(crate) type SummaryOf<R> = Arc<dyn Fn(&R, &Counts) -> String + Send + Sync>;

/// The collector of one task.
pub(crate) struct Fold<I, O, S, R> {
    pub(crate) spec: TaskSpec,
    /// The state; `None` once a call has failed, after which a new collector begins at the state saved last.
    pub(crate) state: Option<S>,
    pub(crate) step: Arc<Step<I, O, S>>,
    pub(crate) finish: Arc<Finish<S, R>>,
    pub(crate) summary: Option<SummaryOf<R>>,
    pub(crate) key: Option<KeyOf<I>>,
    pub(crate) live: Arc<Live>,
    pub(crate) feed: Option<Arc<Feed>>,
    /// The number of results folded.
    pub(crate) position: u64,
}

/// The saved form.
#[derive(Serialize, Deserialize)]
struct Saved<S> {
    position: u64,
    state: S,
}

const LOST: &str = "an earlier call failed";

#[async_trait]
impl<I, O, S, R> TaskCollector for Fold<I, O, S, R>
where
    I: DeserializeOwned + Serialize + Send + 'static,
    O: DeserializeOwned + Send + 'static,
    S: DeserializeOwned + Serialize + Send + Sync + 'static,
    R: Serialize + Send + 'static,
{
    async fn begin(&mut self, saved: Option<Bytes>) -> anyhow::Result<()> {
        if let Some(saved) = saved {
            let Saved { position, state } = decode("the saved state", &saved)?;
            (self.position, self.state) = (position, Some(state));
        }
        self.feed = self.live.feed(self.spec.id).await;
        Ok(())
    }

    async fn after_execution(
        &mut self,
        result: &ResultOf,
        support: &mut CollectorSupport,
    ) -> anyhow::Result<()> {
        let ended = ended(result)?;
        let (added, open) = {
            let (added, open) = (Vec::new(), None);
            let mut follow_ups = FollowUps { id: result.id, key: self.key.as_ref(), added, open };
            let state = self.state.take().context(LOST)?;
            self.state = Some((self.step)(state, ended, &mut follow_ups)?);
            (follow_ups.added, follow_ups.open)
        };
        added.into_iter().for_each(|subtask| support.add_subtask(subtask));
        let position = self.position;
        self.position += 1;
        match (open, &self.feed) {
            (Some((next, after)), _) => support.keep_open(next, after),
            (None, Some(feed)) => feed.give(position, live_result(result)).await,
            (None, None) => {}
        }
        Ok(())
    }

    fn save_status(&self) -> anyhow::Result<Option<Bytes>> {
        let state = self.state.as_ref().context(LOST)?;
        encode("the state", &Saved { position: self.position, state }).map(Some)
    }

    async fn after_task_completed(&mut self, counts: &Counts) -> anyhow::Result<TaskResult> {
        let state = self.state.take().context(LOST)?;
        let result = (self.finish)(state, counts)?;
        let data =
            serde_json::to_value(&result).context("the result of the task cannot be written as JSON")?;
        let reason = self.summary.as_ref().map(|summary| summary(&result, counts)).unwrap_or_default();
        Ok(TaskResult { code: 0, reason, data })
    }
}

fn ended<I: DeserializeOwned, O: DeserializeOwned>(result: &ResultOf) -> anyhow::Result<Ended<I, O>> {
    // An item that cannot be decoded is why its subtask failed. That is told, and harms nothing else.
    let item = |body: &Bytes| decode("the item", body).ok();
    Ok(match &result.outcome {
        Outcome::Succeeded(output) => {
            Ended::Succeeded(decode(format_args!("the output of subtask {}", result.id), &output.body)?)
        }
        Outcome::Failed { error, body } => Ended::Failed { item: item(body), error: error.clone() },
        Outcome::TimedOut { body } => Ended::TimedOut { item: item(body) },
        Outcome::Cancelled => Ended::Cancelled,
    })
}

fn live_result(result: &ResultOf) -> LiveResult {
    let output = match &result.outcome {
        Outcome::Succeeded(output) => Ok(output.body.clone()),
        Outcome::Failed { error, .. } => Err(error.clone()),
        Outcome::TimedOut { .. } => Err("it took longer than the subtask timeout".to_owned()),
        Outcome::Cancelled => Err("it was cancelled".to_owned()),
    };
    LiveResult { id: result.id, output }
}
