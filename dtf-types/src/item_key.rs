//! The keys of items: which of them go to one worker, and whether one at a time.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use dtf_model::key::ShardKey;
use dtf_model::plugin::{Generated, NewSubtask, TaskGenerator};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The key that the items of a task have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ItemKey {
    /// The JSON pointer (RFC 6901) of the value in an item that is its key: empty for the whole item. Items without one share the key `null`.
    pub at: String,
    /// True if items of one key run one at a time, in the order of the source. Default false: they go to one worker, where it has room.
    #[serde(default)]
    pub ordered: bool,
}

impl ItemKey {
    pub(crate) fn is_allowed(&self) -> bool {
        self.at.is_empty() || self.at.starts_with('/')
    }

    fn of(&self, body: &[u8]) -> anyhow::Result<ShardKey> {
        let item: Value = serde_json::from_slice(body)?;
        let key = ShardKey::new(item.pointer(&self.at).unwrap_or(&Value::Null).to_string());
        Ok(if self.ordered { key.ordered() } else { key })
    }

    /// Returns a subtask with the key that belongs to its body.
    pub(crate) fn keyed(&self, subtask: NewSubtask) -> anyhow::Result<NewSubtask> {
        let key = self.of(&subtask.body)?;
        Ok(subtask.with_key(key))
    }
}

/// A generator whose subtasks have keys.
pub(crate) struct Keyed {
    pub(crate) inner: Box<dyn TaskGenerator>,
    pub(crate) key: ItemKey,
}

#[async_trait]
impl TaskGenerator for Keyed {
    async fn begin(&mut self, saved: Option<Bytes>) -> anyhow::Result<()> {
        self.inner.begin(saved).await
    }

    async fn next_subtasks(&mut self, most: usize) -> anyhow::Result<Generated> {
        let Generated { subtasks, finished } = self.inner.next_subtasks(most).await?;
        let subtasks =
            subtasks.into_iter().map(|subtask| self.key.keyed(subtask)).collect::<Result<_, _>>()?;
        Ok(Generated { subtasks, finished })
    }

    fn save_status(&self) -> anyhow::Result<Option<Bytes>> {
        self.inner.save_status()
    }

    fn asks_again_after(&self) -> Duration {
        self.inner.asks_again_after()
    }

    fn query_progress(&self) -> Option<f32> {
        self.inner.query_progress()
    }

    async fn cancel(&mut self) -> anyhow::Result<()> {
        self.inner.cancel().await
    }

    async fn end(&mut self) -> anyhow::Result<()> {
        self.inner.end().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_the_value_at_its_place() {
        let at =
            |at: &str, body: &str| ItemKey { at: at.to_owned(), ordered: false }.of(body.as_bytes()).unwrap();
        assert_eq!(at("/a/0", r#"{"a": ["x"]}"#), at("", r#" "x" "#));
        assert_ne!(at("/a", r#"{"a": 1}"#), at("/a", r#"{"a": "1"}"#), "a number is no string");
        assert_eq!(at("/a", "{}"), at("/a", "[]"), "what has none shares one");
        let ordered = ItemKey { at: String::new(), ordered: true }.of(b"1").unwrap();
        assert!(ordered.is_ordered() && ordered != at("", "1"));
        assert!(ItemKey { at: String::new(), ordered: true }.of(b"{").is_err());
    }
}
