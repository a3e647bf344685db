//! Who connects to an etcd with known faults is warned of each of them.
//!
//! A process of its own: `tracing` remembers by process whether a warning is heard, and other tests that give the same one
//! first, with nobody listening, would make this one deaf.

#![expect(clippy::unwrap_used, reason = "the helpers of tests may panic as tests do")]

#[path = "it/support/mod.rs"]
#[expect(dead_code, reason = "this test uses a part of it")]
mod support;

use std::fmt;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use support::{Etcd, connected, patient};

/// Keeps what is warned of: the fields of each warning, as text.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.push_str(&format!("{field}={value:?} "));
    }
}

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN && metadata.target().starts_with("lrmf_etcd")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        self.0.lock().unwrap().push(text.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn each_known_fault_of_a_node_is_warned_of() {
    let (etcd, warnings) = (Etcd::start(), Warnings::default());
    let _guard = tracing::subscriber::set_default(warnings.clone());
    let store = connected(patient([etcd.endpoint()])).await;
    let (version, faults) = store.version().await.unwrap();
    eprintln!("etcd {version}: {faults:?}");
    let warned = warnings.0.lock().unwrap().clone();
    assert_eq!(warned.len(), faults.len(), "{warned:?}");
    for (fault, warning) in faults.iter().zip(&warned) {
        assert!(warning.contains(fault) && warning.contains(&version), "{warning}");
        assert!(warning.contains(&etcd.endpoint()), "{warning}");
    }
}
