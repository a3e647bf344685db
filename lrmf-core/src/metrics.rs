//! The names of all metrics of this crate, recorded through the `metrics` facade: where the process installs no
//! recorder they cost nothing.
//!
//! Every metric has the label `group`, and no other one unless the table says so. Members and tasks are no labels, as there can be any number of them: where one
//! process has several members of a group, their counters and held tasks add up, and of the gauges of their sessions the last
//! one set counts.
//!
//! | metric | kind | what |
//! |---|---|---|
//! | `lrmf_tasks_held` | gauge | tasks that run in this process |
//! | `lrmf_assigned_total`, `lrmf_revoked_total`, `lrmf_assign_failed_total` | counters | tasks started, stopped, not started |
//! | `lrmf_revoke_seconds` | histogram | from asking a worker to stop a task to its end |
//! | `lrmf_keep_alive_age_seconds` | gauge | age of the last sign of life that the store confirmed |
//! | `lrmf_deadline_seconds` | gauge | how long the tasks may run without another one; near 0 they are about to stop |
//! | `lrmf_fenced_total` | counter | sessions lost, or given up before they could be |
//! | `lrmf_leading` | gauge | 1 where this process leads; so the sum over all processes is 1 |
//! | `lrmf_members`, `lrmf_tasks` | gauges | members with a session, and tasks, as the leader sees them; 0 elsewhere |
//! | `lrmf_tasks_unassigned` | gauge | tasks that run nowhere, as the leader sees it; 0 elsewhere |
//! | `lrmf_generation` | gauge | the generation that this process committed last as the leader |
//! | `lrmf_granted_total`, `lrmf_moved_total` | counters | tasks that the leader granted, and asked back from living members |
//! | `lrmf_handover_seconds` | histogram | from asking a member for a task to granting it to another one |
//! | `lrmf_plan_seconds` | histogram | how long the assignor took, as the leader sees it |
//! | `lrmf_store_errors_total` | counter | calls of the store that failed; label `retryable`: whether the same call may succeed later |
//! | `lrmf_store_retries_total` | counter | calls of the store that were made again after the one before, of the same kind, had failed |
//! | `lrmf_tasks_stuck_total` | counter | tasks that a member was found unable to stop, as the leader sees it |
//! | `lrmf_leader_stalled_total` | counter | leaders that got nowhere and left the leadership to another member |
//! | `lrmf_ack_bytes` | histogram | size of the acknowledgements that a member writes |
//! | `lrmf_driver_delay_seconds` | histogram | how much later than it was due a member looked at the time |
//! | `lrmf_provider_failed_total`, `lrmf_plan_refused_total` | counters | answers and plans that could not be used |

use metrics::{Gauge, counter, gauge, histogram};

use crate::error::CoordinationError;
use crate::event::Event;
use crate::ids::GroupId;
use crate::protocol::Now;
use crate::protocol::node::Node;

/// Gauge: tasks that run in this process.
pub const TASKS_HELD: &str = "lrmf_tasks_held";
/// Counter: tasks started.
pub const ASSIGNED: &str = "lrmf_assigned_total";
/// Counter: tasks stopped.
pub const REVOKED: &str = "lrmf_revoked_total";
/// Counter: tasks that could not be started.
pub const ASSIGN_FAILED: &str = "lrmf_assign_failed_total";
/// Counter: sessions lost, or given up before they could be.
pub const FENCED: &str = "lrmf_fenced_total";
/// Gauge: the generation that this process committed last as the leader.
pub const GENERATION: &str = "lrmf_generation";
/// Counter: tasks that this process granted as the leader.
pub const GRANTED: &str = "lrmf_granted_total";
/// Counter: tasks that this process asked back from living members as the leader.
pub const MOVED: &str = "lrmf_moved_total";
/// Counter: answers of the provider that could not be used.
pub const PROVIDER_FAILED: &str = "lrmf_provider_failed_total";
/// Counter: plans that were refused.
pub const PLAN_REFUSED: &str = "lrmf_plan_refused_total";
/// Histogram: seconds from stopping being asked for to its end.
pub const REVOKE_SECONDS: &str = "lrmf_revoke_seconds";

