//! The work of a member on the tasks that it is given.

use std::sync::Arc;

use async_trait::async_trait;

use crate::ids::Token;
use crate::task::Holding;
use crate::tenure::Tenure;

/// Takes tasks up and gives them back.
///
/// # What an implementor guarantees
/// - When [`revoke`](Self::revoke) returns, whether `Ok` or `Err`, nothing of those tasks runs any more: the task may be
///   started elsewhere at once. Aborting a future does not stop blocking code; return only when it has ended.
/// - [`assign`](Self::assign) returns soon: it starts the work and does not do it. An error means that none of these
///   tasks was started; the leader is told and tries elsewhere.
///
/// Calls for different tasks may overlap; calls for one task never do. A task is revoked before it is assigned anew.
#[async_trait]
pub trait Worker: Send + Sync + 'static {
    /// These tasks are now this member's.
    async fn assign(&self, holdings: &[Holding]) -> anyhow::Result<()>;

    /// The same, with what the work can ask at any moment whether its member may still do it. This is what members call; it
    /// calls [`assign`](Self::assign) where it is not implemented. A worker that wraps another one passes it on.
    ///
    /// # Errors
    /// As there.
    async fn assign_within(&self, holdings: &[Holding], tenure: &Tenure) -> anyhow::Result<()> {
        let _ = tenure;
        self.assign(holdings).await
    }

    /// These tasks are no longer this member's: stop them.
    async fn revoke(&self, holdings: &[Holding]) -> anyhow::Result<()>;

    /// Waits until the worker cannot go on with a task that it was assigned, and says which. The member then revokes the
    /// task, and the leader tries elsewhere, or here again, later and later. Dropping the future must lose nothing. Without
    /// an implementation no task is ever given up. A worker that wraps another one passes this on.
    async fn given_up(&self) -> GivenUp {
        std::future::pending().await
    }

    /// The same for the tasks that were assigned within one tenure alone. This is what members call; it calls
    /// [`given_up`](Self::given_up) where it is not implemented. A worker that several members share implements it, or they
    /// take each other's tasks.
    async fn given_up_within(&self, tenure: &Tenure) -> GivenUp {
        let _ = tenure;
        self.given_up().await
    }
}

/// A task that a worker cannot go on with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenUp {
    /// The task's key.
    pub key: Arc<str>,
    /// The token of the holding; another one is not meant.
    pub token: Token,
    /// Why.
    pub error: String,
}
