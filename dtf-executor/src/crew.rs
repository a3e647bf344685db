//! What all shards of a process share: its slots, and how many parcels each of them may have in hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::ExecutorConfig;

/// The right to run as the only suspect.
pub(crate) struct Alone {
    _permit: Option<OwnedSemaphorePermit>,
}

pub(crate) struct Crew {
    config: ExecutorConfig,
    slots: Arc<Semaphore>,
    alone: Arc<Semaphore>,
    held: AtomicUsize,
}

impl Crew {
    pub(crate) fn new(config: ExecutorConfig) -> Arc<Self> {
        let (slots, alone) = (Arc::new(Semaphore::new(config.slots)), Arc::new(Semaphore::new(1)));
        Arc::new(Self { config, slots, alone, held: AtomicUsize::new(0) })
    }

    pub(crate) fn config(&self) -> ExecutorConfig {
        self.config
    }

    pub(crate) fn slots(&self) -> &Arc<Semaphore> {
        &self.slots
    }

    pub(crate) async fn alone(&self) -> Alone {
        // It is never closed.
        Alone { _permit: self.alone.clone().acquire_owned().await.ok() }
    }

    /// A shard is held, until what is given back is dropped.
    pub(crate) fn hold(self: &Arc<Self>) -> HeldShard {
        self.held.fetch_add(1, Ordering::Relaxed);
        HeldShard(self.clone())
    }

    /// How many parcels each shard may have in hand: as many as the settings say, and more where all shards of this process
    /// together would otherwise keep slots idle: one that runs and one that waits for each slot.
    pub(crate) fn window(&self) -> u32 {
        window(self.config, self.held.load(Ordering::Relaxed))
    }
}

fn window(config: ExecutorConfig, held: usize) -> u32 {
    let needed = (2 * config.slots).div_ceil(held.max(1));
    config.window.max(u32::try_from(needed).unwrap_or(u32::MAX))
}

/// A shard that this process holds.
pub(crate) struct HeldShard(Arc<Crew>);

impl Drop for HeldShard {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_windows_of_all_shards_keep_all_slots_busy() {
        let config = |slots, window| ExecutorConfig { slots, window, ..ExecutorConfig::default() };
        assert_eq!(window(config(4, 2), 64), 2);
        assert_eq!(window(config(4, 3), 64), 3);
        assert_eq!(window(config(100, 2), 8), 25);
        assert_eq!(window(config(1000, 2), 1), 2000);
        assert_eq!(window(config(1, 2), 0), 2);
        for slots in 1..200 {
            for held in 1..70 {
                assert!(held * window(config(slots, 1), held) as usize >= 2 * slots);
            }
        }
    }
}
