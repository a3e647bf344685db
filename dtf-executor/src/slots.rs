//! The slots that all shards of a process share, and the number of parcels that each shard may have in hand.

use std::sync::Arc;

use dtf_model::shard::ProcessCredit;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use uuid::Uuid;

use crate::ExecutorConfig;

/// The right to run as the only suspect.
pub(crate) struct ExclusiveSlot {
    _permit: Option<OwnedSemaphorePermit>,
}

/// The parcels in hand for each slot, one that runs and those that wait for it to end.
const IN_HAND: usize = 4;
/// The fewest parcels that a process has in hand when there are as many to be had.
const IN_HAND_AT_LEAST: usize = 16;

pub(crate) struct Slots {
    config: ExecutorConfig,
    slots: Arc<Semaphore>,
    alone: Arc<Semaphore>,
    process: u64,
    window: watch::Sender<u32>,
}

impl Slots {
    pub(crate) fn new(config: ExecutorConfig) -> Arc<Self> {
        let (slots, alone) = (Arc::new(Semaphore::new(config.slots)), Arc::new(Semaphore::new(1)));
        let process = Uuid::new_v4().as_u64_pair().0;
        let window = watch::Sender::new(window(config, 0));
        Arc::new(Self { config, slots, alone, process, window })
    }

    pub(crate) fn config(&self) -> ExecutorConfig {
        self.config
    }

    pub(crate) fn slots(&self) -> &Arc<Semaphore> {
        &self.slots
    }

    pub(crate) async fn alone(&self) -> ExclusiveSlot {
        // It is never closed.
        ExclusiveSlot { _permit: self.alone.clone().acquire_owned().await.ok() }
    }

    /// The number of parcels that each shard may have in hand: as many as the settings say, and more where all shards of this
    /// process together would otherwise keep slots idle.
    pub(crate) fn window(&self) -> u32 {
        *self.window.borrow()
    }

    /// Hears when the window changes.
    pub(crate) fn windows(&self) -> watch::Receiver<u32> {
        self.window.subscribe()
    }

    /// The number of parcels that all shards together may have in hand.
    pub(crate) fn credit(&self) -> ProcessCredit {
        let window = u32::try_from(in_hand(self.config)).unwrap_or(u32::MAX);
        ProcessCredit { process: self.process, window }
    }

    /// This process holds so many shards.
    pub(crate) fn share_between(&self, shards: usize) {
        let now = window(self.config, shards);
        self.window.send_if_modified(|window| std::mem::replace(window, now) != now);
    }
}

fn in_hand(config: ExecutorConfig) -> usize {
    (IN_HAND * config.slots).max(IN_HAND_AT_LEAST)
}

fn window(config: ExecutorConfig, held: usize) -> u32 {
    let needed = in_hand(config).div_ceil(held.max(1));
    config.window.max(u32::try_from(needed).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_windows_of_all_shards_keep_all_slots_busy() {
        let config = |slots, window| ExecutorConfig { slots, window, ..ExecutorConfig::default() };
        assert_eq!(window(config(4, 2), 64), 2);
        assert_eq!(window(config(4, 3), 64), 3);
        assert_eq!(window(config(100, 2), 8), 50);
        assert_eq!(window(config(1000, 2), 1), 4000);
        assert_eq!(window(config(1, 2), 0), 16);
        for slots in 1..200 {
            for held in 1..70 {
                assert!(held * window(config(slots, 1), held) as usize >= in_hand(config(slots, 1)));
            }
        }
    }
}
