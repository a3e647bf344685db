//! Items of an iterator, resumed by their position.

use std::iter::Peekable;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Serialize;

use super::Source;
use crate::codec::{decode, encode};

/// A source over an iterator whose items may be errors.
pub(crate) struct Positions<It: Iterator> {
    items: Peekable<It>,
    /// The number of items, where the iterator knows it.
    total: Option<usize>,
    /// The number of items taken.
    position: usize,
}

impl<It: Iterator> Positions<It> {
    pub(crate) fn new(items: It) -> Self {
        let (least, most) = items.size_hint();
        Self { items: items.peekable(), total: most.filter(|most| *most == least), position: 0 }
    }
}

#[async_trait]
impl<I, It> Source for Positions<It>
where
    I: Serialize + Send + 'static,
    It: Iterator<Item = anyhow::Result<I>> + Send,
{
    type Item = I;

    async fn begin(&mut self, saved: Option<Bytes>) -> anyhow::Result<()> {
        let Some(saved) = saved else { return Ok(()) };
        self.position = decode("the saved position", &saved)?;
        if let Some(skipped) = self.position.checked_sub(1) {
            let last = self.items.nth(skipped);
            anyhow::ensure!(
                last.is_some(),
                "the input has fewer than {} items now; it must give the same items each time",
                self.position
            );
        }
        Ok(())
    }

    async fn take(&mut self, most: usize) -> anyhow::Result<(Vec<I>, bool)> {
        let items = self.items.by_ref().take(most).collect::<anyhow::Result<Vec<I>>>()?;
        self.position += items.len();
        Ok((items, self.items.peek().is_none()))
    }

    fn save(&self) -> anyhow::Result<Bytes> {
        encode("the position", &self.position)
    }

    fn progress(&self) -> Option<f32> {
        self.total.map(|total| self.position as f32 / total.max(1) as f32)
    }
}
