//! The results that are kept with a task.

use dtf_api as api;
use dtf_model::TaskId;

use super::{App, page};
use crate::convert;
use crate::problem::Failed;

impl App {
    /// Returns a page of the results that are kept with a task, in the order of their collection.
    ///
    /// # Errors
    /// The task does not exist, the page is too large, or a store failed.
    pub async fn results(&self, id: u64, query: &api::ResultQuery) -> Result<api::ResultPage, Failed> {
        let most = page(query.limit, 100)?;
        self.check_task(id).await?;
        let kept = self.client.kept_results(TaskId(id), query.from, most).await?;
        let more = kept.len() == most as usize;
        let results = kept.into_iter().map(|(number, body)| {
            let value = convert::json(&body, "a result")?;
            Ok(api::KeptResult { number, value })
        });
        Ok(api::ResultPage { results: results.collect::<Result<_, Failed>>()?, more })
    }
}
