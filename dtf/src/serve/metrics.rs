//! The metrics of a service, as Prometheus reads them.
//!
//! Besides those of `lrmf_core::metrics`, by group. The type and group of a task are what was registered and named by
//! people; ids are no labels.

use dtf_model::Role;
use metrics::{counter, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::health::Report;

/// Gauge, by role: 1 where the role has a session now.
const SERVING: &str = "dtf_role_serving";
/// Gauge, by role: 1 where this process leads the role's group.
const LEADING: &str = "dtf_role_leading";
/// Gauge, by role: how many parts of the role's work this process holds.
const PARTS: &str = "dtf_role_parts";
/// Gauge: 1 where the service is ready.
const READY: &str = "dtf_ready";
/// Gauge, by version: 1.
const BUILD: &str = "dtf_build_info";

/// Histogram, by store and call: how long a call took, whatever came of it.
pub(crate) const CALL_SECONDS: &str = "dtf_store_call_seconds";
/// Counter, by store and call: calls that failed.
pub(crate) const CALL_ERRORS: &str = "dtf_store_errors_total";
/// Counter, by type and group: subtasks that were generated.
pub(crate) const GENERATED: &str = "dtf_subtasks_generated_total";
/// Counter, by type, group and outcome: subtasks that executors reported.
pub(crate) const REPORTED: &str = "dtf_subtasks_reported_total";
/// Counter, by type and group: subtasks that came into the books.
pub(crate) const COUNTED: &str = "dtf_subtasks_counted_total";
/// Counter, by step (pushed, dispatched, reported): parcels.
pub(crate) const PARCELS: &str = "dtf_parcels_total";
/// Histogram, by type: how long a parcel kept its slot.
pub(crate) const PARCEL_SECONDS: &str = "dtf_parcel_seconds";
/// Counter, by type and group: batches of results that a collector has committed.
pub(crate) const COLLECTED: &str = "dtf_result_batches_collected_total";
/// Counter, by type, group and status: tasks that ended.
pub(crate) const TASKS_ENDED: &str = "dtf_tasks_ended_total";
/// Gauge, by type and group: tasks that have not ended, of those that this process manages; as are the following.
pub(crate) const ACTIVE: &str = "dtf_tasks_active";
/// Gauge, by type and group: subtasks that wait for dispatch.
pub(crate) const PENDING: &str = "dtf_subtasks_pending";
/// Gauge, by type and group: subtasks that wait for their time.
pub(crate) const DELAYED: &str = "dtf_subtasks_delayed";
/// Gauge, by type and group: subtasks that were dispatched.
pub(crate) const RUNNING: &str = "dtf_subtasks_running";
/// Gauge, by type and group: results that wait for their collector.
pub(crate) const UNCOLLECTED: &str = "dtf_results_waiting";

/// Bounds of durations, in seconds.
const SECONDS: [f64; 10] = [0.001, 0.005, 0.02, 0.1, 0.5, 1.0, 5.0, 20.0, 60.0, 300.0];

/// The metrics of this process.
pub(crate) struct Metrics {
    recorder: PrometheusHandle,
}

impl Metrics {
    /// Begins to record; none where this process records elsewhere already.
    pub(crate) fn install() -> Option<Self> {
        let builder =
            PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS);
        match builder.and_then(PrometheusBuilder::install_recorder) {
            Ok(recorder) => Some(Self { recorder }),
            Err(error) => {
                tracing::warn!(%error, "no metrics of its own: this process records them elsewhere");
                None
            }
        }
    }

    /// What was recorded is put together; without it, durations that nobody reads pile up.
    pub(crate) fn upkeep(&self) {
        self.recorder.run_upkeep();
    }

    /// The page.
    pub(crate) fn render(&self, report: &Report) -> String {
        gauge!(BUILD, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        gauge!(READY).set(f64::from(u8::from(report.ready)));
        for role in &report.roles {
            let name = role.role.name();
            gauge!(SERVING, "role" => name).set(f64::from(u8::from(role.serving)));
            gauge!(LEADING, "role" => name).set(f64::from(u8::from(role.leading)));
            // Parts are at most 65,536: exact in a double.
            gauge!(PARTS, "role" => name).set(role.parts as f64);
        }
        self.recorder.render()
    }
}

/// Shows what a role's group has not counted yet as none, so that what is the first of its kind is seen as a change.
pub(crate) fn begin(role: Role, cluster: &str) {
    use lrmf_core::metrics::{ASSIGN_FAILED, FENCED, GRANTED, MOVED, PLAN_REFUSED, PROVIDER_FAILED};
    let Ok(group) = role.group(cluster) else { return };
    for name in [ASSIGN_FAILED, FENCED, GRANTED, MOVED, PLAN_REFUSED, PROVIDER_FAILED] {
        counter!(name, "group" => group.to_string()).increment(0);
    }
}
