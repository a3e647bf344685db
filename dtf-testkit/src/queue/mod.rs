//! The conformance suite of [`QueueStore`]: one function per obligation of the trait, and [`run_all`].
//!
//! A function panics where the store breaks its obligation. Each makes tasks of its own, under ids that no other has, so
//! that it works on a store that has others, beside other users of it. Where time has to pass, the suite sleeps, so a store
//! with a clock of its own must have it follow tokio's.
//!
//! ```
//! use std::sync::Arc;
//! use dtf_memory::MemoryQueues;
//! use lrmf_core::clock::RuntimeClock;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let store = Arc::new(MemoryQueues::new(Arc::new(RuntimeClock::new())));
//! dtf_testkit::queue::run_all(store).await;
//! # }
//! ```

mod collection;
mod dispatch;
mod generation;
mod keys;
mod life;
mod losses;
pub mod model;
mod reports;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lrmf_core::Token;
use uuid::Uuid;

pub use self::collection::*;
pub use self::dispatch::*;
pub use self::generation::*;
pub use self::keys::*;
pub use self::life::*;
pub use self::losses::*;
pub use self::model::a_random_history_is_as_in_memory;
pub use self::reports::*;
use super::{must, unique_number};
use dtf_model::error::StoreError;
use dtf_model::ids::{EmitEpoch, RunEpoch, Seq, Shard, TaskId, TaskTypeId};
use dtf_model::param::{TaskParam, TaskSpec};
use dtf_model::plugin::SubtaskResult;
use dtf_model::queue::{
    Fence, Outcome, Parcel, ParcelId, ParcelReport, Push, QueueStore, Report, Reported, ResultBatch,
    TakeRequest, Taken, TaskProgress, TaskState, Usage,
};
use dtf_model::status::Control;

macro_rules! obligations {
    ($($name:ident),* $(,)?) => {
        /// Runs the whole suite, one obligation after another.
        pub async fn run_all(store: Arc<dyn QueueStore>) {
            $(
                tracing::info!(obligation = stringify!($name), "checking");
                $name(&store).await;
            )*
        }
    };
}

