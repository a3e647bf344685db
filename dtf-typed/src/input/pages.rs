//! Items that come in pages, resumed by the cursor of a page.

use std::collections::VecDeque;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Source;
use crate::codec::{decode, encode};

/// One page of items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<I, C> {
    /// The items of the page, in their order.
    pub items: Vec<I>,
    /// The cursor of the next page; `None` behind the last page.
    pub next: Option<C>,
}

/// The saved state: the page that is being taken, and the number of its items taken.
#[derive(Serialize, Deserialize)]
struct At<C> {
    cursor: Option<C>,
    taken: usize,
}

/// A source over pages.
pub(crate) struct Pages<Fetch, I, C> {
    fetch: Fetch,
    at: At<C>,
    /// The rest of the page that was fetched, and the cursor of the next one.
    page: Option<(VecDeque<I>, Option<C>)>,
    finished: bool,
}

impl<Fetch, I, C> Pages<Fetch, I, C> {
    pub(crate) fn new(fetch: Fetch) -> Self {
        Self { fetch, at: At { cursor: None, taken: 0 }, page: None, finished: false }
    }
}

#[async_trait]
impl<Fetch, I, C> Source for Pages<Fetch, I, C>
where
    I: Serialize + Send + 'static,
    C: Clone + Serialize + DeserializeOwned + Send + Sync + 'static,
    Fetch: Fn(Option<C>) -> BoxFuture<'static, anyhow::Result<Page<I, C>>> + Send + Sync,
{
    type Item = I;

    async fn begin(&mut self, saved: Option<Bytes>) -> anyhow::Result<()> {
        if let Some(saved) = saved {
            self.at = decode("the saved cursor", &saved)?;
        }
        Ok(())
    }

    async fn take(&mut self, most: usize) -> anyhow::Result<(Vec<I>, bool)> {
        let mut items = Vec::new();
        while items.is_empty() && !self.finished {
            if self.page.is_none() {
                let page = (self.fetch)(self.at.cursor.clone()).await?;
                anyhow::ensure!(
                    page.items.len() >= self.at.taken,
                    "a page has {} items, and {} were taken from it before; it must have the same items each time",
                    page.items.len(),
                    self.at.taken
                );
                let rest = VecDeque::from(page.items).split_off(self.at.taken);
                self.page = Some((rest, page.next));
            }
            let Some((rest, next)) = &mut self.page else { continue };
            let taken = rest.len().min(most);
            items.extend(rest.drain(..taken));
            self.at.taken += taken;
            if rest.is_empty() {
                match next.take() {
                    Some(cursor) => self.at = At { cursor: Some(cursor), taken: 0 },
                    None => self.finished = true,
                }
                self.page = None;
            }
        }
        Ok((items, self.finished))
    }

    fn save(&self) -> anyhow::Result<Bytes> {
        encode("the cursor", &self.at)
    }
}
