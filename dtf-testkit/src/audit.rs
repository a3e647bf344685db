//! The conformance suite of [`AuditTable`]: one function per obligation of the trait, and [`run_all`].
//!
//! A function panics where the table breaks its obligation. Each has actors and targets of its own; the one that deletes entries
//! deletes those of the first hours of 1970.

use std::sync::Arc;

use dtf_model::audit::{
    AuditEntry, AuditFilter, AuditOutcome, AuditTable, MAX_AUDIT_DETAIL_CHARS, MAX_AUDIT_NAME_CHARS,
};
use uuid::{NoContext, Timestamp, Uuid};

use super::must;

/// Runs the whole suite, one obligation after another.
pub async fn run_all(table: Arc<dyn AuditTable>) {
    an_entry_is_read_back(&table).await;
    an_entry_is_added_and_closed_once(&table).await;
    what_is_too_long_is_cut(&table).await;
    entries_are_listed_from_the_newest_in_pages(&table).await;
    old_entries_are_deleted_and_no_others(&table).await;
}

fn unique() -> String {
    Uuid::new_v4().to_string()
}

fn entry(actor: &str, target: &str) -> AuditEntry {
    AuditEntry {
        id: Uuid::now_v7(),
        at: 1_800_000_000_000,
        actor: actor.to_owned(),
        address: "2001:db8::1".to_owned(),
        action: "task.cancel".to_owned(),
        target: target.to_owned(),
        detail: "a \"detail\" 漢".to_owned(),
        outcome: AuditOutcome::Intended,
        request: Uuid::new_v4(),
    }
}

async fn of(table: &Arc<dyn AuditTable>, actor: &str) -> Vec<AuditEntry> {
    let filter = AuditFilter { actor: Some(actor.to_owned()), ..AuditFilter::default() };
    must(table.entries(&filter, None, 100).await)
}

/// Everything that is said of an entry comes back.
pub async fn an_entry_is_read_back(table: &Arc<dyn AuditTable>) {
    let actor = unique();
    let mut added = Vec::new();
    for outcome in AuditOutcome::ALL {
        let entry = AuditEntry { outcome, ..entry(&actor, &unique()) };
        must(table.add_entry(&entry).await);
        added.insert(0, entry);
    }
    assert_eq!(of(table, &actor).await, added);
}

/// Calls that are sent again have no second effect.
pub async fn an_entry_is_added_and_closed_once(table: &Arc<dyn AuditTable>) {
    let actor = unique();
    let added = entry(&actor, "task 1");
    must(table.add_entry(&added).await);
    must(table.add_entry(&AuditEntry { target: "task 2".to_owned(), ..added.clone() }).await);
    must(table.close_entry(added.id, AuditOutcome::Refused, "it has ended").await);
    must(table.close_entry(added.id, AuditOutcome::Done, "").await);
    must(table.close_entry(Uuid::now_v7(), AuditOutcome::Done, "").await);
    let closed = AuditEntry { outcome: AuditOutcome::Refused, detail: "it has ended".to_owned(), ..added };
    assert_eq!(of(table, &actor).await, [closed]);
}

/// A long text is no reason to keep no entry.
pub async fn what_is_too_long_is_cut(table: &Arc<dyn AuditTable>) {
    let actor = unique();
    let long = "𝄞".repeat(MAX_AUDIT_DETAIL_CHARS + 1);
    let added = AuditEntry {
        address: long.clone(),
        action: long.clone(),
        target: long.clone(),
        detail: long.clone(),
        ..entry(&actor, "")
    };
    must(table.add_entry(&added).await);
    assert_eq!(of(table, &actor).await, [added.clone().cut()]);
    must(table.close_entry(added.id, AuditOutcome::Done, &long).await);
    let kept = of(table, &actor).await;
    assert_eq!(kept[0].detail.chars().count(), MAX_AUDIT_DETAIL_CHARS);
    assert_eq!(kept[0].target.chars().count(), MAX_AUDIT_NAME_CHARS);
}

/// Each once, however small the pages are, and only those that fit.
pub async fn entries_are_listed_from_the_newest_in_pages(table: &Arc<dyn AuditTable>) {
    let (actor, target) = (unique(), unique());
    let mut all = Vec::new();
    for number in 0..7 {
        let entry = if number % 3 == 2 { entry(&actor, "task 9") } else { entry(&actor, &target) };
        must(table.add_entry(&entry).await);
        must(table.add_entry(&AuditEntry { id: Uuid::now_v7(), ..self::entry(&unique(), &target) }).await);
        all.insert(0, entry);
    }
    assert_eq!(of(table, &actor).await, all);
    let filter = AuditFilter { actor: Some(actor.clone()), target: Some(target.clone()) };
    let expected: Vec<_> = all.iter().filter(|entry| entry.target == target).cloned().collect();
    let mut listed: Vec<AuditEntry> = Vec::new();
    while listed.len() < expected.len() {
        let page = must(table.entries(&filter, listed.last().map(|entry| entry.id), 2).await);
        assert!(!page.is_empty(), "after {}", listed.len());
        listed.extend(page);
    }
    assert_eq!(listed, expected);
    let by_target = AuditFilter { target: Some(target), actor: None };
    assert_eq!(must(table.entries(&by_target, None, 100).await).len(), 5 + 7);
    let other_case = AuditFilter { actor: Some(actor.to_uppercase() + " "), target: None };
    assert!(must(table.entries(&other_case, None, 100).await).is_empty());
}

/// A small batch at a time.
pub async fn old_entries_are_deleted_and_no_others(table: &Arc<dyn AuditTable>) {
    let actor = unique();
    let at = |seconds| Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, 0));
    for seconds in 0..5 {
        must(table.add_entry(&AuditEntry { id: at(seconds), ..entry(&actor, "task 1") }).await);
    }
    let recent = entry(&actor, "task 1");
    must(table.add_entry(&recent).await);
    let before = Uuid::from_u128(at(3).as_u128() >> 80 << 80);
    assert!(must(table.forget_entries(before, 2).await));
    assert_eq!(of(table, &actor).await.len(), 4);
    while must(table.forget_entries(before, 2).await) {}
    let kept: Vec<_> = of(table, &actor).await.into_iter().map(|entry| entry.id).collect();
    assert_eq!((kept.len(), kept[0]), (3, recent.id));
    must(table.forget_entries(at(3600), 100).await);
}
