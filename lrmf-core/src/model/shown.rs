//! Parts of a state together with their text, which is made once.

use std::sync::Arc;

use crate::coordination::{Op, WatchEvent};
use crate::protocol::{Call, FeedItem};
use crate::sim::store::Store;

use super::canon::Parts;

/// Something with its text, which is made once.
#[derive(Debug)]
pub(super) struct Shown<T> {
    pub(super) value: T,
    pub(super) parts: Parts,
}

pub(super) fn shown(store: Store) -> Arc<Shown<Store>> {
    let mut parts = Parts::of(&store.revision());
    for kv in store.entries() {
        parts.show(&(&kv.key, kv.create_revision, kv.mod_revision, kv.lease));
        parts.record(&kv.value);
    }
    store.leases().for_each(|lease| parts.show(&lease));
    Arc::new(Shown { value: store, parts })
}

pub(super) fn show_call(parts: &mut Parts, call: &Call) {
    let Call::Commit(txn) = call else { return parts.show(call) };
    parts.show(&txn.guards);
    for op in &txn.ops {
        match op {
            Op::Put { key, value, lease } => {
                parts.show(&(key, lease));
                parts.record(value);
            }
            Op::Delete { key } => parts.show(key),
        }
    }
}

pub(super) fn show_item(item: FeedItem) -> Arc<Shown<FeedItem>> {
    let mut parts = Parts::default();
    if let FeedItem::Changed(batch) = &item {
        parts.show(&batch.revision);
        for event in &batch.events {
            match event {
                WatchEvent::Put(kv) => {
                    parts.show(&(&kv.key, kv.create_revision, kv.lease));
                    parts.record(&kv.value);
                }
                WatchEvent::Delete { key } => parts.show(key),
            }
        }
    }
    Arc::new(Shown { value: item, parts })
}
