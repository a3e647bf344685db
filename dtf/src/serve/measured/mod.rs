//! The stores of a service, with every call measured, and what the calls say of tasks counted.
//!
//! What is counted is what this process did: the sum over all processes is the cluster's. A report that is sent again is
//! counted again; the books in the stores are exact, and these are not them.

mod kinds;
mod sampler;

use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

use dtf_model::StoreError;
use dtf_model::intercept::{Call, Intercepted, Interceptor, Subject};
use dtf_model::plugin::PluginRegistry;
use dtf_model::queue::{Reported, Taken, TaskState};
use metrics::{Label, counter, histogram};

use self::kinds::SupportedTypes;
use super::metrics as names;
use crate::service::Ports;

pub(crate) use self::sampler::Sampler;

/// These stores, measured; the kinds of task are shown by these names.
pub(crate) fn measured(ports: Ports, plugins: &PluginRegistry) -> Ports {
    let meter = Arc::new(Meter { kinds: SupportedTypes::new(plugins) });
    Ports {
        table: Intercepted::new(ports.table, meter.clone()),
        queues: Intercepted::new(ports.queues, meter),
        ..ports
    }
}

/// Measures calls.
struct Meter {
    kinds: SupportedTypes,
}

impl Interceptor for Meter {
    async fn around<T: Any + Send>(
        &self,
        call: Call<'_>,
        next: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        if let Subject::Open(spec) = call.subject {
            self.kinds.learn(spec);
        }
        let labels = [("store", call.store), ("call", call.method)];
        let begun = Instant::now();
        let answer = next.await;
        histogram!(names::CALL_SECONDS, &labels).record(begun.elapsed().as_secs_f64());
        counter!(names::CALL_ERRORS, &labels).increment(u64::from(answer.is_err()));
        if let Ok(answer) = &answer {
            self.learn(answer);
            self.count(call.subject, answer);
        }
        answer
    }
}

impl Meter {
    /// Learns of which kind a task is, and counts what was dispatched, from an answer that tells it.
    fn learn(&self, answer: &dyn Any) {
        let state = answer.downcast_ref::<TaskState>();
        let state = state.or_else(|| answer.downcast_ref::<Option<TaskState>>()?.as_ref());
        if let Some(state) = state {
            self.kinds.learn(&state.spec);
        }
        if let Some(taken) = answer.downcast_ref::<Taken>() {
            counter!(names::PARCELS, "step" => "dispatched").increment(taken.parcels.len() as u64);
        }
    }

    fn count(&self, subject: Subject<'_>, answer: &dyn Any) {
        match subject {
            Subject::None | Subject::Open(_) => {}
            Subject::Push { task, parcels, subtasks } => {
                counter!(names::PARCELS, "step" => "pushed").increment(parcels);
                counter!(names::GENERATED, self.kinds.labels(task)).increment(subtasks);
            }
            Subject::Complete { task, busy, outcomes } => {
                let labels = self.kinds.labels(task);
                counter!(names::PARCELS, "step" => "reported").increment(1);
                histogram!(names::PARCEL_SECONDS, labels[..1].to_vec()).record(busy.as_secs_f64());
                let counted = answer.downcast_ref().map_or(0, |reported: &Reported| reported.counted);
                counter!(names::COUNTED, labels.clone()).increment(counted);
                for (outcome, count) in outcomes.into_iter().filter(|(_, count)| *count > 0) {
                    let mut labels = labels.clone();
                    labels.push(Label::from_static_parts("outcome", outcome));
                    counter!(names::REPORTED, labels).increment(count);
                }
            }
            Subject::Commit { task, batches } => {
                counter!(names::COLLECTED, self.kinds.labels(task)).increment(batches);
            }
            Subject::Finish { task, status } => {
                if answer.downcast_ref() == Some(&true) {
                    let mut labels = self.kinds.labels(task);
                    labels.push(Label::new("status", status.to_string()));
                    counter!(names::TASKS_ENDED, labels).increment(1);
                }
            }
        }
    }
}