obligations!(
    what_is_absent_is_gone,
    an_opened_task_is_empty,
    opening_again_changes_nothing,
    a_later_run_replaces_an_earlier_one,
    an_earlier_run_is_refused,
    queues_of_another_creation_are_never_adopted,
    the_first_cluster_owns_the_queues,
    controls_are_listed_for_those_that_are_there,
    a_wish_to_end_is_never_taken_back,
    the_first_reason_to_stop_stays,
    what_a_task_waits_for_is_seen,
    closing_counts_the_rest_as_cancelled,
    after_the_close_nothing_is_counted,
    purging_deletes_up_to_the_run,
    every_role_is_fenced_by_its_own_token,
    tokens_are_told_apart_over_their_whole_range,
    a_load_starts_at_the_beginning,
    a_push_adds_parcels_and_saves_the_status,
    a_push_is_added_once,
    a_push_that_does_not_follow_is_refused,
    a_push_of_a_superseded_load_is_refused,
    the_last_push_ends_the_generation,
    the_bytes_that_wait_are_known,
    bodies_of_any_kind_come_back_as_they_were,
    a_large_batch_is_one_push,
    parcels_are_taken_in_order_and_recorded,
    nothing_is_taken_unless_the_task_runs,
    a_take_is_limited_and_splits_parcels,
    what_was_used_is_known,
    what_is_put_back_comes_first,
    what_is_put_back_with_a_delay_comes_when_due,
    only_what_runs_is_put_back,
    what_is_due_comes_in_its_order_and_first,
    no_more_than_some_become_due_at_once,
    a_new_scheduler_finds_what_runs,
    nothing_is_taken_while_too_many_results_wait,
    nothing_is_taken_while_results_are_too_large,
    nothing_is_taken_while_results_are_larger_than_asked_for,
    what_ended_is_counted_by_its_outcome,
    a_report_is_counted_once,
    every_kind_of_report_in_one_parcel,
    a_success_of_an_earlier_attempt_counts,
    only_the_running_attempt_fails,
    a_settled_retry_is_not_given_out,
    what_a_put_back_parcel_did_counts,
    a_report_of_another_load_is_refused,
    a_report_that_is_not_of_this_task_is_refused,
    numbers_of_an_earlier_load_stay_its_own,
    what_goes_on_is_a_parcel_of_its_own,
    a_late_success_counts_out_of_a_running_parcel,
    what_is_returned_travels_together,
    what_a_lost_executor_had_comes_back_one_by_one,
    what_was_lost_is_known_until_it_is_given_out,
    only_what_the_lost_executor_had_comes_back,
    a_suspect_needs_proof,
    an_accusation_falls_with_what_is_returned,
    keyed_parcels_go_where_their_lane_is_served,
    a_place_serves_several_lanes_and_the_longest_wait_first,
    lanes_of_very_many_keys_are_named,
    keys_take_turns,
    a_full_lane_holds_up_no_other,
    what_has_a_key_and_what_has_none_go_by_number,
    an_ordered_key_runs_one_parcel_at_a_time,
    a_retry_holds_back_its_key,
    what_comes_back_keeps_its_key_and_its_order,
    what_goes_on_holds_back_its_key,
    follow_ups_have_keys_and_go_first,
    a_settled_retry_frees_its_key,
    other_lanes_from_another_number,
    what_runs_where_is_known,
    a_report_of_a_lost_executor_frees_no_key,
    a_long_run_of_subtasks_is_counted_once,
    the_mean_run_time_is_known,
    results_are_peeked_in_order_and_stay,
    large_results_are_peeked_in_portions,
    a_commit_takes_results_off_and_adds_follow_ups,
    a_commit_is_applied_once,
    a_commit_that_does_not_follow_is_refused,
    a_commit_of_a_superseded_load_is_refused,
    follow_ups_are_subtasks_like_others,
    what_stays_open_is_executed_again_and_counted_once,
    no_more_stays_open_than_was_counted,
    a_task_is_concluded_when_it_is_complete,
    the_last_commit_may_conclude_the_task,
    a_collector_finds_the_first_results_when_it_loads,
    at_the_same_time_everything_is_counted_once,
    a_random_history_is_as_in_memory,
);

/// The token that the suite's holders have.
const TOKEN: Token = Token(9);
/// The number of lanes of the suite.
const LANES: u32 = 8;

/// A task with queues in the store.
struct Desk<'a> {
    store: &'a Arc<dyn QueueStore>,
    task: TaskId,
    run: RunEpoch,
}

