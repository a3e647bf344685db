//! The port between schedulers and executors: one queue a shard.
//!
//! A shard's holder says how many parcels it is willing to have in hand (its *window*). A scheduler ships no more than
//! that, so work waits with its task, where priorities still count, and not in front of a busy executor.

use std::sync::Arc;

use async_trait::async_trait;
use lrmf_core::Token;

use crate::error::StoreError;
use crate::ids::{RunEpoch, Shard, TaskId, TaskTypeId, TypeVersion};
use crate::plugin::members;
use crate::queue::{Parcel, ParcelId};

/// A parcel on its way to an executor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shipment {
    /// Of which task.
    pub task: TaskId,
    /// Of which run of it.
    pub run: RunEpoch,
    /// The subtasks.
    pub parcel: Parcel,
}

impl Shipment {
    /// Its name within a shard.
    pub fn id(&self) -> ShipmentId {
        ShipmentId { task: self.task, run: self.run, parcel: self.parcel.id, attempt: self.parcel.attempt }
    }
}

/// Names a shipment within a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShipmentId {
    /// Of which task.
    pub task: TaskId,
    /// Of which run of it.
    pub run: RunEpoch,
    /// The parcel.
    pub parcel: ParcelId,
    /// The attempt at it.
    pub attempt: u32,
}

/// Stands for all members of types; programs that know no members pass it over.
const ALL_MEMBERS: &str = "members";

/// The kinds of task that somebody can work on: the numbers of their types with commas between them, a version behind a colon
/// where there is one; or nothing for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SupportedTypes(Arc<str>);

impl SupportedTypes {
    /// Every kind.
    pub fn all() -> Self {
        Self("".into())
    }

    /// As it was written by [`as_str`](Self::as_str).
    pub fn read(text: &str) -> Self {
        Self(text.into())
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// These and all members of types.
    #[must_use]
    pub(crate) fn and_all_members(&self) -> Self {
        Self(format!("{},{ALL_MEMBERS}", self.0).into())
    }

    /// Returns the types that are listed, each with its version, in their order. Members of types are not listed.
    pub fn listed(&self) -> impl Iterator<Item = TypeVersion> {
        self.0.split(',').filter_map(|known| {
            let (number, version) = known.split_once(':').unwrap_or((known, "0"));
            Some(TypeVersion { task_type: TaskTypeId(number.parse().ok()?), version: version.parse().ok()? })
        })
    }

    /// Returns true if this type is among them, in its version or a later one.
    pub fn has(&self, kind: impl Into<TypeVersion>) -> bool {
        let kind = kind.into();
        let is_it = |known: &str| {
            if known == ALL_MEMBERS {
                return members::is_member(kind.task_type);
            }
            let (number, version) = known.split_once(':').unwrap_or((known, "0"));
            number.parse() == Ok(kind.task_type)
                && version.parse().is_ok_and(|version: u32| version >= kind.version)
        };
        self.0.is_empty() || self.0.split(',').any(is_it)
    }
}

impl<K: Into<TypeVersion>> FromIterator<K> for SupportedTypes {
    fn from_iter<I: IntoIterator<Item = K>>(kinds: I) -> Self {
        let text = |kind: K| match kind.into() {
            TypeVersion { task_type, version: 0 } => task_type.to_string(),
            TypeVersion { task_type, version } => format!("{task_type}:{version}"),
        };
        let mut text: Vec<_> = kinds.into_iter().map(text).collect();
        if text.is_empty() {
            text.push("-".to_owned()); // none, which is not all
        }
        Self(text.join(",").into())
    }
}

/// The number of parcels that a process takes, over all the shards that it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessCredit {
    /// Names the process; drawn at random when it starts.
    pub process: u64,
    /// The most parcels that it is willing to have in hand.
    pub window: u32,
}

/// The work that a shard's holder takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// The most parcels of this shard that it is willing to have in hand.
    pub window: u32,
    /// The kinds of task that it can work on.
    pub kinds: SupportedTypes,
    /// The bound over all shards of its process.
    pub credit: ProcessCredit,
}

/// The work that a shard takes now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardCredit {
    /// The number of further parcels; 0 for a shard that was never held.
    pub free: u32,
    /// The number of parcels that it has, claimed or not.
    pub used: u32,
    /// The kinds of task that its latest holder can work on; all for a shard that was never held.
    pub kinds: SupportedTypes,
    /// The bound over all shards of its latest holder's process; none for a shard that was never held, or whose holder gave none.
    pub credit: Option<ProcessCredit>,
}

