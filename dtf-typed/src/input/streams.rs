//! Items of an asynchronous stream, resumed by their position.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use serde::Serialize;

use super::Source;
use crate::codec::{decode, encode};

/// The longest wait for an item within one call. An idle stream then gives an empty batch and is asked again.
const PATIENCE: Duration = Duration::from_secs(10);

/// A source over a stream that is opened at a position.
pub(crate) struct Streamed<Open, I> {
    open: Open,
    stream: Option<BoxStream<'static, anyhow::Result<I>>>,
    position: u64,
}

impl<Open, I> Streamed<Open, I> {
    pub(crate) fn new(open: Open) -> Self {
        Self { open, stream: None, position: 0 }
    }
}

#[async_trait]
impl<Open, I> Source for Streamed<Open, I>
where
    I: Serialize + Send + 'static,
    Open: Fn(u64) -> BoxStream<'static, anyhow::Result<I>> + Send,
{
    type Item = I;

    async fn begin(&mut self, saved: Option<Bytes>) -> anyhow::Result<()> {
        self.position = saved.map_or(Ok(0), |saved| decode("the saved position", &saved))?;
        self.stream = Some((self.open)(self.position));
        Ok(())
    }

    async fn take(&mut self, most: usize) -> anyhow::Result<(Vec<I>, bool)> {
        let Some(stream) = &mut self.stream else { return Ok((Vec::new(), true)) };
        let mut items = Vec::new();
        // The first item is waited for; of the others, only those that are there already are taken.
        let mut next = match tokio::time::timeout(PATIENCE, stream.next()).await {
            Ok(next) => Some(next),
            Err(_) => return Ok((items, false)),
        };
        while let Some(got) = next {
            let Some(item) = got.transpose()? else {
                self.stream = None;
                break;
            };
            items.push(item);
            self.position += 1;
            next = if items.len() < most { stream.next().now_or_never() } else { None };
        }
        Ok((items, self.stream.is_none()))
    }

    fn save(&self) -> anyhow::Result<Bytes> {
        encode("the position", &self.position)
    }
}
