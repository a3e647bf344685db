//! Items that are fed into open tasks.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// The place of items among those of their producer. Without one, items that are sent again are there twice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct FeedQuery {
    /// The producer, by a name of its own: 1 to 100 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub producer: Option<String>,
    /// The number of items that the producer fed to the task before these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
}

/// The producer whose offset is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct ProducerQuery {
    /// The producer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub producer: Option<String>,
}

/// Items that were fed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Fed {
    /// The number of items of the request that are new: the others had been taken before.
    pub new: u64,
}

/// The items of a task, all together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ItemFeed {
    /// The number of items that were fed.
    pub items: u64,
    /// The number of items that are kept.
    pub kept: u64,
    /// True once no more can be fed.
    pub closed: bool,
    /// The next offset of the producer that was asked for; 0 where it has fed none.
    pub next_offset: u64,
}
