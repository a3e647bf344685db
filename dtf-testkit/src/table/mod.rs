//! The conformance suite of [`TaskTable`]: one function per obligation of the trait, and [`run_all`].
//!
//! A function panics where the table breaks its obligation. Each makes the rows that it looks at, so that it works on a
//! table that has others, beside other users of it.
//!
//! ```
//! use std::sync::Arc;
//! use dtf_memory::MemoryTable;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! dtf_testkit::table::run_all(Arc::new(MemoryTable::new())).await;
//! # }
//! ```

mod creation;
mod history;
mod life;
mod lists;
mod together;

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

pub use self::creation::*;
pub use self::history::*;
pub use self::life::*;
pub use self::lists::*;
pub use self::together::*;
use dtf_model::group::ResourceGroup;
use dtf_model::ids::{RunEpoch, TaskId, TaskTypeId};
use dtf_model::param::TaskParam;
use dtf_model::plugin::TaskResult;
use dtf_model::status::{Control, Counts, TaskStatus};
use dtf_model::table::{Finish, NewTask, TaskHead, TaskRow, TaskTable};

macro_rules! obligations {
    ($($name:ident),* $(,)?) => {
        /// Runs the whole suite, one obligation after another.
        pub async fn run_all(table: Arc<dyn TaskTable>) {
            $(
                tracing::info!(obligation = stringify!($name), "checking");
                $name(&table).await;
            )*
        }
    };
}

obligations!(
    an_inserted_task_is_read_back,
    texts_are_kept_exactly,
    one_request_makes_one_task,
    ids_grow,
    what_does_not_fit_is_refused,
    a_task_of_an_unknown_group_is_refused,
    a_task_that_is_not_there_is_none,
    a_run_is_begun_once,
    the_first_start_stays,
    pausing_stops_the_clock,
    a_task_is_paused_before_its_start,
    a_pause_before_the_start_does_not_count_afterwards,
    a_repeated_wish_changes_nothing,
    the_wish_to_end_is_the_last,
    a_task_ends_once,
    a_task_ends_only_at_the_run_named,
    a_task_ends_only_as_it_may,
    an_end_keeps_an_earlier_reason,
    an_end_ends_a_pause,
    nothing_changes_an_ended_task,
    active_tasks_are_listed_by_share,
    every_filter_filters,
    every_combination_of_filters_filters,
    a_name_begins_with_what_is_asked_for,
    a_list_that_makes_no_sense_is_refused,
    a_list_is_newest_first_in_pages,
    a_list_of_a_prefix_or_of_starts_has_its_own_order,
    ended_tasks_are_listed_until_purged,
    a_task_that_has_not_ended_is_not_purged,
    history_goes_by_age,
    history_goes_by_number,
    only_history_is_forgotten,
    histories_are_listed,
    tasks_inserted_at_once_get_each_their_own_id,
    tasks_read_at_once_are_each_their_own,
    runs_begun_at_once_are_begun_once_each,
    tasks_ended_at_once_end_each_their_own_way,
);

/// The time at which the suite's tasks are created.
const CREATED: u64 = 1_800_000_000_000;

/// The table, and what the checks do to it.
struct Desk<'a>(&'a Arc<dyn TaskTable>);

impl Desk<'_> {
    /// Inserts a task, and its group before it.
    async fn insert(&self, param: TaskParam) -> TaskId {
        self.group(&param.group).await;
        must(self.0.insert(&new_task(param)).await)
    }

    async fn group(&self, name: &str) {
        if must(self.0.group(name).await).is_none() {
            must(self.0.set_group(&ResourceGroup::named(name)).await);
        }
    }

    async fn plain(&self) -> TaskId {
        self.insert(TaskParam::default()).await
    }

    /// A task at its first run.
    async fn running(&self) -> TaskId {
        let id = self.plain().await;
        assert!(self.begin(id, 0, CREATED + 10).await, "a created task was not begun");
        id
    }

    /// A task that went the shortest way to this status.
    async fn with_status(&self, status: TaskStatus) -> TaskRow {
        let id = match status {
            // Only what has not begun is skipped.
            TaskStatus::Created | TaskStatus::Skipped => self.plain().await,
            _ => self.running().await,
        };
        match status {
            TaskStatus::Created | TaskStatus::Running => {}
            TaskStatus::Skipped => assert!(self.finish(id, &ends(0, status, CREATED + 20)).await),
            TaskStatus::Paused => assert!(self.wish(id, Control::Pause, "", CREATED + 20).await),
            ended => assert!(self.finish(id, &ends(1, ended, CREATED + 20)).await),
        }
        let row = self.row(id).await;
        assert_eq!(row.status, status);
        row
    }

    async fn row(&self, id: TaskId) -> TaskRow {
        match must(self.0.get(id).await) {
            Some(row) => row,
            None => panic!("task {id} is not there"),
        }
    }

    async fn begin(&self, id: TaskId, expected: u32, now: u64) -> bool {
        must(self.0.begin_run(id, RunEpoch(expected), now).await)
    }

    async fn wish(&self, id: TaskId, control: Control, reason: &str, now: u64) -> bool {
        must(self.0.set_control(id, control, reason, now).await)
    }

    async fn finish(&self, id: TaskId, finish: &Finish) -> bool {
        must(self.0.finish(id, finish).await)
    }
}

fn new_task(param: TaskParam) -> NewTask {
    NewTask { request: Uuid::new_v4(), task_type: TaskTypeId(7), param, now: CREATED }
}

fn ends(run: u32, status: TaskStatus, now: u64) -> Finish {
    let counts = Counts { created: 15, succeeded: 1, failed: 2, cancelled: 4, timed_out: 8 };
    let result = TaskResult { code: -3, reason: "done".into(), data: serde_json::json!({"sum": [1, "ü"]}) };
    Finish { run: RunEpoch(run), status, counts, reason: "as told".into(), result: Some(result), now }
}

/// A text that no other row has.
fn unique() -> String {
    Uuid::new_v4().to_string()
}

fn ids(rows: &[TaskRow]) -> Vec<TaskId> {
    rows.iter().map(|row| row.id).collect()
}

fn head_ids(heads: &[TaskHead]) -> Vec<TaskId> {
    heads.iter().map(|head| head.id).collect()
}

fn must<T, E: fmt::Display>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("the table failed: {error}"),
    }
}
