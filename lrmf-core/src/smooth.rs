//! The shortest way in: a list of tasks and one callback, nothing to implement.
//!
//! ```
//! use std::sync::Arc;
//! use lrmf_core::smooth::{SmoothEvent, smooth};
//! use lrmf_core::{GroupId, InstanceId, MemoryStore, Task};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> anyhow::Result<()> {
//! let store = Arc::new(MemoryStore::new());
//! let tasks = [Task::new("key1", "value1"), Task::new("key2", "value2")];
//! let member = smooth(store, GroupId::new("foo", "bar", "tenancy")?, tasks, |event| match event {
//!     SmoothEvent::Assign(holding) => println!("assign {}", holding.task.key),
//!     SmoothEvent::Revoke(holding) => println!("revoke {}", holding.task.key),
//! })
//! # .instance_id(InstanceId::new("a")?)
//! .start()
//! .await?;
//! # member.held().wait_for(|held| held.len() == 2).await?;
//! member.close().await;
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;

use async_trait::async_trait;

use crate::assignor::StringOrderEvenly;
use crate::coordination::Coordination;
use crate::coordinator::{Coordinator, CoordinatorBuilder};
use crate::ids::{GroupId, InstanceId};
use crate::provider::FixedTasks;
use crate::task::{Holding, Task};
use crate::worker::Worker;

/// A member of `group` that shares these tasks with its other members and tells the callback what comes and goes.
///
/// As in the original framework, neighbouring keys go together ([`StringOrderEvenly`]) and the member is named after the
/// machine's address ([`local_instance_id`]); both, like everything else, can be set on the builder before its `start()`.
pub fn smooth(
    store: Arc<dyn Coordination>,
    group: GroupId,
    tasks: impl IntoIterator<Item = Task>,
    callback: impl Fn(SmoothEvent) + Send + Sync + 'static,
) -> CoordinatorBuilder {
    let builder = Coordinator::builder(store, group)
        .provider(FixedTasks::new(tasks))
        .assignor(StringOrderEvenly)
        .worker(SmoothWorker::new(callback));
    match local_instance_id() {
        Ok(instance) => builder.instance_id(instance),
        Err(error) => {
            tracing::debug!(%error, "no address to name the member after; it needs an instance id");
            builder
        }
    }
}

/// An event for the callback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SmoothEvent {
    /// This task is now ours.
    Assign(Holding),
    /// This task is no longer ours: nothing of it may run when the callback returns.
    Revoke(Holding),
}

/// A [`Worker`] made of one callback. The callback is called from the runtime and must return soon; one that has to
/// wait belongs into a [`TaskRunner`](crate::runner::TaskRunner).
pub struct SmoothWorker<F>(F);

impl<F> fmt::Debug for SmoothWorker<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SmoothWorker")
    }
}

impl<F: Fn(SmoothEvent) + Send + Sync + 'static> SmoothWorker<F> {
    /// A worker that tells this callback what comes and goes.
    pub fn new(callback: F) -> Self {
        Self(callback)
    }
}

#[async_trait]
impl<F: Fn(SmoothEvent) + Send + Sync + 'static> Worker for SmoothWorker<F> {
    async fn assign(&self, holdings: &[Holding]) -> anyhow::Result<()> {
        holdings.iter().cloned().map(SmoothEvent::Assign).for_each(&self.0);
        Ok(())
    }

    async fn revoke(&self, holdings: &[Holding]) -> anyhow::Result<()> {
        holdings.iter().cloned().map(SmoothEvent::Revoke).for_each(&self.0);
        Ok(())
    }
}

/// The instance id that is used where none is given: the address that this machine would call others from. Two processes
/// of one machine have the same one and so cannot both be members; give them ids of their own.
///
/// # Errors
/// When the machine has no address but its own loopback.
pub fn local_instance_id() -> io::Result<InstanceId> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    // Connecting a UDP socket sends nothing; it only chooses the route. The address is one kept for documentation.
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
    let address = socket.local_addr()?.ip();
    if address.is_unspecified() {
        return Err(io::Error::other("no route tells which address is this machine's; name the instance id"));
    }
    InstanceId::new(&address.to_string()).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::clock::RuntimeClock;
    use crate::ids::Token;
    use crate::memory::MemoryStore;

    #[tokio::test]
    async fn assign_and_revoke_are_told_apart_and_in_order() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hear = heard.clone();
        let worker = SmoothWorker::new(move |event| hear.lock().unwrap().push(event));
        let [a, b] = ["a", "b"].map(|key| Holding { task: Task::new(key, "v"), token: Token(1) });
        worker.assign(&[a.clone(), b.clone()]).await.unwrap();
        worker.revoke(std::slice::from_ref(&a)).await.unwrap();
        let expected = [SmoothEvent::Assign(a.clone()), SmoothEvent::Assign(b), SmoothEvent::Revoke(a)];
        assert_eq!(*heard.lock().unwrap(), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn two_members_share_the_tasks_and_the_last_takes_all() {
        let store = Arc::new(MemoryStore::new());
        let heard = Arc::new(Mutex::new(Vec::new()));
        let start = |name: &str| {
            let (hear, name) = (heard.clone(), name.to_owned());
            let group = GroupId::new("p", "b", "t").unwrap();
            smooth(store.clone(), group, ["1", "2", "3", "4"].map(|key| Task::new(key, "")), {
                let name = name.clone();
                move |event| {
                    let (sign, holding) = match event {
                        SmoothEvent::Assign(holding) => ('+', holding),
                        SmoothEvent::Revoke(holding) => ('-', holding),
                    };
                    hear.lock().unwrap().push(format!("{name}{sign}{}", holding.task.key));
                }
            })
            .instance_id(InstanceId::new(&name).unwrap())
            .clock(Arc::new(RuntimeClock::new()))
            .start()
        };
        let take = || {
            let mut heard = std::mem::take(&mut *heard.lock().unwrap());
            heard.sort_unstable();
            heard
        };
        let first = start("a").await.unwrap();
        first.held().wait_for(|held| held.len() == 4).await.unwrap();
        let second = start("b").await.unwrap();
        second.held().wait_for(|held| held.len() == 2).await.unwrap();
        assert_eq!(take(), ["a+1", "a+2", "a+3", "a+4", "a-3", "a-4", "b+3", "b+4"]);
        first.close().await;
        second.held().wait_for(|held| held.len() == 4).await.unwrap();
        assert_eq!(take(), ["a-1", "a-2", "b+1", "b+2"]);
        second.close().await;
    }
}
