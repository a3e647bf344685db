//! A source whose items are counted: its position is the number of the next one.

use std::ops::Range;

use anyhow::Context;
use async_trait::async_trait;
use bytes::Bytes;
use dtf_model::plugin::{Generated, NewSubtask, TaskGenerator};

/// The most bytes of a batch.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// Items by number; `item` writes one as JSON.
pub(super) struct Counted<F> {
    left: Range<u64>,
    item: F,
}

impl<F> Counted<F> {
    pub(super) fn new(all: Range<u64>, item: F) -> Self {
        Self { left: all, item }
    }
}

#[async_trait]
impl<F: Fn(u64) -> String + Send> TaskGenerator for Counted<F> {
    async fn begin(&mut self, saved: Option<Bytes>) -> anyhow::Result<()> {
        if let Some(saved) = saved {
            self.left.start = str::from_utf8(&saved)?.parse().context("the saved position is no number")?;
        }
        Ok(())
    }

    async fn next_subtasks(&mut self, most: usize) -> anyhow::Result<Generated> {
        let (mut subtasks, mut bytes) = (Vec::new(), 0);
        while subtasks.len() < most && bytes < BATCH_BYTES {
            let Some(number) = self.left.next() else { break };
            let body = (self.item)(number);
            bytes += body.len();
            subtasks.push(NewSubtask::new(body));
        }
        Ok(Generated { subtasks, finished: self.left.is_empty() })
    }

    fn save_status(&self) -> anyhow::Result<Option<Bytes>> {
        Ok(Some(self.left.start.to_string().into()))
    }
}
