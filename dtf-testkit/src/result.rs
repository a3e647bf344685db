//! The conformance suite of [`ResultTable`]: one function per obligation of the trait, and [`run_all`].
//!
//! A function panics where the table breaks its obligation. Each has a task of its own, which need not exist.

use std::sync::Arc;

use bytes::Bytes;
use dtf_model::result::ResultTable;
use dtf_model::{RunEpoch, StoreError, TaskId};

use super::{must, unique_number};

/// Runs the whole suite, one obligation after another.
pub async fn run_all(table: Arc<dyn ResultTable>) {
    results_are_read_back_in_pages(&table).await;
    a_result_that_is_there_stays(&table).await;
    runs_are_apart(&table).await;
    what_is_no_text_is_refused(&table).await;
}

fn task() -> TaskId {
    TaskId(unique_number())
}

/// By number, each once, whatever their size.
pub async fn results_are_read_back_in_pages(table: &Arc<dyn ResultTable>) {
    let (task, run) = (task(), RunEpoch(1));
    let large = Bytes::from("ü".repeat(512 * 1024));
    let results: Vec<Bytes> = (0..1200)
        .map(|number| if number % 500 == 7 { large.clone() } else { format!("{{\"n\": {number}}}").into() })
        .collect();
    must(table.keep_results(task, run, 3, &results[..700]).await);
    must(table.keep_results(task, run, 703, &results[700..]).await);
    must(table.keep_results(task, run, 1203, &[]).await);
    let mut read: Vec<Bytes> = Vec::new();
    loop {
        let from = 3 + read.len() as u64;
        let page = must(table.results(task, run, from, 100).await);
        assert!(page.iter().zip(from..).all(|((number, _), expected)| *number == expected));
        if page.is_empty() {
            break;
        }
        read.extend(page.into_iter().map(|(_, result)| result));
    }
    assert!(read == results, "they come back as they were");
    assert!(must(table.results(task, run, 0, 0).await).is_empty());
}

/// Keeping is repeated after a crash, with the same numbers.
pub async fn a_result_that_is_there_stays(table: &Arc<dyn ResultTable>) {
    let (task, run) = (task(), RunEpoch(1));
    must(table.keep_results(task, run, 0, &["a".into(), "b".into()]).await);
    must(table.keep_results(task, run, 1, &["x".into(), "c".into()]).await);
    let kept: Vec<_> =
        must(table.results(task, run, 0, 10).await).into_iter().map(|(_, result)| result).collect();
    assert_eq!(kept, ["a", "b", "c"]);
}

/// A run has its own.
pub async fn runs_are_apart(table: &Arc<dyn ResultTable>) {
    let task = task();
    must(table.keep_results(task, RunEpoch(1), 0, &["old".into()]).await);
    must(table.keep_results(task, RunEpoch(2), 0, &["new".into()]).await);
    assert_eq!(must(table.results(task, RunEpoch(2), 0, 10).await), [(0, "new".into())]);
    assert!(must(table.results(task, RunEpoch(3), 0, 10).await).is_empty());
}

/// And nothing is written.
pub async fn what_is_no_text_is_refused(table: &Arc<dyn ResultTable>) {
    let (task, run) = (task(), RunEpoch(1));
    let refused = table.keep_results(task, run, 0, &["a".into(), Bytes::from_static(b"\xff")]).await;
    assert!(matches!(refused, Err(StoreError::InvalidInput(_))), "{refused:?}");
    assert!(must(table.results(task, run, 0, 10).await).is_empty());
}
