//! The scheduler: shares the executors' capacity between tasks.
//!
//! One future a partition. It waits for hints, then deals the room that shards have out to tasks, in the order that the
//! [`policy`] says, until there is no room or nothing pending. Work waits with its task and not with an executor, so the
//! order is decided as late as possible.

mod bell;
mod blocked;
mod callback;
mod capacity;
mod credit;
mod dispatch;
mod groups;
mod limiter;
mod lister;
mod parked;
mod parked_keyed;
pub mod policy;
mod recovery;
mod results;
mod shipping;
mod stall;
mod sync;
mod tasks;
mod token_bucket;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dtf_model::queue::SchedulerQueue;
use dtf_model::role::{Role, part_number};
use dtf_model::shard::ShardQueue;
use dtf_model::table::TaskTable;
use dtf_model::wake::{Hint, Topic};
use dtf_runtime::{RoleContext, until};
use futures::FutureExt;
use lrmf_core::runner::{Held, RunTask};
use tokio::time::Instant;
use tracing::warn;

use self::callback::Heard;
use self::dispatch::Dispatcher;
use self::groups::GroupReader;
use self::lister::Lister;
use self::results::ResultsBudget;
use self::tasks::Tasks;

/// The wait before a store is tried again after a failure.
const AFTER_FAILURE: Duration = Duration::from_millis(200);

/// The stores that the scheduler works with.
#[derive(Clone)]
pub struct SchedulerPorts {
    /// `tbl_task`.
    pub table: Arc<dyn TaskTable>,
    /// The scheduler's side of the queues.
    pub queues: Arc<dyn SchedulerQueue>,
    /// The way from schedulers to executors.
    pub shards: Arc<dyn ShardQueue>,
}

/// Settings of the scheduler role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchedulerConfig {
    /// The size of the results that may wait for collectors over all tasks of the cluster, in bytes: 1 GiB by default.
    pub results_bytes: u64,
}

impl Default for SchedulerConfig {
    fn default() -> Self {
        Self { results_bytes: 1 << 30 }
    }
}

/// The scheduler role, for the partitions that its member holds.
pub struct Scheduler {
    config: SchedulerConfig,
    ports: SchedulerPorts,
    context: RoleContext,
}

impl Scheduler {
    /// A scheduler of the tasks in its table.
    pub fn new(config: SchedulerConfig, ports: SchedulerPorts, context: RoleContext) -> Self {
        Self { config, ports, context }
    }
}

#[async_trait]
impl RunTask for Scheduler {
    async fn run(&self, held: Held) -> anyhow::Result<()> {
        let partition = part_number(&held.task)?;
        let share = self.context.shape.share(Role::Scheduler, partition);
        let mut listener = self.context.wake.listen(Topic::Scheduling(partition));
        let results = ResultsBudget::new(self.config.results_bytes, share.of);
        let mut tasks = Tasks::new(share, results, held.token, self.ports.clone(), self.context.clone());
        let mut credit = self.context.wake.listen(Topic::Credit(partition));
        let mut dispatcher = Dispatcher::new(self.ports.clone(), self.context.clone());
        let mut lister = Lister::new(self.ports.table.clone(), self.ports.queues.clone(), share);
        let mut groups = GroupReader::new(self.ports.table.clone());
        let held_since = self.context.clock.now();
        let (mut more, mut rested) = (false, true);
        loop {
            // A group that waits may be let go on.
            let busy = !tasks.policy.is_idle() || tasks.is_any_group_waiting();
            let due = tasks.next_due();
            tokio::select! {
                () = held.stop.cancelled() => return Ok(()),
                page = lister.next() => {
                    let last = page.last;
                    if page.store_may_have_forgotten {
                        dispatcher.forget();
                    }
                    tasks.look_at_page(page).await;
                    if last {
                        self.context.keep_or_decline(Role::Scheduler, &held, &tasks.needs(), held_since).await?;
                    }
                }
                () = until(due) => tasks.wake_due(Instant::now()),
                hint = listener.next() => match hint {
                    Hint::Tasks(hint) => tasks.look_at(&hint).await,
                    Hint::Anything => lister.list_within(Duration::ZERO),
                },
                hint = credit.next() => dispatcher.hear(&hint),
                read = groups.next(), if busy => tasks.share_between(&read),
                heard = tasks.next_heard() => {
                    // Everything that is there, before room is dealt out again.
                    let mut next = Some(heard);
                    while let Some(heard) = next {
                        match heard {
                            Heard::Made(made) => tasks.made(*made),
                            Heard::Told(told) => tasks.told(&told),
                            Heard::Checked(checked) => tasks.checked(checked),
                            Heard::Answers(answers) => {
                                if let Err(error) = dispatcher.heard(&mut tasks, answers).await {
                                    warn!(partition, %error, "dispatch interrupted");
                                    lister.list_within(AFTER_FAILURE);
                                }
                            }
                        }
                        next = tasks.next_heard().now_or_never();
                    }
                }
                () = tokio::task::yield_now(), if more => {}
            }
            let has_turns = !tasks.policy.is_idle();
            if has_turns
                && rested
                && let Some(read) = groups.refreshed().await
            {
                tasks.share_between(&read);
            }
            rested = !has_turns;
            more = match dispatcher.deal(&mut tasks).await {
                Ok(more) => more,
                Err(error) => {
                    warn!(partition, %error, "dispatch interrupted");
                    lister.list_within(AFTER_FAILURE);
                    false
                }
            };
        }
    }
}
