//! The states of the tasks of this process's watch buckets, read now and then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use dtf_model::plugin::PluginRegistry;
use dtf_model::queue::{QueueReader, TaskState};
use dtf_model::role::part_number;
use dtf_model::table::{TaskHead, TaskTable};
use dtf_model::{ClusterShape, Role, StoreError, TaskId};
use lrmf_core::CoordinatorHandle;
use metrics::{Label, gauge};
use tracing::debug;

use super::SupportedTypes;
use crate::serve::metrics as names;
use crate::service::Ports;

/// The period of reads.
const PERIOD: Duration = Duration::from_secs(10);
/// The number of rows that are read at once.
const PAGE: u32 = 500;
/// How many tasks' queues are looked at in a round, so that ten thousand tasks cost no more than these. Those beyond are
/// counted as tasks, and their subtasks are not.
const MOST: usize = 2000;

/// The gauges of a type and group.
type Sums = BTreeMap<(String, String), [f64; 5]>;

const GAUGES: [&str; 5] = [names::ACTIVE, names::PENDING, names::DELAYED, names::RUNNING, names::UNCOLLECTED];

/// Looks up how tasks stand.
pub(crate) struct Sampler {
    table: Arc<dyn TaskTable>,
    queues: Arc<dyn QueueReader>,
    shape: ClusterShape,
    manager: CoordinatorHandle,
    kinds: SupportedTypes,
    /// The series that were shown, which have to be taken back when they are no more.
    shown: BTreeSet<(String, String)>,
}

impl Sampler {
    pub(crate) fn new(
        ports: &Ports,
        shape: ClusterShape,
        manager: CoordinatorHandle,
        plugins: &PluginRegistry,
    ) -> Self {
        let (table, queues) = (ports.table.clone(), ports.queues.clone());
        Self { table, queues, shape, manager, kinds: SupportedTypes::new(plugins), shown: BTreeSet::new() }
    }

    /// Never ends.
    pub(crate) async fn run(mut self) {
        let mut pause = tokio::time::interval(PERIOD);
        pause.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            pause.tick().await;
            match self.look().await {
                Ok(sums) => self.show(sums),
                Err(error) => debug!(%error, "how tasks stand is not known"),
            }
        }
    }

    async fn look(&self) -> Result<Sums, StoreError> {
        let held: Vec<_> = self.manager.held().borrow().values().map(|held| held.task.clone()).collect();
        let (mut sums, mut asked) = (Sums::new(), 0);
        for bucket in held.iter().filter_map(|task| part_number(task).ok()) {
            let share = self.shape.share(Role::Manager, bucket);
            let mut after = TaskId(0);
            loop {
                let rows = self.table.active(share, after, PAGE).await?;
                let Some(last) = rows.last().map(|row| row.id) else { break };
                after = last;
                for row in rows {
                    asked += 1;
                    let state = if asked > MOST { None } else { self.queues.state(row.id).await? };
                    self.add(&mut sums, &row, state.as_ref());
                }
            }
        }
        Ok(sums)
    }

    fn add(&self, sums: &mut Sums, row: &TaskHead, state: Option<&TaskState>) {
        let [kind, group] = self.kinds.of(row.kind.task_type, &row.group);
        let sum = sums.entry((kind.value().to_owned(), group.value().to_owned())).or_default();
        sum[0] += 1.0;
        if let Some(state) = state {
            let uncollected = state.counts.counted().saturating_sub(state.collected);
            let numbers = [state.pending, state.delayed, state.running, uncollected];
            sum[1..].iter_mut().zip(numbers).for_each(|(sum, number)| *sum += number as f64);
        }
    }

    fn show(&mut self, sums: Sums) {
        let over: Vec<_> = self.shown.iter().filter(|shown| !sums.contains_key(*shown)).cloned().collect();
        for (key, values) in over.into_iter().map(|key| (key, [0.0; 5])).chain(sums.clone()) {
            let labels = vec![Label::new("type", key.0), Label::new("group", key.1)];
            for (name, value) in GAUGES.into_iter().zip(values) {
                gauge!(name, labels.clone()).set(value);
            }
        }
        self.shown = sums.into_keys().collect();
    }
}
