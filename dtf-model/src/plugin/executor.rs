//! The executor: does the work of a subtask.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::ids::SubtaskId;
use crate::key::ShardKey;

/// The result of a subtask that was executed. The fields are the original framework's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubtaskResult {
    /// The plugin's own code.
    pub code: u32,
    /// The plugin's own message.
    pub msg: String,
    /// The plugin's own data, for the collector.
    pub body: Bytes,
}

impl SubtaskResult {
    /// A result of code 0 with this body.
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..Self::default() }
    }
}

/// Why a subtask could not be executed.
///
/// It is no [`std::error::Error`] itself, like [`anyhow::Error`], so that `?` can make one of any error.
#[derive(Debug)]
pub enum ExecuteError {
    /// It may work the next time. This is what `?` makes of any error.
    Retryable(anyhow::Error),
    /// It will not work the next time either.
    Final(anyhow::Error),
    /// It cannot be executed in this process now, though it could be elsewhere or later: it waits for its turn again, at no charge.
    Elsewhere(anyhow::Error),
}

impl fmt::Display for ExecuteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Retryable(error) | Self::Final(error) | Self::Elsewhere(error) => write!(f, "{error:#}"),
        }
    }
}

impl ExecuteError {
    /// An error that no retry mends.
    pub fn final_error(error: impl Into<anyhow::Error>) -> Self {
        Self::Final(error.into())
    }
}

impl<E: Into<anyhow::Error>> From<E> for ExecuteError {
    fn from(error: E) -> Self {
        Self::Retryable(error.into())
    }
}

/// The surroundings of one execution, besides the body.
#[derive(Clone, Debug)]
pub struct ExecuteContext {
    /// The subtask. Its idempotency key is the same for every execution of it.
    pub id: SubtaskId,
    /// Its shard key, if it has one: others with this key come here too, as long as the shard stays.
    pub key: Option<ShardKey>,
    /// The number of earlier attempts that failed.
    pub attempt: u32,
    /// Fires when the subtask shall stop, as its task was cancelled. A subtask that stops for it returns whatever it likes;
    /// one that does not is dropped after a grace period. (A process that is to end lets subtasks go on for a moment, then
    /// drops them; they are run again elsewhere.)
    pub cancelled: CancellationToken,
}

/// Executes the subtasks of one task, several at a time.
///
/// A subtask may be executed more than once, also at the same time in two places, when a process is given up for
/// dead that is not; it is counted once.
///
/// ```
/// use async_trait::async_trait;
/// use bytes::Bytes;
/// use dtf_model::plugin::{ExecuteContext, ExecuteError, SubtaskResult, TaskExecutor};
///
/// /// Squares the number in a body.
/// struct Square;
///
/// #[async_trait]
/// impl TaskExecutor for Square {
///     async fn execute(&self, body: &Bytes, _context: &ExecuteContext) -> Result<SubtaskResult, ExecuteError> {
///         // A body that is no number will be none at the next attempt either.
///         let number: u64 = serde_json::from_slice(body).map_err(ExecuteError::final_error)?;
///         Ok(SubtaskResult::new((number * number).to_string()))
///     }
/// }
/// ```
#[async_trait]
pub trait TaskExecutor: Send + Sync {
    /// Returns true if it may block its thread. Default true: its process keeps another thread ready for what it has to do meanwhile, at a
    /// cost of some ten microseconds each time that the executor goes on. One that only waits for others says false.
    fn may_block(&self) -> bool {
        true
    }

    /// Returns the number of a parcel's subtasks that are executed at once. Default 1: they come one after the other. One that only waits
    /// for others, and does not block its thread, may say more; those with an ordered key come one after the other all the same.
    fn at_once(&self) -> usize {
        1
    }

    /// Executes one subtask. Its future is dropped when its time is over.
    async fn execute(&self, body: &Bytes, context: &ExecuteContext) -> Result<SubtaskResult, ExecuteError>;
}