/// Gauge: seconds since the last sign of life that the store confirmed.
pub const KEEP_ALIVE_AGE: &str = "lrmf_keep_alive_age_seconds";
/// Gauge: seconds until the tasks stop, where no further sign of life is confirmed.
pub const DEADLINE: &str = "lrmf_deadline_seconds";
/// Gauge: whether this process leads the group.
pub const LEADING: &str = "lrmf_leading";
/// Gauge: members with a session, as the leader sees them.
pub const MEMBERS: &str = "lrmf_members";
/// Gauge: tasks, as the leader knows them.
pub const TASKS: &str = "lrmf_tasks";
/// Gauge: tasks that run nowhere, as the leader sees it.
pub const TASKS_UNASSIGNED: &str = "lrmf_tasks_unassigned";
/// Histogram: seconds from asking a living member for a task to granting it to another one.
pub const HANDOVER_SECONDS: &str = "lrmf_handover_seconds";

/// Histogram: seconds that the assignor took.
pub const PLAN_SECONDS: &str = "lrmf_plan_seconds";
/// Counter: tasks that a member was found unable to stop, seen by the leader.
pub const STUCK: &str = "lrmf_tasks_stuck_total";
/// Counter: leaders that got nowhere and left the leadership to another member.
pub const LEADER_STALLED: &str = "lrmf_leader_stalled_total";
/// Counter: calls of the store that failed.
pub const STORE_ERRORS: &str = "lrmf_store_errors_total";
/// Counter: calls of the store that were made again after one that had failed.
pub const STORE_RETRIES: &str = "lrmf_store_retries_total";
/// Histogram: bytes of the acknowledgements that a member writes.
pub const ACK_BYTES: &str = "lrmf_ack_bytes";
/// Histogram: seconds by which a member looked at the time too late.
pub const DRIVER_DELAY: &str = "lrmf_driver_delay_seconds";

/// The gauges of one member.
pub(crate) struct Gauges {
    keep_alive_age: Gauge,
    deadline: Gauge,
    leading: Gauge,
    group: [Gauge; 3],
    leads: bool,
}

impl Gauges {
    pub(crate) fn new(group: &GroupId) -> Self {
        let gauge = |name: &'static str| gauge!(name, "group" => group.to_string());
        Self {
            keep_alive_age: gauge(KEEP_ALIVE_AGE),
            deadline: gauge(DEADLINE),
            leading: gauge(LEADING),
            group: [MEMBERS, TASKS, TASKS_UNASSIGNED].map(gauge),
            leads: false,
        }
    }

    /// Shows the member as it is now.
    pub(crate) fn show(&mut self, node: &Node, now: Now) {
        let (age, left) = node.signs_of_life(now).unwrap_or_default();
        self.keep_alive_age.set(age.as_secs_f64());
        self.deadline.set(left.as_secs_f64());
        let overview = node.overview();
        // Who does not lead says so once: another member in this process may.
        if overview.is_some() || self.leads {
            self.leads = overview.is_some();
            self.leading.set(f64::from(u8::from(self.leads)));
            let overview = overview.unwrap_or_default();
            let values = [overview.members, overview.tasks, overview.unassigned];
            for (gauge, value) in self.group.iter().zip(values) {
                gauge.set(value as f64);
            }
        }
    }
}