/// The queues of shards.
///
/// # What an implementor guarantees
/// - Each call on a shard is atomic. Calls with a token are refused with [`StoreError::Fenced`] when the store has seen
///   a higher one for that shard; [`hold`](Self::hold) raises it.
/// - What was shipped stays until it is acknowledged, or the store loses its data.
/// - A claim may be sent again, and repairs what was lost: the reply to an earlier claim, or, with the store's last writes
///   or all of them, the token, the offer, or an acknowledgement.
///
/// ```
/// use dtf_memory::MemoryShards;
/// use dtf_model::Shard;
/// use dtf_model::shard::{Capacity, ProcessCredit, ShardQueue, SupportedTypes};
/// use lrmf_core::Token;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> anyhow::Result<()> {
/// let shards = MemoryShards::default();
/// let credit = ProcessCredit { process: 1, window: 8 };
/// let offer = Capacity { window: 2, kinds: SupportedTypes::all(), credit };
/// assert!(shards.hold(Shard(0), Token(2), &offer).await?.is_empty());
/// assert_eq!(shards.credits(&[Shard(0)]).await?[0].free, 2);
/// assert!(shards.hold(Shard(0), Token(1), &offer).await.is_err(), "an earlier holder is refused");
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait ShardQueue: Send + Sync + 'static {
    /// Takes a shard up, says what its holder takes, and gives back what is claimed, in the order of the claims.
    async fn hold(&self, shard: Shard, token: Token, offer: &Capacity) -> Result<Vec<Shipment>, StoreError>;

    /// Returns the credit of each shard.
    async fn credits(&self, shards: &[Shard]) -> Result<Vec<ShardCredit>, StoreError>;

    /// The highest token that each shard has seen; 0 where nobody ever held it. Lower ones are refused, so generations of the
    /// executors' group must not begin below these.
    async fn tokens(&self, shards: &[Shard]) -> Result<Vec<Token>, StoreError>;

    /// Puts parcels on a shard, in their order and as many as it has room for, and says how many. What waits there already
    /// counts as put. What is claimed there already ends it: it has been reported, and its acknowledgement, still on its
    /// way, would take the new shipment along.
    async fn ship(&self, shard: Shard, shipments: &[Shipment]) -> Result<usize, StoreError>;

    /// Claims up to `most` parcels: first those that are claimed already and not in hand, then others in the order in which
    /// they were shipped. Raises the token and sets the offer, as [`hold`](Self::hold) does.
    ///
    /// `in_hand` names everything that the holder got and has not acknowledged.
    async fn claim(
        &self,
        shard: Shard,
        token: Token,
        offer: &Capacity,
        in_hand: &[ShipmentId],
        most: usize,
    ) -> Result<Vec<Shipment>, StoreError>;

    /// Removes claimed parcels that have been reported. What is not claimed is passed over.
    async fn acknowledge(&self, shard: Shard, token: Token, done: &[ShipmentId]) -> Result<(), StoreError>;

    /// Returns the parcels of a shard, claimed or not, in no particular order.
    async fn contents(&self, shard: Shard) -> Result<Vec<ShipmentId>, StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TaskTypeId;

    fn kind(task_type: u32, version: u32) -> TypeVersion {
        TypeVersion { task_type: TaskTypeId(task_type), version }
    }

    #[test]
    fn a_kind_is_known_in_its_version_and_later_ones() {
        let kinds: SupportedTypes = [kind(100, 0), kind(101, 3)].into_iter().collect();
        assert_eq!(kinds.as_str(), "100,101:3");
        let known = |task_type, version| SupportedTypes::read(kinds.as_str()).has(kind(task_type, version));
        assert!(known(100, 0) && known(101, 0) && known(101, 2) && known(101, 3));
        assert!(!known(100, 1) && !known(101, 4) && !known(102, 0) && !known(10, 0));
        assert!(SupportedTypes::all().has(kind(7, 7)));
        let none: SupportedTypes = std::iter::empty::<TypeVersion>().collect();
        assert!(!none.has(kind(0, 0)) && !none.has(kind(100, 0)));
        assert!(!SupportedTypes::read("101:x,102:").has(kind(101, 0)));
    }
}
