//! The metrics of a service, as Prometheus reads them.
//!
//! Besides those of `lrmf_core::metrics`, by group:

use metrics::gauge;
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
