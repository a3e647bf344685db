//! The other members of a role's group.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dtf_model::Role;
use dtf_model::shard::SupportedTypes;
use dtf_runtime::{Peers, TASK_TYPES_LABEL};
use lrmf_core::admin::{Admin, MemberPhase, MemberView};
use lrmf_core::{Clock, Coordination, Timestamp};
use tokio::sync::Mutex;
use tracing::debug;

/// For how long an answer is good: all buckets of a process may ask at once.
const FRESH: Duration = Duration::from_secs(1);

/// The other members of the groups that this process is in.
pub(crate) struct GroupPeers {
    coordination: Arc<dyn Coordination>,
    clock: Arc<dyn Clock>,
    cluster: String,
    instance: String,
    /// The latest answers.
    heard: Mutex<BTreeMap<Role, (Timestamp, Vec<SupportedTypes>)>>,
}

impl GroupPeers {
    /// The members of this cluster's groups but for this process.
    pub(crate) fn new(
        coordination: Arc<dyn Coordination>,
        clock: Arc<dyn Clock>,
        cluster: &str,
        instance: &str,
    ) -> Self {
        let (cluster, instance) = (cluster.to_owned(), instance.to_owned());
        Self { coordination, clock, cluster, instance, heard: Mutex::default() }
    }

    async fn ask(&self, role: Role) -> Vec<SupportedTypes> {
        let Ok(group) = role.group(&self.cluster) else { return Vec::new() };
        let state = match Admin::new(self.coordination.clone(), group).read().await {
            Ok(state) => state,
            Err(error) => {
                debug!(%role, %error, "not known who else is there");
                return Vec::new();
            }
        };
        let others = state.member_views().into_iter().filter(|member| self.is_another(member));
        others
            .filter_map(|member| member.labels.get(TASK_TYPES_LABEL).map(|text| SupportedTypes::read(text)))
            .collect()
    }

    /// Returns true if this is another member, who is given parts.
    fn is_another(&self, member: &MemberView) -> bool {
        let takes = member.state == MemberPhase::Active && !member.drained && !member.evicted;
        takes && member.barred.is_none() && member.member.as_str() != self.instance
    }
}

#[async_trait]
impl Peers for GroupPeers {
    async fn others(&self, role: Role) -> Vec<SupportedTypes> {
        // Held while it is asked: who asks at the same time waits for the same answer.
        let mut heard = self.heard.lock().await;
        let now = self.clock.now();
        if let Some((_, others)) = heard.get(&role).filter(|(at, _)| now.since(*at) < FRESH) {
            return others.clone();
        }
        let others = self.ask(role).await;
        heard.insert(role, (now, others.clone()));
        others
    }
}
