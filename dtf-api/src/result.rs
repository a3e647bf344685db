//! The results that are kept with a task.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// The results to list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct ResultQuery {
    /// The number of the first result: one more than the last `number` of the page before. Default 0.
    pub from: u64,
    /// The most results of the page, 1 to 1000. Default 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

/// A result that is kept.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct KeptResult {
    /// Its number, in the order of collection.
    pub number: u64,
    /// The result.
    #[schema(value_type = Value)]
    pub value: Box<serde_json::value::RawValue>,
}

/// A page of results, in the order of their collection.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ResultPage {
    /// The results.
    pub results: Vec<KeptResult>,
    /// True where another page may follow, now or while the task runs.
    pub more: bool,
}
