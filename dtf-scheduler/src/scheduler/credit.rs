//! Reading the room of shards: of those that hints have named, and now and then of all.
//!
//! Executors say when a shard has got room, so what is known of the others still holds. A hint may be lost with the process
//! that sent it; all are read again after a while, as long as something is pending.

use std::collections::BTreeSet;
use std::time::Duration;

use dtf_model::shard::ShardQueue;
use dtf_model::wake::Hint;
use dtf_model::{Shard, StoreError};
use tokio::time::Instant;

use super::capacity::Capacity;

/// The shortest time between two readings of all shards that no loss of hints asked for. Hints are lost with a process that is
/// killed, whose shards their next holder names, and with a connection, whose listeners hear of it; so this is a precaution.
const ALL_AGAIN: Duration = Duration::from_secs(10);
/// Reading all shards again takes no more than this part of the time.
const PART_OF_TIME: u32 = 30;

/// The shards whose room is to be read.
#[derive(Debug)]
pub(super) struct StaleCredit {
    shards: u32,
    all: bool,
    some: BTreeSet<Shard>,
    all_due: Instant,
}

impl StaleCredit {
    /// All of so many.
    pub(super) fn all_of(shards: u32) -> Self {
        Self { shards, all: true, some: BTreeSet::new(), all_due: Instant::now() }
    }

    /// Notes a hint.
    pub(super) fn hear(&mut self, hint: &Hint) {
        match hint {
            Hint::Tasks(named) => {
                let named = named.iter().filter_map(|named| Shard::from_hint(*named));
                self.some.extend(named.filter(|shard| shard.0 < self.shards));
            }
            Hint::Anything => self.all = true,
        }
    }

    /// Notes that the room of a shard differs from what is known of it.
    pub(super) fn add(&mut self, shard: Shard) {
        self.some.insert(shard);
    }

    /// Notes that nothing is certain.
    pub(super) fn add_all(&mut self) {
        self.all = true;
    }

    /// Reads what is to be read.
    ///
    /// # Errors
    /// The store's. What was to be read still is.
    pub(super) async fn read(
        &mut self,
        store: &dyn ShardQueue,
        places: &mut Capacity,
    ) -> Result<(), StoreError> {
        let begun = Instant::now();
        let reads_all = self.all || begun >= self.all_due;
        let shards: Vec<_> = match reads_all {
            true => (0..self.shards).map(Shard).collect(),
            false => self.some.iter().copied().collect(),
        };
        if shards.is_empty() {
            return Ok(());
        }
        let rooms = store.credits(&shards).await?;
        for (shard, room) in shards.iter().zip(&rooms) {
            places.note(*shard, room);
        }
        self.some.clear();
        if reads_all {
            self.all = false;
            self.all_due = begun + ALL_AGAIN.max(begun.elapsed() * PART_OF_TIME);
        }
        Ok(())
    }
}
