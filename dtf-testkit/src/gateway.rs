//! The conformance suite of [`GatewayTable`]: one function per obligation of the trait, and [`run_all`].
//!
//! A function panics where the table breaks its obligation. Each makes the gateways that it looks at, so that it works on a table that has
//! others.

use std::sync::Arc;

use dtf_model::error::StoreError;
use dtf_model::gateway::{Gateway, GatewayTable, MAX_NAMED_WORKERS, NamedWorker};
use dtf_model::param::MAX_NAME_CHARS;
use uuid::Uuid;

use super::must;

/// The time of the suite: nobody else's gateways are there then.
const NOW: u64 = 4_000_000_000_000;

/// Runs the whole suite, one obligation after another.
pub async fn run_all(table: Arc<dyn GatewayTable>) {
    what_is_said_last_is_read_back(&table).await;
    gateways_are_listed_in_pages_for_as_long_as_they_hold(&table).await;
    a_withdrawn_gateway_is_gone(&table).await;
    what_is_out_of_range_is_refused(&table).await;
}

fn gateway(until: u64) -> Gateway {
    Gateway { id: Uuid::new_v4(), process: "one".to_owned(), workers: Vec::new(), connected: 0, until }
}

fn worker() -> NamedWorker {
    NamedWorker {
        session: Uuid::new_v4(),
        name: "漢 𝄞 \"".to_owned(),
        language: "python 3.13".to_owned(),
        version: "1".to_owned(),
        slots: 8,
        functions: vec!["f".to_owned(), "Δ".to_owned()],
        drained: true,
    }
}

async fn found(table: &Arc<dyn GatewayTable>, id: Uuid, now: u64) -> Option<Gateway> {
    let (mut after, mut found) = (None, None);
    loop {
        let page = must(table.gateways(now, after, 100).await);
        found = page.iter().find(|gateway| gateway.id == id).cloned().or(found);
        match page.last() {
            Some(last) => after = Some(last.id),
            None => return found,
        }
    }
}

/// A gateway is what it said last, at full width.
pub async fn what_is_said_last_is_read_back(table: &Arc<dyn GatewayTable>) {
    let first = Gateway { process: "é".repeat(MAX_NAME_CHARS), ..gateway(NOW + 1) };
    must(table.announce_gateway(&first).await);
    assert_eq!(found(table, first.id, NOW).await, Some(first.clone()));
    let workers = (0..MAX_NAMED_WORKERS).map(|_| worker()).collect();
    let second = Gateway { workers, connected: u32::MAX, until: NOW + 2, ..first };
    must(table.announce_gateway(&second).await);
    assert_eq!(found(table, second.id, NOW + 1).await, Some(second.clone()));
    must(table.withdraw_gateway(second.id, NOW).await);
}

/// Gateways are listed by id, page by page, until the time that they say.
pub async fn gateways_are_listed_in_pages_for_as_long_as_they_hold(table: &Arc<dyn GatewayTable>) {
    let mut all: Vec<_> = [1, 2, 2, 2].map(|more| gateway(NOW + more)).into();
    for gateway in &all {
        must(table.announce_gateway(gateway).await);
    }
    all.sort_by_key(|gateway| gateway.id);
    let first = must(table.gateways(NOW, None, 3).await);
    assert_eq!(first, all[..3]);
    assert_eq!(must(table.gateways(NOW, Some(all[2].id), 3).await), all[3..]);
    assert_eq!(must(table.gateways(NOW + 1, None, 10).await).len(), 3);
    assert!(must(table.gateways(NOW + 2, None, 10).await).is_empty());
    for gateway in all {
        must(table.withdraw_gateway(gateway.id, NOW).await);
    }
}

/// A gateway that is withdrawn is gone, and with it those that hold no more.
pub async fn a_withdrawn_gateway_is_gone(table: &Arc<dyn GatewayTable>) {
    let (one, old, other) = (gateway(NOW + 9), gateway(NOW + 1), gateway(NOW + 9));
    for gateway in [&one, &old, &other] {
        must(table.announce_gateway(gateway).await);
    }
    must(table.withdraw_gateway(one.id, NOW + 1).await);
    must(table.withdraw_gateway(one.id, NOW + 1).await);
    assert_eq!(must(table.gateways(NOW, None, 10).await), std::slice::from_ref(&other));
    must(table.withdraw_gateway(other.id, NOW).await);
}

/// A gateway that cannot be kept is refused, and nothing is written.
pub async fn what_is_out_of_range_is_refused(table: &Arc<dyn GatewayTable>) {
    let good = gateway(NOW + 1);
    for wrong in [
        Gateway { process: "a".repeat(MAX_NAME_CHARS + 1), ..good.clone() },
        Gateway { workers: vec![NamedWorker::default(); MAX_NAMED_WORKERS + 1], ..good.clone() },
    ] {
        let refused = table.announce_gateway(&wrong).await;
        assert!(matches!(refused, Err(StoreError::InvalidInput(_))), "{refused:?}");
    }
    assert_eq!(found(table, good.id, NOW).await, None);
}
