//! The items of a task, and the generator that makes subtasks of them.

mod pages;
mod positions;
mod streams;

use async_trait::async_trait;
use bytes::Bytes;
use dtf_model::ShardKey;
use dtf_model::plugin::{Generated, NewSubtask, TaskGenerator};
use serde::Serialize;

use crate::codec::encode;

pub use pages::Page;
pub(crate) use pages::Pages;
pub(crate) use positions::Positions;
pub(crate) use streams::Streamed;

/// A source of items that can be resumed.
#[async_trait]
pub(crate) trait Source: Send {
    /// The type of the items.
    type Item: Serialize + Send + 'static;

    /// Begins at the start, or at a saved state.
    async fn begin(&mut self, saved: Option<Bytes>) -> anyhow::Result<()>;

    /// Returns at most `most` further items, and says whether they are the last.
    async fn take(&mut self, most: usize) -> anyhow::Result<(Vec<Self::Item>, bool)>;

    /// Returns the state behind the last item that was taken.
    fn save(&self) -> anyhow::Result<Bytes>;

    /// Returns the share of the items that have been taken, where it is known.
    fn progress(&self) -> Option<f32> {
        None
    }
}

/// A closure that gives the shard key of an item.
pub(crate) type KeyOf<I> = std::sync::Arc<dyn Fn(&I) -> ShardKey + Send + Sync>;

/// The generator over a source.
pub(crate) struct SourceGenerator<S: Source> {
    pub(crate) source: S,
    pub(crate) key: Option<KeyOf<S::Item>>,
}

#[async_trait]
impl<S: Source> TaskGenerator for SourceGenerator<S> {
    async fn begin(&mut self, saved: Option<Bytes>) -> anyhow::Result<()> {
        self.source.begin(saved).await
    }

    async fn next_subtasks(&mut self, most: usize) -> anyhow::Result<Generated> {
        let (items, finished) = self.source.take(most).await?;
        let subtask = |item: &S::Item| -> anyhow::Result<NewSubtask> {
            Ok(NewSubtask { body: encode("the item", item)?, key: self.key.as_ref().map(|key| key(item)) })
        };
        let subtasks = items.iter().map(subtask).collect::<anyhow::Result<_>>()?;
        Ok(Generated { subtasks, finished })
    }

    fn save_status(&self) -> anyhow::Result<Option<Bytes>> {
        self.source.save().map(Some)
    }

    fn query_progress(&self) -> Option<f32> {
        self.source.progress()
    }
}
