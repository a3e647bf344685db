//! The conformance suite of [`ClusterTable`]: one function per obligation of the trait, and [`run_all`].
//!
//! A function panics where the table breaks its obligation. Each has notes under names of its own, so that it works on a table
//! that has others, beside other users of it.

use std::sync::Arc;

use dtf_model::cluster::ClusterTable;
use uuid::Uuid;

use super::must;

/// Runs the whole suite, one obligation after another.
pub async fn run_all(table: Arc<dyn ClusterTable>) {
    what_is_noted_once_stays(&table).await;
    names_and_values_are_kept_exactly(&table).await;
    a_note_is_replaced_if_it_is_as_expected(&table).await;
    one_of_several_at_once_notes(&table).await;
}

fn unique() -> String {
    Uuid::new_v4().to_string()
}

/// The first note under a name stays, and everybody is told it.
pub async fn what_is_noted_once_stays(table: &Arc<dyn ClusterTable>) {
    let name = unique();
    assert_eq!(must(table.note(&name).await), None);
    assert_eq!(must(table.note_once(&name, "first").await), "first");
    assert_eq!(must(table.note_once(&name, "second").await), "first");
    assert_eq!(must(table.note(&name).await).as_deref(), Some("first"));
}

/// Case and trailing spaces tell names apart, and values are kept as they are.
pub async fn names_and_values_are_kept_exactly(table: &Arc<dyn ClusterTable>) {
    let name = format!("a{}", unique());
    must(table.note_once(&name, " a 漢\n\"'? ").await);
    assert_eq!(must(table.note(&name).await).as_deref(), Some(" a 漢\n\"'? "));
    assert_eq!(must(table.note(&name.to_uppercase()).await), None);
    assert_eq!(must(table.note(&format!("{name} ")).await), None);
}

/// A note is replaced where it is as expected; where it is as wanted already, that is as good.
pub async fn a_note_is_replaced_if_it_is_as_expected(table: &Arc<dyn ClusterTable>) {
    let name = unique();
    assert!(!must(table.replace_note(&name, "1", "2").await), "there is none");
    must(table.note_once(&name, "1").await);
    assert!(!must(table.replace_note(&name, "0", "2").await));
    assert!(must(table.replace_note(&name, "1", "2").await));
    assert!(must(table.replace_note(&name, "1", "2").await), "sent again");
    assert!(!must(table.replace_note(&name, "1", "3").await));
    assert_eq!(must(table.note(&name).await).as_deref(), Some("2"));
}

/// Of several who note at the same time, one does, and all are told its note.
pub async fn one_of_several_at_once_notes(table: &Arc<dyn ClusterTable>) {
    let name = unique();
    let notes = (0..8).map(|number| {
        let (table, name) = (table.clone(), name.clone());
        tokio::spawn(async move { must(table.note_once(&name, &number.to_string()).await) })
    });
    let mut told = Vec::new();
    for note in notes.collect::<Vec<_>>() {
        told.push(must(note.await));
    }
    assert!(told.iter().all(|one| one == &told[0]), "{told:?}");
}
