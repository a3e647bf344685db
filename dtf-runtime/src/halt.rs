//! The end of a role's work on one task.

use std::future::Future;
use std::time::Duration;

use dtf_model::error::StoreError;
use tokio_util::sync::CancellationToken;

use super::guard::{Calls, guarded_each};

/// The time that a call into a plugin has to return once its bucket is to be given up. It must fit into the margin of the
/// session.
const DRAIN: Duration = Duration::from_secs(1);

/// The regular end of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The run wants no more of this role.
    Settled,
    /// The bucket is given up; its next holder goes on from what is stored.
    Stopped,
}

/// The reason for which the work was interrupted.
#[derive(Debug)]
pub enum Halt {
    /// The store failed, or another member holds the bucket now.
    Store(StoreError),
    /// The plugin failed: the task goes on from what was saved, as often as its type allows.
    Plugin(anyhow::Error),
    /// The task cannot go on.
    Fault(anyhow::Error),
    /// The bucket is given up, and the plugin did not return soon. The next holder makes the call again.
    Stopped,
}

/// Awaits a call into a plugin, but not for long once `stop` is cancelled.
///
/// # Errors
/// The plugin failed, panicked, did not return within `limit`, or did not return soon after `stop`.
pub async fn called<T>(
    stop: &CancellationToken,
    limit: Duration,
    call: impl Future<Output = anyhow::Result<T>>,
) -> Result<T, Halt> {
    called_each(stop, limit, Calls::default(), call).await
}

/// Awaits several calls into a plugin, each of which has the limit to itself, but not for long once `stop` has fired.
///
/// # Errors
/// The plugin failed, panicked, did not return within `limit`, or did not return soon after `stop`.
pub async fn called_each<T>(
    stop: &CancellationToken,
    limit: Duration,
    calls: Calls,
    all: impl Future<Output = anyhow::Result<T>>,
) -> Result<T, Halt> {
    let drained = async {
        stop.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        biased;
        returned = guarded_each(limit, calls, all) => {
            returned.map_err(anyhow::Error::from).flatten().map_err(Halt::Plugin)
        }
        () = drained => Err(Halt::Stopped),
    }
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<anyhow::Error> for Halt {
    fn from(error: anyhow::Error) -> Self {
        Self::Fault(error)
    }
}
