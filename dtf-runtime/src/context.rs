//! The context that all roles share.

use std::sync::Arc;

use dtf_model::Role;
use dtf_model::plugin::PluginRegistry;
use dtf_model::shape::ClusterShape;
use dtf_model::wake::WakeUp;
use lrmf_core::runner::{Declined, Held};
use lrmf_core::{Clock, Timestamp};
use tokio::runtime::Handle;

use super::{GracefulShutdown, Needs, Peers};

/// The context that all roles share. It has no stores: each role has its own ports, and no others.
#[derive(Clone)]
pub struct RoleContext {
    /// The hints.
    pub wake: Arc<dyn WakeUp>,
    /// The task types that this process knows.
    pub plugins: Arc<PluginRegistry>,
    /// The numbers of buckets, partitions and shards.
    pub shape: ClusterShape,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The runtime of plugin code. It must not be the runtime that keeps sessions alive.
    pub plugin_runtime: Handle,
    /// The other members of the roles' groups.
    pub peers: Arc<dyn Peers>,
    /// The state of the graceful shutdown of this process.
    pub shutdown: GracefulShutdown,
}

impl RoleContext {
    /// Keeps a part that this process holds, or declines it in favour of a member that knows more of the types that it needs.
    ///
    /// # Errors
    /// The part is to be declined.
    pub async fn keep_or_decline(
        &self,
        role: Role,
        held: &Held,
        needs: &Needs,
        held_since: Timestamp,
    ) -> Result<(), Declined> {
        if needs.lacking.is_empty() {
            return Ok(());
        }
        let others = tokio::select! {
            () = held.stop.cancelled() => return Ok(()),
            others = self.peers.others(role) => others,
        };
        match needs.are_better_met_by(&others, held_since, self.clock.now()) {
            true => Err(needs.declined()),
            false => Ok(()),
        }
    }
}

impl std::fmt::Debug for RoleContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RoleContext").field("shape", &self.shape).finish_non_exhaustive()
    }
}
