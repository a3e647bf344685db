//! The generations of the roles' groups outlive the coordination store's data.
//!
//! # The problem
//! Queues and shards refuse lower tokens than they have seen, and tokens are generations of the role's group. A group whose
//! records are lost counts on from the time of day in milliseconds, which is above every generation so far, unless a clock was
//! wrong; one whose records are restored from an older copy counts on from that. The new holders would be refused for ever.
//! So the highest generation that was seen is noted in `tbl_cluster`, and whoever comes to lead a group asks for it before
//! it grants anything.
//!
//! The executors' group asks the shards too: they are all that executors write to with their tokens, and tell the highest that
//! they have seen. A process that only executes has no database, and needs none for that.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dtf_model::cluster::ClusterTable;
use dtf_model::shard::ShardQueue;
use dtf_model::{Role, Shard, StoreError};
use lrmf_core::{GenerationFloor, HeldTasks};
use tokio::sync::watch;
use tracing::warn;

/// The shortest time between two marks: in it, fewer generations come about than a group leaves out that has fallen below
/// the mark.
const PAUSE: Duration = Duration::from_secs(1);
/// The pause before a mark that was not written is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// The highest generation of a role's group, as the stores that its holders write to know it.
pub(crate) struct Generations {
    table: Arc<dyn ClusterTable>,
    name: String,
    /// The shards, for the executors' group.
    shards: Option<(Arc<dyn ShardQueue>, Vec<Shard>)>,
}

impl Generations {
    pub(crate) fn of(
        role: Role,
        table: Arc<dyn ClusterTable>,
        shards: &Arc<dyn ShardQueue>,
        count: u32,
    ) -> Self {
        let shards =
            (role == Role::Executor).then(|| (shards.clone(), (0..count).map(Shard).collect::<Vec<_>>()));
        Self { table, name: format!("generation.{role}"), shards }
    }

    /// Raises the mark as the tokens of what this process holds rise, for as long as it is a member.
    pub(crate) async fn keep(self: Arc<Self>, mut held: watch::Receiver<HeldTasks>) {
        let mut mark = 0;
        loop {
            let highest = held.borrow_and_update().values().map(|holding| holding.token.0).max();
            if let Some(highest) = highest.filter(|highest| *highest > mark) {
                match self.raise(highest).await {
                    Ok(raised) => mark = raised,
                    Err(error) => {
                        warn!(mark = self.name, %error, "not noted, tried again");
                        tokio::time::sleep(AGAIN).await;
                        continue;
                    }
                }
                tokio::time::sleep(PAUSE).await;
            }
            if held.changed().await.is_err() {
                return;
            }
        }
    }

    async fn raise(&self, to: u64) -> Result<u64, StoreError> {
        loop {
            let noted = self.table.note_once(&self.name, "0").await?;
            let there = number(&noted);
            if there >= to || self.table.replace_note(&self.name, &noted, &to.to_string()).await? {
                return Ok(there.max(to));
            }
            // Another process was faster: look again.
        }
    }
}

#[async_trait]
impl GenerationFloor for Generations {
    async fn highest(&self) -> anyhow::Result<u64> {
        let marked = self.table.note_once(&self.name, "0").await.map(|noted| number(&noted));
        let Some((queue, shards)) = &self.shards else { return Ok(marked?) };
        let seen = queue.tokens(shards).await?.into_iter().max().unwrap_or_default();
        // The shards know all that matters to executors: they need not wait for a database that is away.
        Ok(marked.unwrap_or_default().max(seen.0))
    }
}

/// A note that is no number is of a newer program, or of nobody: as good as none.
fn number(note: &str) -> u64 {
    note.parse().unwrap_or(0)
}
