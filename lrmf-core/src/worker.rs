//! What a member does with the tasks that it is given.

use async_trait::async_trait;

use crate::task::Holding;

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

    /// These tasks are no longer this member's: stop them.
    async fn revoke(&self, holdings: &[Holding]) -> anyhow::Result<()>;
}
