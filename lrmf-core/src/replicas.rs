//! Replicas: each task is with several members at a time, of which one is its primary and the others stand by.
//!
//! A standby has what it takes to go on (a warm cache, a copy of the data), so that a task whose primary dies goes on where a
//! standby is, instead of beginning anew somewhere. The group's members use three things of this module:
//!
//! - [`Replicated`] makes the provider's tasks into replicas;
//! - [`ReplicaBalanced`](crate::assignor::ReplicaBalanced) puts the replicas of a task on different members, and promotes
//!   standbys;
//! - [`ReplicaRoles`] tells the user's [`ReplicaWorker`] about roles.
//!
//! ```
//! use std::sync::Arc;
//! use lrmf_core::assignor::ReplicaBalanced;
//! use lrmf_core::replicas::{Replica, ReplicaRoles, ReplicaWorker, Replicated};
//! use lrmf_core::{Coordinator, FixedTasks, GroupId, InstanceId, MemoryStore, Task};
//!
//! struct Shards;
//!
//! #[async_trait::async_trait]
//! impl ReplicaWorker for Shards {
//!     async fn take_role(&self, replica: &Replica) -> anyhow::Result<()> {
//!         println!("{:?} of {} with {}", replica.role, replica.task.key, replica.token);
//!         Ok(())
//!     }
//!
//!     async fn give_up(&self, replica: &Replica) -> anyhow::Result<()> {
//!         println!("no replica of {} any more", replica.task.key);
//!         Ok(())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> anyhow::Result<()> {
//! let shards = FixedTasks::new(["s1", "s2"].map(|key| Task::new(key, "")));
//! let member = Coordinator::builder(Arc::new(MemoryStore::new()), GroupId::new("app", "shards", "default")?)
//!     .instance_id(InstanceId::new("a")?)
//!     .provider(Replicated::new(2, shards)?)
//!     .assignor(ReplicaBalanced)
//!     .worker(ReplicaRoles::new(Shards))
//!     .start()
//!     .await?;
//! # member.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! # What holds
//! A replica is a task of the group, and the first one of each task is its primary. So what holds for tasks holds for primaries:
//! no two members with living sessions are primary of one task (P1), a primary stops before its session can end (P2), and each
//! primary has a higher token than the one before, whoever that was (P3): a promotion is a new holding. Standbys have tokens of
//! their own, which say nothing about primaries: **write with the token of a primary, and with no other**.
//!
//! A member that holds several replicas of one task, as there are fewer members than replicas or a move is under way, has the
//! highest role of them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;

use crate::ids::Token;
use crate::provider::TaskProvider;
use crate::task::{Holding, Task};
use crate::worker::Worker;

/// The most replicas of a task.
pub const MAX_REPLICAS: u32 = 16;

/// Stands between a task's key and the number of a replica.
const MARK: &str = "#replica-";

/// The role of a replica. Roles are ordered: a primary is more than a standby.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// It is ready to become the primary.
    Standby,
    /// It does the work.
    Primary,
}

/// A number of replicas that makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a task cannot have {0} replicas; the number must be from 1 to {MAX_REPLICAS}")]
pub struct InvalidReplicas(u32);

/// The key of a replica of a task. Number 0 is the primary.
pub fn key_of(task: &str, number: u32) -> Arc<str> {
    format!("{task}{MARK}{number}").into()
}

/// The key of the task that a replica is of, and the replica's number; none where the key is not of a replica.
pub fn parse(key: &str) -> Option<(&str, u32)> {
    let (task, number) = key.rsplit_once(MARK)?;
    Some((task, number.parse().ok()?))
}

/// Returns the role that a replica with this number has.
fn role_of(number: u32) -> Role {
    if number == 0 { Role::Primary } else { Role::Standby }
}

/// A provider of replicas: so many of each task that another provider has.
#[derive(Clone, Debug)]
pub struct Replicated<P> {
    replicas: u32,
    provider: P,
}

impl<P: TaskProvider> Replicated<P> {
    /// Makes the tasks of this provider into so many replicas each, the primary included.
    ///
    /// # Errors
    /// A number of 0, or above [`MAX_REPLICAS`].
    pub fn new(replicas: u32, provider: P) -> Result<Self, InvalidReplicas> {
        if !(1..=MAX_REPLICAS).contains(&replicas) {
            return Err(InvalidReplicas(replicas));
        }
        Ok(Self { replicas, provider })
    }
}

#[async_trait]
impl<P: TaskProvider> TaskProvider for Replicated<P> {
    async fn tasks(&self) -> anyhow::Result<Vec<Task>> {
        let tasks = self.provider.tasks().await?;
        let replica = |task: &Task, number| Task { key: key_of(&task.key, number), ..task.clone() };
        let of = |task: &Task| (0..self.replicas).map(|number| replica(task, number)).collect::<Vec<_>>();
        Ok(tasks.iter().flat_map(of).collect())
    }

