//! The results that are kept with a task.

use dtf_api as api;
use dtf_api::Code;
use dtf_model::TaskId;
use serde_json::value::RawValue;

use super::{App, page};
use crate::problem::Failed;

impl App {
    /// Returns a page of the results that are kept with a task, in the order of their collection.
    ///
    /// # Errors
    /// The task does not exist, the page is too large, or a store failed.
    pub async fn results(&self, id: u64, query: &api::ResultQuery) -> Result<api::ResultPage, Failed> {
        let most = page(query.limit, 100)?;
        if !self.caller().groups.is_empty() {
            self.task(id).await?;
        }
        let kept = self.client.kept_results(TaskId(id), query.from, most).await?;
        let more = kept.len() == most as usize;
        let results = kept.into_iter().map(|(number, body)| {
            let value = String::from_utf8(body.to_vec()).map_err(|error| error.to_string());
            let value = value.and_then(|text| RawValue::from_string(text).map_err(|error| error.to_string()));
            let value =
                value.map_err(|error| Failed::new(Code::Refused, format!("a result is no JSON: {error}")))?;
            Ok(api::KeptResult { number, value })
        });
        Ok(api::ResultPage { results: results.collect::<Result<_, Failed>>()?, more })
    }
}