/// Counts what events say.
pub(crate) fn record(group: &GroupId, event: &Event) {
    let label = || [("group", group.to_string())];
    let count = |name: &'static str, by: u64| counter!(name, &label()).increment(by);
    match event {
        Event::Assigned(_) => {
            gauge!(TASKS_HELD, &label()).increment(1.0);
            count(ASSIGNED, 1);
        }
        Event::Revoked(_) => {
            gauge!(TASKS_HELD, &label()).decrement(1.0);
            count(REVOKED, 1);
        }
        Event::AssignFailed { .. } => count(ASSIGN_FAILED, 1),
        Event::Fenced { .. } => count(FENCED, 1),
        Event::Committed { generation, granted, releasing } => {
            // Generations are below 2^53: exact in a double.
            gauge!(GENERATION, &label()).set(generation.0 as f64);
            count(GRANTED, *granted as u64);
            count(MOVED, *releasing as u64);
        }
        Event::HandedOver { took, .. } => {
            histogram!(HANDOVER_SECONDS, &label()).record(took.as_secs_f64());
        }
        Event::TaskStuck { .. } => count(STUCK, 1),
        Event::LeaderStalled { .. } => count(LEADER_STALLED, 1),
        Event::ProviderFailed { .. } => count(PROVIDER_FAILED, 1),
        Event::PlanRefused { .. } => count(PLAN_REFUSED, 1),
        _ => {}
    }
}

/// Records the time that a plan took.
pub(crate) fn plan_took(group: &GroupId, span: std::time::Duration) {
    histogram!(PLAN_SECONDS, "group" => group.to_string()).record(span.as_secs_f64());
}

/// A call of the store failed.
pub(crate) fn store_failed(group: &GroupId, error: &CoordinationError) {
    let retryable = if error.is_retryable() { "true" } else { "false" };
    counter!(STORE_ERRORS, "group" => group.to_string(), "retryable" => retryable).increment(1);
}

/// A call of the store is made again.
pub(crate) fn store_retried(group: &GroupId) {
    counter!(STORE_RETRIES, "group" => group.to_string()).increment(1);
}

/// An acknowledgement of this size is written.
pub(crate) fn ack_written(group: &GroupId, bytes: usize) {
    histogram!(ACK_BYTES, "group" => group.to_string()).record(u32::try_from(bytes).unwrap_or(u32::MAX));
}

/// A member looked at the time so much later than it was to.
pub(crate) fn driver_delayed(group: &GroupId, span: std::time::Duration) {
    histogram!(DRIVER_DELAY, "group" => group.to_string()).record(span.as_secs_f64());
}

