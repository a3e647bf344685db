//! The names of all metrics of this crate, recorded through the `metrics` facade: where the process installs no
//! recorder they cost nothing.
//!
//! Every metric has one label, `group`. Members and tasks are no labels, as there can be any number of them: where one
//! process has several members of a group, their numbers add up.

use metrics::{counter, gauge, histogram};

use crate::event::Event;
use crate::ids::GroupId;

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
        Event::ProviderFailed { .. } => count(PROVIDER_FAILED, 1),
        Event::PlanRefused { .. } => count(PLAN_REFUSED, 1),
        _ => {}
    }
}

/// How long a revoke took.
pub(crate) fn revoke_took(group: &GroupId, span: std::time::Duration) {
    histogram!(REVOKE_SECONDS, "group" => group.to_string()).record(span.as_secs_f64());
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use ::metrics::{
        Counter, CounterFn, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    };

    use super::*;
    use crate::ids::{Generation, Token};
    use crate::task::{Holding, Task};

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
        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    #[test]
    fn events_are_counted() {
        let notes = Notes::default();
        let group = GroupId::new("p", "b", "t").unwrap();
        let holding = Holding { task: Task::new("x", ""), token: Token(1) };
        let committed = Event::Committed { generation: Generation(7), granted: 2, releasing: 3 };
        ::metrics::with_local_recorder(&notes, || {
            for event in [Event::Assigned(holding.clone()), Event::Revoked(holding), committed] {
                record(&group, &event);
            }
        });
        let notes = notes.0.lock().unwrap().join(", ");
        assert_eq!(
            notes,
            "lrmf_tasks_held +1, lrmf_assigned_total 1, lrmf_tasks_held -1, lrmf_revoked_total 1, \
             lrmf_generation =7, lrmf_granted_total 2, lrmf_moved_total 3"
        );
    }
}
