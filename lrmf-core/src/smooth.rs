//! The shortest way in: a list of tasks and one callback.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, UdpSocket};

use async_trait::async_trait;

use crate::ids::InstanceId;
use crate::task::Holding;
use crate::worker::Worker;

/// What the callback hears.
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
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::ids::Token;
    use crate::task::Task;

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
}