    fn changes(&self) -> Option<BoxStream<'static, ()>> {
        self.provider.changes().map(|changes| changes.boxed())
    }
}

/// A replica in the hands of its worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// The task, with the key and value that its provider gave it.
    pub task: Task,
    /// Its role here.
    pub role: Role,
    /// The token of the holding that gives it this role.
    pub token: Token,
}

/// The user's work on replicas.
///
/// # What an implementor guarantees
/// Calls for one task never overlap. When [`take_role`](Self::take_role) returns for a standby that was the primary, nothing of
/// the primary runs any more, and when [`give_up`](Self::give_up) returns, nothing at all: another member goes on at once. Both
/// hold whether the call returns `Ok` or `Err`.
#[async_trait]
pub trait ReplicaWorker: Send + Sync + 'static {
    /// The replica here has this role from now on: it begins, is promoted, is demoted, or has another value.
    ///
    /// # Errors
    /// The replica did not take the role, and runs in none: the leader tries elsewhere.
    async fn take_role(&self, replica: &Replica) -> anyhow::Result<()>;

    /// There is no replica of the task here any more; `replica` is what there was.
    async fn give_up(&self, replica: &Replica) -> anyhow::Result<()>;
}

/// The replicas of one task here.
#[derive(Debug, Default)]
struct Held {
    /// Of each number, its holding.
    holdings: BTreeMap<u32, Holding>,
    /// The replica that the worker was told of last.
    told: Option<Replica>,
}

impl Held {
    /// The replica as it is to be: the highest role counts.
    fn wanted(&self, task: &str) -> Option<Replica> {
        let (number, holding) = self.holdings.first_key_value()?;
        let task = Task { key: task.into(), ..holding.task.clone() };
        Some(Replica { task, role: role_of(*number), token: holding.token })
    }
}

type OfTask = Arc<tokio::sync::Mutex<Held>>;

/// A [`Worker`] that tells a [`ReplicaWorker`] about the roles of its replicas.
pub struct ReplicaRoles<W> {
    worker: W,
    tasks: Mutex<BTreeMap<String, OfTask>>,
}

impl<W> fmt::Debug for ReplicaRoles<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplicaRoles").finish_non_exhaustive()
    }
}

impl<W: ReplicaWorker> ReplicaRoles<W> {
    /// Tells this worker.
    pub fn new(worker: W) -> Self {
        Self { worker, tasks: Mutex::default() }
    }

    fn of_task(&self, task: &str) -> OfTask {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.entry(task.to_owned()).or_default().clone()
    }

    /// Tells the worker what has changed.
    async fn tell(&self, task: &str, held: &mut Held) -> anyhow::Result<()> {
        let (before, wanted) = (held.told.take(), held.wanted(task));
        let same = |before: &Replica, wanted: &Replica| {
            before.role == wanted.role
                && before.task == wanted.task
                // A standby that has another number is what it was.
                && (before.role == Role::Standby || before.token == wanted.token)
        };
        match (before, wanted) {
            (Some(before), Some(wanted)) if same(&before, &wanted) => {
                held.told = Some(before);
                Ok(())
            }
            (_, Some(wanted)) => {
                self.worker.take_role(&wanted).await?;
                held.told = Some(wanted);
                Ok(())
            }
            (Some(before), None) => self.worker.give_up(&before).await,
            (None, None) => Ok(()),
        }
    }

    /// The key of the task and the number of the replica. A task that is no replica is its own primary.
    fn named(key: &str) -> (&str, u32) {
        parse(key).unwrap_or((key, 0))
    }
}

#[async_trait]
impl<W: ReplicaWorker> Worker for ReplicaRoles<W> {
    async fn assign(&self, holdings: &[Holding]) -> anyhow::Result<()> {
        for holding in holdings {
            let (task, number) = Self::named(&holding.task.key);
            let of_task = self.of_task(task);
            let mut held = of_task.lock().await;
            held.holdings.insert(number, holding.clone());
            if let Err(error) = self.tell(task, &mut held).await {
                held.holdings.remove(&number);
                // A standby that could not be promoted is one again.
                if let Err(error) = self.tell(task, &mut held).await {
                    tracing::warn!(task, error = format!("{error:#}"), "no replica runs where one was");
                }
                return Err(error);
            }
        }
        Ok(())
    }

    async fn revoke(&self, holdings: &[Holding]) -> anyhow::Result<()> {
        for holding in holdings {
            let (task, number) = Self::named(&holding.task.key);
            let of_task = self.of_task(task);
            let mut held = of_task.lock().await;
            held.holdings.remove(&number);
            self.tell(task, &mut held).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
