//! [`ShardQueue`] in memory.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use dtf_model::error::StoreError;
use dtf_model::ids::Shard;
use dtf_model::shard::{Capacity, ShardCredit, ShardQueue, Shipment, ShipmentId, SupportedTypes};
use lrmf_core::Token;

#[derive(Clone, Debug, Default)]
struct Queue {
    token: Token,
    offer: Option<Capacity>,
    ready: VecDeque<Shipment>,
    claimed: Vec<Shipment>,
}

impl Queue {
    fn check(&self, token: Token) -> Result<(), StoreError> {
        if token < self.token { Err(StoreError::Fenced { seen: self.token.0 }) } else { Ok(()) }
    }

    fn used(&self) -> u32 {
        u32::try_from(self.ready.len() + self.claimed.len()).unwrap_or(u32::MAX)
    }

    fn room(&self) -> u32 {
        let window = self.offer.as_ref().map_or(0, |offer| offer.window);
        window.saturating_sub(self.used())
    }
}

/// The shards of one process. They end with it.
#[derive(Debug, Default)]
pub struct MemoryShards {
    shards: Mutex<HashMap<Shard, Queue>>,
}

/// The contents at some time, see [`MemoryShards::snapshot`].
#[derive(Clone, Debug, Default)]
pub struct ShardsSnapshot(HashMap<Shard, Queue>);

impl MemoryShards {
    /// Everything as it is now, to be [rolled back](Self::roll_back) to.
    pub fn snapshot(&self) -> ShardsSnapshot {
        ShardsSnapshot(self.lock().clone())
    }

    /// Forgets what has happened since; everything, back to a default snapshot.
    pub fn roll_back(&self, to: &ShardsSnapshot) {
        self.lock().clone_from(&to.0);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Shard, Queue>> {
        // A panic while it is held can only come from an allocation failure.
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(
        &self,
        shard: Shard,
        token: Token,
        act: impl FnOnce(&mut Queue) -> T,
    ) -> Result<T, StoreError> {
        let mut shards = self.lock();
        let queue = shards.entry(shard).or_default();
        queue.check(token)?;
        Ok(act(queue))
    }
}

#[async_trait]
impl ShardQueue for MemoryShards {
    async fn hold(&self, shard: Shard, token: Token, offer: &Capacity) -> Result<Vec<Shipment>, StoreError> {
        self.with(shard, token, |queue| {
            queue.token = token;
            queue.offer = Some(offer.clone());
            queue.claimed.clone()
        })
    }

    async fn credits(&self, shards: &[Shard]) -> Result<Vec<ShardCredit>, StoreError> {
        let known = self.lock();
        Ok(shards.iter().map(|shard| room_of(known.get(shard))).collect())
    }

    async fn tokens(&self, shards: &[Shard]) -> Result<Vec<Token>, StoreError> {
        let known = self.lock();
        Ok(shards.iter().map(|shard| known.get(shard).map_or(Token(0), |queue| queue.token)).collect())
    }

    async fn ship(&self, shard: Shard, shipments: &[Shipment]) -> Result<usize, StoreError> {
        let mut shards = self.lock();
        let queue = shards.entry(shard).or_default();
        for (put, shipment) in shipments.iter().enumerate() {
            let id = shipment.id();
            if queue.ready.iter().any(|waiting| waiting.id() == id) {
                continue;
            }
            if queue.room() == 0 || queue.claimed.iter().any(|claimed| claimed.id() == id) {
                return Ok(put);
            }
            queue.ready.push_back(shipment.clone());
        }
        Ok(shipments.len())
    }

    async fn claim(
        &self,
        shard: Shard,
        token: Token,
        offer: &Capacity,
        in_hand: &[ShipmentId],
        most: usize,
    ) -> Result<Vec<Shipment>, StoreError> {
        self.with(shard, token, |queue| {
            queue.token = token;
            queue.offer = Some(offer.clone());
            let in_hand: HashSet<_> = in_hand.iter().collect();
            let missed = queue.claimed.iter().filter(|shipment| !in_hand.contains(&shipment.id()));
            let mut claimed: Vec<_> = missed.take(most).cloned().collect();
            let count = (most - claimed.len()).min(queue.ready.len());
            for shipment in queue.ready.drain(..count) {
                queue.claimed.push(shipment.clone());
                claimed.push(shipment);
            }
            claimed
        })
    }

    async fn acknowledge(&self, shard: Shard, token: Token, done: &[ShipmentId]) -> Result<(), StoreError> {
        let done: HashSet<_> = done.iter().collect();
        self.with(shard, token, |queue| queue.claimed.retain(|shipment| !done.contains(&shipment.id())))
    }

    async fn contents(&self, shard: Shard) -> Result<Vec<ShipmentId>, StoreError> {
        let shards = self.lock();
        let Some(queue) = shards.get(&shard) else { return Ok(Vec::new()) };
        Ok(queue.ready.iter().chain(&queue.claimed).map(Shipment::id).collect())
    }
}

fn room_of(queue: Option<&Queue>) -> ShardCredit {
    let offer = queue.and_then(|queue| queue.offer.as_ref());
    ShardCredit {
        free: queue.map_or(0, Queue::room),
        used: queue.map_or(0, Queue::used),
        kinds: offer.map_or_else(SupportedTypes::all, |offer| offer.kinds.clone()),
        credit: offer.map(|offer| offer.credit),
    }
}