impl<'a> Desk<'a> {
    /// A task just opened.
    async fn open(store: &'a Arc<dyn QueueStore>) -> Desk<'a> {
        let desk = Self::absent(store);
        must(store.open(&desk.spec()).await);
        desk
    }

    /// A task that is not in the store.
    fn absent(store: &'a Arc<dyn QueueStore>) -> Desk<'a> {
        Desk { store, task: TaskId(unique_number()), run: RunEpoch(1) }
    }

    /// A task with these parcels pushed, all of one load.
    async fn with(store: &'a Arc<dyn QueueStore>, parcels: &[usize]) -> (Desk<'a>, EmitEpoch) {
        let desk = Self::open(store).await;
        let epoch = must(store.load_generator(desk.fence()).await).epoch;
        must(store.push(desk.fence(), push(epoch, 0, parcels)).await);
        (desk, epoch)
    }

    fn spec(&self) -> TaskSpec {
        let param = TaskParam {
            name: "a \"name\"".into(),
            type_param: serde_json::json!({"deep": [1, null, "ü"]}),
            ..TaskParam::default()
        };
        TaskSpec {
            id: self.task,
            request: Uuid::from_u128(self.task.0.into()),
            run: self.run,
            task_type: TaskTypeId(3),
            param: Arc::new(param),
        }
    }

    fn fence(&self) -> Fence {
        self.with_token(TOKEN.0)
    }

    fn with_token(&self, token: u64) -> Fence {
        Fence { task: self.task, run: self.run, token: Token(token) }
    }

    async fn state(&self) -> TaskState {
        match must(self.store.state(self.task).await) {
            Some(state) => state,
            None => panic!("task {} has no queues", self.task),
        }
    }

    async fn control(&self, control: Control) {
        must(self.store.set_control(self.task, self.run, control).await);
    }

    /// Takes as many parcels as there are shards named.
    async fn take(&self, shards: &[u32]) -> Taken {
        self.take_at_most(shards, u64::MAX).await
    }

    /// Takes as many parcels as there are shards named, with at most so many subtasks.
    async fn take_at_most(&self, shards: &[u32], most: u64) -> Taken {
        let shards: Vec<_> = shards.iter().copied().map(Shard).collect();
        self.take_with(&TakeRequest::of(&shards, LANES), most).await
    }

    async fn take_with(&self, hand: &TakeRequest, most: u64) -> Taken {
        must(self.store.take(self.fence(), hand, most).await)
    }

    /// Returns the task's use of executors.
    async fn usage(&self) -> Usage {
        self.progress().await.usage
    }

    async fn progress(&self) -> TaskProgress {
        match must(self.store.progress_of(&[self.task]).await)[..] {
            [(task, progress)] if (task, progress.run) == (self.task, self.run) => progress,
            ref other => panic!("how task {} stands was expected, not {other:?}", self.task),
        }
    }

    /// Takes the next parcel, which must be there.
    async fn take_one(&self) -> Parcel {
        match self.take(&[0]).await.parcels.pop() {
            Some((Shard(0), parcel)) => parcel,
            other => panic!("a parcel for shard 0 was expected, not {other:?}"),
        }
    }

    async fn put_back(&self, parcels: &[ParcelId], after: Duration) {
        must(self.store.put_back(self.fence(), parcels, after).await);
    }

    async fn try_report(&self, parcel: &Parcel, reports: Vec<Report>) -> Result<Reported, StoreError> {
        let report = ParcelReport {
            parcel: parcel.id,
            attempt: parcel.attempt,
            executor_losses: parcel.executor_losses,
            reports,
            together: 1,
            busy: Duration::from_millis(10),
        };
        self.store.complete(self.task, self.run, report).await
    }

    async fn report(&self, parcel: &Parcel, reports: Vec<Report>) -> Reported {
        must(self.try_report(parcel, reports).await)
    }

    /// Reports that all of a parcel succeeded.
    async fn succeed(&self, parcel: &Parcel) -> Reported {
        self.report(parcel, all_succeeded(parcel)).await
    }

    /// Takes the first results.
    async fn peek(&self, offset: u64, most: usize) -> Vec<ResultBatch> {
        must(self.store.peek(self.fence(), offset, most).await)
    }
}

/// Subtasks `first` and following, in parcels of these sizes, each with its number as body.
fn push(epoch: EmitEpoch, first: u64, parcels: &[usize]) -> Push {
    let count = parcels.iter().sum::<usize>() as u64;
    Push {
        epoch,
        first: Seq(first),
        parcels: parcels.to_vec(),
        keys: Vec::new(),
        bodies: (first..first + count).map(body).collect(),
        saved: Some(Bytes::from(format!("behind {}", first + count))),
        progress: None,
        finished: false,
    }
}

fn body(seq: u64) -> Bytes {
    Bytes::from(format!("body of {seq}"))
}

fn success(text: &str) -> Outcome {
    Outcome::Succeeded(SubtaskResult { code: 7, msg: "ok".into(), body: Bytes::from(text.to_owned()) })
}

fn failure(text: &str) -> Outcome {
    Outcome::Failed { error: text.into(), body: Bytes::from_static(b"tried") }
}

fn retry(millis: u64) -> Report {
    Report::Retry { after: Duration::from_millis(millis), error: "not now".into() }
}

fn all_succeeded(parcel: &Parcel) -> Vec<Report> {
    (0..parcel.count())
        .map(|index| Report::Ended(success(&format!("{}", parcel.id.first.0 + index))))
        .collect()
}

fn firsts(taken: &Taken) -> Vec<u64> {
    taken.parcels.iter().map(|(_, parcel)| parcel.id.first.0).collect()
}

fn is_gone<T>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Gone { .. }))
}

fn is_conflict<T>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Conflict { .. }))
}

fn is_fenced<T>(result: &Result<T, StoreError>, by: u64) -> bool {
    matches!(result, Err(StoreError::Fenced { seen }) if *seen == by)
}
