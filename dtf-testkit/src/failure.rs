//! The conformance suite of [`FailureTable`]: one function per obligation of the trait, and [`run_all`].
//!
//! A function panics where the table breaks its obligation. Each makes the failures that it looks at, so that it works on a
//! table that has others, beside other users of it.

use std::sync::Arc;

use bytes::Bytes;
use dtf_model::failure::{
    Failure, FailureKey, FailureTable, MAX_FAILURE_BODY_BYTES, MAX_FAILURE_ERROR_CHARS, MAX_FAILURES,
};
use dtf_model::ids::{EmitEpoch, RunEpoch, Seq, TaskId};

use super::{must, unique_number};

/// Runs the whole suite, one obligation after another.
pub async fn run_all(table: Arc<dyn FailureTable>) {
    failures_come_back_as_they_were(&table).await;
    a_failure_is_kept_once(&table).await;
    runs_and_tasks_are_apart(&table).await;
    earlier_runs_are_forgotten(&table).await;
    failures_are_listed_by_key_in_pages(&table).await;
    as_many_as_are_kept_at_most_fit(&table).await;
}

const RUN: RunEpoch = RunEpoch(1);

fn task() -> TaskId {
    TaskId(unique_number())
}

fn key(epoch: u32, seq: u64) -> FailureKey {
    FailureKey { epoch: EmitEpoch(epoch), seq: Seq(seq) }
}

fn failure(epoch: u32, seq: u64) -> Failure {
    Failure::new(key(epoch, seq), false, "no", Bytes::from(format!("body of {seq}")))
}

async fn all(table: &Arc<dyn FailureTable>, task: TaskId, run: RunEpoch) -> Vec<Failure> {
    must(table.failures(task, run, None, 10_000).await)
}

/// Whatever bytes and letters they have, also at full width.
pub async fn failures_come_back_as_they_were(table: &Arc<dyn FailureTable>) {
    let task = task();
    assert!(all(table, task, RUN).await.is_empty());
    assert_eq!(must(table.count_failures(task, RUN).await), 0);
    let every_byte: Vec<u8> = (0..=255).collect();
    let kept = [
        Failure::new(key(1, 0), true, "", Bytes::new()),
        Failure::new(key(1, 1), false, "line\nline 🦀 'x' \\ ", Bytes::from(every_byte)),
        Failure::new(key(1, 2), false, &"𝄞".repeat(MAX_FAILURE_ERROR_CHARS + 1), Bytes::new()),
        Failure::new(key(1, 3), false, "x", Bytes::from(vec![0xff; MAX_FAILURE_BODY_BYTES])),
        Failure::new(key(1, 4), false, "x", Bytes::from(vec![0; MAX_FAILURE_BODY_BYTES + 1])),
        failure(u32::MAX, Seq::FIRST_FOLLOW_UP.0 + 7),
    ];
    assert_eq!((kept[2].error.chars().count(), &kept[4].body), (MAX_FAILURE_ERROR_CHARS, &None));
    must(table.keep_failures(task, RUN, &kept).await);
    assert_eq!(all(table, task, RUN).await, kept);
    let without = kept.map(|failure| Failure { body: None, ..failure });
    assert_eq!(must(table.errors(task, RUN).await), without);
    assert_eq!(must(table.count_failures(task, RUN).await), 6);
}

/// Keeping it again, with others, changes nothing of it.
pub async fn a_failure_is_kept_once(table: &Arc<dyn FailureTable>) {
    let task = task();
    must(table.keep_failures(task, RUN, &[]).await);
    must(table.keep_failures(task, RUN, &[failure(1, 5)]).await);
    let other = Failure { error: "another".into(), ..failure(1, 5) };
    must(table.keep_failures(task, RUN, &[failure(1, 6), other]).await);
    assert_eq!(all(table, task, RUN).await, [failure(1, 5), failure(1, 6)]);
}

/// Each run of each task has its own.
pub async fn runs_and_tasks_are_apart(table: &Arc<dyn FailureTable>) {
    let (one, other) = (task(), task());
    must(table.keep_failures(one, RUN, &[failure(1, 1)]).await);
    must(table.keep_failures(one, RunEpoch(2), &[failure(1, 2)]).await);
    must(table.keep_failures(other, RUN, &[failure(1, 3)]).await);
    assert_eq!(all(table, one, RUN).await, [failure(1, 1)]);
    assert_eq!(all(table, one, RunEpoch(2)).await, [failure(1, 2)]);
    assert_eq!(all(table, other, RUN).await, [failure(1, 3)]);
}

/// Those of the runs before one, and nothing else.
pub async fn earlier_runs_are_forgotten(table: &Arc<dyn FailureTable>) {
    let (one, other) = (task(), task());
    for run in [1, 2, 3] {
        must(table.keep_failures(one, RunEpoch(run), &[failure(1, 1), failure(1, 2)]).await);
    }
    must(table.keep_failures(other, RUN, &[failure(1, 3)]).await);
    must(table.forget_failures(one, RUN).await);
    assert_eq!(all(table, one, RUN).await.len(), 2);
    must(table.forget_failures(one, RunEpoch(3)).await);
    must(table.forget_failures(one, RunEpoch(3)).await);
    let left = [1, 2, 3].map(|run| table.count_failures(one, RunEpoch(run)));
    let left: Vec<_> = futures::future::join_all(left).await.into_iter().map(must).collect();
    assert_eq!(left, [0, 0, 2]);
    assert_eq!(all(table, other, RUN).await, [failure(1, 3)]);
}

/// By load, then by number; the next page begins above the last key of this one.
pub async fn failures_are_listed_by_key_in_pages(table: &Arc<dyn FailureTable>) {
    let task = task();
    let mut kept = vec![failure(2, 0), failure(1, 9), failure(1, 1 << 40), failure(10, 3), failure(2, 5)];
    must(table.keep_failures(task, RUN, &kept).await);
    kept.sort_by_key(|failure| failure.key);
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let page = must(table.failures(task, RUN, after, 2).await);
        let Some(last) = page.last() else { break };
        after = Some(last.key);
        listed.extend(page);
    }
    assert_eq!(listed, kept);
    assert!(must(table.failures(task, RUN, None, 0).await).is_empty());
}

/// In one call.
pub async fn as_many_as_are_kept_at_most_fit(table: &Arc<dyn FailureTable>) {
    let task = task();
    let kept: Vec<_> = (0..MAX_FAILURES)
        .map(|seq| Failure::new(key(1, seq), false, "e", Bytes::from(vec![seq as u8; 4096])))
        .collect();
    must(table.keep_failures(task, RUN, &kept).await);
    assert_eq!(must(table.count_failures(task, RUN).await), MAX_FAILURES);
    assert_eq!(all(table, task, RUN).await, kept);
}