/// Records the time that a revoke took.
pub(crate) fn revoke_took(group: &GroupId, span: std::time::Duration) {
    histogram!(REVOKE_SECONDS, "group" => group.to_string()).record(span.as_secs_f64());
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use ::metrics::{
        Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
        SharedString, Unit,
    };

    use super::*;
    use crate::event::FenceReason;
    use crate::ids::{Generation, Token};
    use crate::smooth::SmoothWorker;
    use crate::task::{Holding, Task};
    use crate::testkit::group::TestGroup;

    /// Writes down what is recorded.
    #[derive(Clone, Default)]
    struct Notes(Arc<Mutex<Vec<String>>>);

    struct Note(String, Notes);

    impl Note {
        fn write(&self, what: impl std::fmt::Display) {
            self.1.0.lock().unwrap().push(format!("{} {what}", self.0));
        }
    }

    impl CounterFn for Note {
        fn increment(&self, by: u64) {
            self.write(by);
        }
        fn absolute(&self, _: u64) {}
    }

    impl GaugeFn for Note {
        fn increment(&self, by: f64) {
            self.write(format_args!("+{by}"));
        }
        fn decrement(&self, by: f64) {
            self.write(format_args!("-{by}"));
        }
        fn set(&self, to: f64) {
            self.write(format_args!("={to}"));
        }
    }

    impl HistogramFn for Note {
        fn record(&self, _: f64) {
            self.write("~");
        }
    }

    impl Notes {
        fn take(&self) -> Vec<String> {
            std::mem::take(&mut *self.0.lock().unwrap())
        }

        /// Returns the value that a gauge was set to last.
        fn last(notes: &[String], gauge: &str) -> Option<f64> {
            let of_gauge = |note: &String| note.strip_prefix(gauge)?.strip_prefix(" =")?.parse().ok();
            notes.iter().rev().find_map(of_gauge)
        }
    }

    /// Everything runs on this thread, so that the recorder, which is this thread's, hears all of it.
    #[test]
    fn a_group_shows_its_size_its_handovers_and_how_it_is_doing() {
        let notes = Notes::default();
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let join = async |group: &mut TestGroup, name| {
            group.join(name, SmoothWorker::new(|_| {})).await;
            group.settled().await;
        };
        ::metrics::with_local_recorder(&notes, || {
            runtime.block_on(async {
                let mut group = TestGroup::new((0..4).map(|task| Task::new(task.to_string(), "")));
                join(&mut group, "a").await;
                notes.take();
                join(&mut group, "b").await;
                let heard = notes.take();
                let last = |gauge| Notes::last(&heard, gauge).unwrap();
                let sizes = [LEADING, MEMBERS, TASKS, TASKS_UNASSIGNED].map(last);
                assert_eq!(sizes, [1.0, 2.0, 4.0, 0.0]);
                // TTL 10 s, margin 3 s, a sign of life every third of the rest.
                assert!((0.0..3.0).contains(&last(KEEP_ALIVE_AGE)), "{}", last(KEEP_ALIVE_AGE));
                assert!((4.0..=7.0).contains(&last(DEADLINE)), "{}", last(DEADLINE));
                let handovers = heard.iter().filter(|note| note.starts_with(HANDOVER_SECONDS)).count();
                assert_eq!(handovers, 2);
                // The leader alone, and nobody after it.
                group.stop("b").await;
                group.stop("a").await;
                assert_eq!(Notes::last(&notes.take(), LEADING), Some(0.0));
            });
        });
    }

    #[test]
    fn failed_calls_of_the_store_and_their_retries_are_counted() {
        let notes = Notes::default();
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        ::metrics::with_local_recorder(&notes, || {
            runtime.block_on(async {
                let mut group = TestGroup::new([Task::new("x", "")]);
                group.join("a", SmoothWorker::new(|_| {})).await;
                group.settled().await;
                let heard = notes.take();
                assert!(!heard.iter().any(|note| note.starts_with("lrmf_store_")), "{heard:?}");
                group.partition("a");
                group.advance(Duration::from_secs(4)).await;
                group.heal("a");
                group.settled().await;
                let heard = notes.take();
                let count = |name: &str| heard.iter().filter(|note| note.starts_with(name)).count();
                let (errors, retries) = (count(STORE_ERRORS), count(STORE_RETRIES));
                // Each that failed was made again, by the end.
                assert!(errors > 0 && retries > 0 && retries <= errors, "{errors} errors, {retries} retries");
            });
        });
    }

    impl Recorder for Notes {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            Counter::from_arc(Arc::new(Note(key.name().to_owned(), self.clone())))
        }
        fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::from_arc(Arc::new(Note(key.name().to_owned(), self.clone())))
        }
        fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::from_arc(Arc::new(Note(key.name().to_owned(), self.clone())))
        }
    }

    #[test]
    fn events_are_counted() {
        let notes = Notes::default();
        let group = GroupId::new("p", "b", "t").unwrap();
        let holding = Holding { task: Task::new("x", ""), token: Token(1) };
        let committed = Event::Committed { generation: Generation(7), granted: 2, releasing: 3 };
        let error = || "no".to_owned();
        let failed = Event::AssignFailed { key: "x".into(), token: Token(1), error: error() };
        let events = [
            Event::Assigned(holding.clone()),
            Event::Revoked(holding),
            failed,
            Event::Fenced { reason: FenceReason::Deadline },
            committed,
            Event::ProviderFailed { error: error() },
            Event::PlanRefused { error: error() },
        ];
        ::metrics::with_local_recorder(&notes, || {
            events.iter().for_each(|event| record(&group, event));
            revoke_took(&group, Duration::from_millis(5));
        });
        let notes = notes.0.lock().unwrap().join(", ");
        assert_eq!(
            notes,
            "lrmf_tasks_held +1, lrmf_assigned_total 1, lrmf_tasks_held -1, lrmf_revoked_total 1, \
             lrmf_assign_failed_total 1, lrmf_fenced_total 1, \
             lrmf_generation =7, lrmf_granted_total 2, lrmf_moved_total 3, \
             lrmf_provider_failed_total 1, lrmf_plan_refused_total 1, lrmf_revoke_seconds ~"
        );
    }
}
