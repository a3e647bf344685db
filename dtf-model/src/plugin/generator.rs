//! The generator: splits a task into subtasks, lazily.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::InvalidInput;
use crate::key::ShardKey;

/// The largest body of a subtask, in bytes.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;

/// A subtask to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewSubtask {
    /// The input of the executor; at most [`MAX_BODY_BYTES`].
    pub body: Bytes,
    /// The key that keeps it together with others, if there is one: see [`crate::key`].
    pub key: Option<ShardKey>,
}

impl NewSubtask {
    /// A subtask with this body.
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), key: None }
    }

    /// The same, to go where others with this key go.
    ///
    /// ```
    /// use dtf_model::ShardKey;
    /// use dtf_model::plugin::NewSubtask;
    ///
    /// // All subtasks of a customer run on one executor, one at a time and in the order in which they are generated.
    /// let subtask = NewSubtask::new("a booking").with_key(ShardKey::new("customer 7").ordered());
    /// assert!(subtask.key.is_some_and(ShardKey::is_ordered));
    /// ```
    #[must_use]
    pub fn with_key(self, key: ShardKey) -> Self {
        Self { key: Some(key), ..self }
    }

    /// Checks that it fits.
    ///
    /// # Errors
    /// How large it is, and what is allowed.
    pub fn check(&self) -> Result<(), InvalidInput> {
        let bytes = self.body.len();
        if bytes <= MAX_BODY_BYTES {
            return Ok(());
        }
        Err(InvalidInput::OutOfRange {
            what: "the size of a subtask's body",
            got: format!("{bytes} bytes"),
            allowed: format!("at most {MAX_BODY_BYTES} bytes"),
        })
    }
}

/// A batch from a generator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Generated {
    /// The subtasks, in their order. An empty batch that is not finished means: nothing now, ask again.
    pub subtasks: Vec<NewSubtask>,
    /// True if these were the last ones.
    pub finished: bool,
}

/// Splits one task into subtasks.
///
/// The calls come one at a time: `begin`, then `next_subtasks` and `save_status` again and again, as fast as the backlog
/// drains, then `end` or `cancel`. When the process dies, the next one begins with the status that was saved together
/// with the last batch that was kept; what was emitted after it is emitted again, and counts once.
///
/// ```
/// use async_trait::async_trait;
/// use bytes::Bytes;
/// use dtf_model::plugin::{Generated, NewSubtask, TaskGenerator};
///
/// /// Generates the numbers below a limit.
/// struct Numbers { next: u64, limit: u64 }
///
/// #[async_trait]
/// impl TaskGenerator for Numbers {
///     async fn begin(&mut self, saved: Option<Bytes>) -> anyhow::Result<()> {
///         self.next = saved.map_or(Ok(0), |saved| serde_json::from_slice(&saved))?;
///         Ok(())
///     }
///
///     async fn next_subtasks(&mut self, most: usize) -> anyhow::Result<Generated> {
///         let end = self.limit.min(self.next + most as u64);
///         let subtasks = (self.next..end).map(|number| NewSubtask::new(number.to_string())).collect();
///         self.next = end;
///         Ok(Generated { subtasks, finished: end == self.limit })
///     }
///
///     fn save_status(&self) -> anyhow::Result<Option<Bytes>> {
///         Ok(Some(serde_json::to_vec(&self.next)?.into()))
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> anyhow::Result<()> {
/// let mut first = Numbers { next: 0, limit: 5 };
/// first.begin(None).await?;
/// assert_eq!(first.next_subtasks(3).await?.subtasks.len(), 3);
/// // Another process takes over, with what was saved together with the batch.
/// let mut second = Numbers { next: 0, limit: 5 };
/// second.begin(first.save_status()?).await?;
/// assert!(second.next_subtasks(3).await?.finished);
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait TaskGenerator: Send {
    /// Prepares to generate: from the start, or from the status saved last.
    async fn begin(&mut self, saved: Option<Bytes>) -> anyhow::Result<()>;

    /// The next subtasks, at most `most`. The same calls after the same `begin` must yield the same subtasks.
    ///
    /// A batch travels as one, so `most` is fewer for a task whose bodies have been large: 4 MiB together, going by the batches so
    /// far. Whose bodies differ much in size gives fewer by itself.
    async fn next_subtasks(&mut self, most: usize) -> anyhow::Result<Generated>;

    /// Returns the state that `begin` needs to continue behind the last batch; at most 64 KiB. `None` where generating
    /// cannot be continued, but only be started again: such a task must be one whose run never outlives its process.
    fn save_status(&self) -> anyhow::Result<Option<Bytes>>;

    /// Returns the time after which it is asked again when it had nothing to give, if no hint comes first. Default 200 ms; long where a hint
    /// follows whatever it could have to give.
    fn asks_again_after(&self) -> Duration {
        Duration::from_millis(200)
    }

    /// Returns the share that has been generated, from 0 to 1, if it is known. Anything else is taken for unknown.
    fn query_progress(&self) -> Option<f32> {
        None
    }

    /// The task was cancelled: stop and clean up.
    async fn cancel(&mut self) -> anyhow::Result<()> {
        Ok(())
    }

    /// The last subtask has been emitted: clean up.
    async fn end(&mut self) -> anyhow::Result<()> {
        Ok(())
    }
}
