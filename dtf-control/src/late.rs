//! Successes that come when their executor has gone: whoever hears of them puts them into the books.

use std::time::Duration;

use dtf_model::plugin::SubtaskResult;
use dtf_model::queue::{ExecutorQueue, Outcome, ParcelId, ParcelReport, Report};
use dtf_model::{StoreError, SubtaskId};

use crate::client::Client;
use crate::client_error::ClientError;

impl Client {
    /// Counts the success of a subtask for an executor that cannot report it any more, or that has given the subtask up. A success counts
    /// from any attempt, once. Says whether it was counted: not if the subtask has an outcome already, or its task has ended.
    ///
    /// # Errors
    /// The store failed; then the same call may succeed later.
    pub async fn count_late_success(
        &self,
        queues: &dyn ExecutorQueue,
        id: SubtaskId,
        result: SubtaskResult,
    ) -> Result<bool, ClientError> {
        let report = ParcelReport {
            parcel: ParcelId { epoch: id.epoch, first: id.seq },
            attempt: 0,
            // That of no parcel that runs: who executes the subtask now reports it, and is passed over.
            executor_losses: u32::MAX,
            reports: vec![Report::Ended(Outcome::Succeeded(result))],
            together: 1,
            busy: Duration::ZERO,
        };
        match queues.complete(id.task, id.run, report).await {
            Ok(reported) if reported.counted > 0 => {
                let context = self.context();
                context.wake.notify(context.shape.collection(id.task), id.task);
                Ok(true)
            }
            Ok(_) | Err(StoreError::Gone { .. } | StoreError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
