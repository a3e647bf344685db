//! This process as a gateway of remote workers: its exchange, and the texts of its tickets.

use std::sync::Arc;

use dtf_control::Client;
use dtf_model::plugin::SubtaskResult;
use dtf_model::queue::ExecutorQueue;
use dtf_types::Exchange;
use dtf_types::exchange::{ItemOutcome, News, Report, Ticket, TicketKey};
use futures::{StreamExt, TryStreamExt, stream};

use crate::problem::Failed;

/// The most late successes that are counted at a time.
const COUNTED_TOGETHER: usize = 64;

/// A process with the executor role, as remote workers meet it.
pub(super) struct LocalGateway {
    pub(super) exchange: Exchange,
    /// The name of the process.
    pub(super) process: Arc<str>,
    queues: Arc<dyn ExecutorQueue>,
}

impl LocalGateway {
    pub(super) fn new(exchange: Exchange, process: &str, queues: Arc<dyn ExecutorQueue>) -> Self {
        Self { exchange, process: process.into(), queues }
    }

    /// Puts successes into the books that this process's executor does not wait for: their executor has died, or has given them up.
    /// Returns the tickets of all reports that nobody can use.
    pub(super) async fn count_late(
        &self,
        client: &Client,
        reports: Vec<Report>,
    ) -> Result<Vec<Ticket>, Failed> {
        let count = |Report { ticket, outcome }: Report| async move {
            let ItemOutcome::Succeeded(result) = outcome else { return Ok::<_, Failed>(Some(ticket)) };
            let result = SubtaskResult::new(result);
            let is_counted = client.count_late_success(&*self.queues, ticket.subtask, result).await?;
            Ok((!is_counted).then_some(ticket))
        };
        let counted = stream::iter(reports).map(count).buffered(COUNTED_TOGETHER);
        counted.try_filter_map(async |unknown| Ok(unknown)).try_collect().await
    }
}

/// The texts of the tickets that news names.
pub(super) fn dropped(key: &TicketKey, news: &News) -> Vec<String> {
    news.dropped.iter().map(|ticket| key.sign(*ticket)).collect()
}
