//! Functions: what executes the items of a task.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use dtf_model::plugin::{ExecuteContext, ExecuteError, SubtaskResult, TaskExecutor};

use crate::exchange::{Exchange, Item, ItemOutcome, MAX_LOSSES};

/// Has items executed by remote workers.
pub(crate) struct RemoteFunction {
    pub(crate) exchange: Exchange,
    pub(crate) name: Arc<str>,
    pub(crate) timeout: Duration,
    pub(crate) attempts: Attempts,
}

/// The number of attempts that an item has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempts(pub(crate) u32);

impl Attempts {
    /// Returns the failure of an attempt, which is final where it was the last one.
    pub(crate) fn failed(self, context: &ExecuteContext, message: String, retryable: bool) -> ExecuteError {
        let error = anyhow::Error::msg(message);
        let is_last = context.attempt + 1 >= self.0;
        if retryable && !is_last { ExecuteError::Retryable(error) } else { ExecuteError::Final(error) }
    }
}

/// The time for which no worker may have a function before its items go back to their tasks: a worker that restarts finds them here.
const NOBODY: Duration = Duration::from_secs(2);

impl RemoteFunction {
    /// Waits until no worker has had the function for a while.
    async fn until_nobody_has_it(&self) {
        let mut functions = self.exchange.functions();
        let has = |functions: &Arc<[Arc<str>]>| functions.binary_search(&self.name).is_ok();
        loop {
            // The exchange outlives the item.
            if functions.wait_for(|functions| !has(functions)).await.is_err() {
                return;
            }
            let back = tokio::time::timeout(NOBODY, functions.wait_for(has)).await.is_ok();
            if !back {
                return;
            }
        }
    }
}

#[async_trait]
impl TaskExecutor for RemoteFunction {
    fn may_block(&self) -> bool {
        false
    }

    /// All of a parcel: it waits for workers, which take as many as they can run.
    fn at_once(&self) -> usize {
        usize::MAX
    }

    async fn execute(&self, body: &Bytes, context: &ExecuteContext) -> Result<SubtaskResult, ExecuteError> {
        let item = item(&self.name, self.timeout, body, context);
        let run = self.exchange.run(item, context.cancelled.cancelled());
        let outcome = tokio::select! {
            outcome = tokio::time::timeout(self.timeout, run) => outcome,
            () = self.until_nobody_has_it() => {
                let nobody = anyhow::anyhow!("no connected worker has the function {}", self.name);
                return Err(ExecuteError::Elsewhere(nobody));
            }
        };
        match outcome {
            Ok(outcome) => concluded(outcome, self.attempts, context),
            Err(_) => {
                let late = format!("no worker was done with it within {:?}", self.timeout);
                Err(self.attempts.failed(context, late, true))
            }
        }
    }
}

/// Returns the item of an execution, for the exchange.
pub(crate) fn item(function: &Arc<str>, timeout: Duration, body: &Bytes, context: &ExecuteContext) -> Item {
    Item {
        function: function.clone(),
        subtask: context.id,
        attempt: context.attempt,
        timeout,
        body: body.clone(),
        key: context.key,
    }
}

/// Returns the result of an execution whose item had this outcome in the exchange.
pub(crate) fn concluded(
    outcome: ItemOutcome,
    attempts: Attempts,
    context: &ExecuteContext,
) -> Result<SubtaskResult, ExecuteError> {
    let failed = |message, retryable| Err(attempts.failed(context, message, retryable));
    match outcome {
        ItemOutcome::Succeeded(result) => Ok(SubtaskResult::new(result)),
        ItemOutcome::Failed { message, retryable } => failed(message, retryable),
        ItemOutcome::Lost => failed(format!("{MAX_LOSSES} workers were lost while they ran it"), false),
        ItemOutcome::Cancelled => failed("cancelled".to_owned(), false),
    }
}
