//! The function `exec`: a command of the process that executes the item.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use dtf_model::plugin::{ExecuteContext, ExecuteError, SubtaskResult, TaskExecutor};

use crate::function::Attempts;

/// The reason why a command has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// It failed, and may succeed at another attempt.
    Retryable(String),
    /// It failed, and would fail again.
    Final(String),
    /// It cannot be run in this process now: the item waits for its turn again, at no charge.
    Elsewhere(String),
}

/// The commands that a process may run for items, by name.
///
/// An implementor runs no other command than those it names, ends a command when it is cancelled and when its time is over, and when the
/// future is dropped.
#[async_trait]
pub trait Commands: Send + Sync + 'static {
    /// Returns the names.
    fn names(&self) -> Vec<String>;

    /// Runs a command for an item, which is JSON, for at most so long, and returns its result as JSON.
    async fn run(
        &self,
        name: &str,
        item: &Bytes,
        timeout: Duration,
        context: &ExecuteContext,
    ) -> Result<Bytes, CommandError>;
}

/// Has items executed by a command.
pub(crate) struct CommandFunction {
    pub(crate) commands: Arc<dyn Commands>,
    pub(crate) name: String,
    pub(crate) timeout: Duration,
    pub(crate) attempts: Attempts,
}

#[async_trait]
impl TaskExecutor for CommandFunction {
    async fn execute(&self, body: &Bytes, context: &ExecuteContext) -> Result<SubtaskResult, ExecuteError> {
        match self.commands.run(&self.name, body, self.timeout, context).await {
            Ok(result) => Ok(SubtaskResult::new(result)),
            Err(CommandError::Retryable(why)) => Err(self.attempts.failed(context, why, true)),
            Err(CommandError::Final(why)) => Err(self.attempts.failed(context, why, false)),
            Err(CommandError::Elsewhere(why)) => Err(ExecuteError::Elsewhere(anyhow::Error::msg(why))),
        }
    }
}
