//! Group commit: the calls of many callers in one statement, see [`batcher`].
//!
//! A batch is all or nothing. Where it is certain that nothing of it was done, for whatever reason, each call is made by
//! itself, so that every caller gets the answer and the error of its own call. Where that is not certain, every caller
//! learns that the outcome is unknown.

mod batcher;
mod changes;
mod insert;
mod read;

use self::batcher::{BatchWork, Batcher};
use dtf_model::StoreError;
use tokio::runtime::Handle;

pub(crate) use self::changes::{Change, Changes, Purges};
pub(crate) use self::insert::{Insertion, Inserts};
pub(crate) use self::read::Reads;
use crate::call::{Call, Value};
use crate::table::Database;

/// The statements of a kind that may be under way at the same time.
const PLACES: usize = 2;

/// The calls that are merged.
pub(crate) struct Batches {
    pub(crate) inserts: Batcher<Inserts>,
    pub(crate) reads: Batcher<Reads>,
    pub(crate) beginnings: Batcher<Changes>,
    pub(crate) finishes: Batcher<Changes>,
    pub(crate) schedules: Batcher<Changes>,
    pub(crate) purges: Batcher<Purges>,
}

impl Batches {
    /// Batches over these connections, which run on the runtime that this is called on.
    pub(crate) fn new(database: &Database) -> Self {
        let on = Handle::current();
        Self {
            inserts: Batcher::new(Inserts::new(database.clone()), on.clone(), PLACES),
            reads: Batcher::new(Reads(database.clone()), on.clone(), PLACES),
            beginnings: Batcher::new(Changes::begin_runs(database.clone()), on.clone(), PLACES),
            finishes: Batcher::new(Changes::finishes(database.clone()), on.clone(), PLACES),
            schedules: Batcher::new(Changes::schedules(database.clone()), on.clone(), PLACES),
            purges: Batcher::new(Purges(database.clone()), on, PLACES),
        }
    }
}

/// The answer to a call that was made in a batch.
pub(crate) async fn answered<W, T>(batcher: &Batcher<W>, call: W::Call) -> Result<T, StoreError>
where
    W: BatchWork<Answer = Result<T, StoreError>>,
{
    let lost =
        || StoreError::Unknown { store: "SQL", cause: "the statement ended without an answer".to_owned() };
    batcher.call(call).await.unwrap_or_else(|| Err(lost()))
}

/// Splits a batch into parts of 64, 32, 16 … 1, so that a connection has few different statements to prepare.
fn parts<T>(mut calls: Vec<T>) -> impl Iterator<Item = Vec<T>> {
    const LARGEST: usize = 64;
    std::iter::from_fn(move || {
        let size = match calls.len() {
            0 => return None,
            len if len >= LARGEST => LARGEST,
            len => 1 << len.ilog2(),
        };
        let rest = calls.split_off(size);
        Some(std::mem::replace(&mut calls, rest))
    })
}

/// A statement with a row of placeholders for each call in place of the marker.
pub(crate) fn with_rows(statement: &str, row: &str, separator: &str, rows: Vec<Vec<Value>>) -> Call {
    let placeholders = vec![row; rows.len()].join(separator);
    let call = Call::assembled(statement.replacen("/* rows */", &placeholders, 1));
    rows.into_iter().flatten().fold(call, Call::with)
}

#[cfg(test)]
mod tests {
    use super::parts;

    #[test]
    fn a_batch_is_split_into_powers_of_two() {
        for (count, expected) in
            [(0, vec![]), (1, vec![1]), (7, vec![4, 2, 1]), (64, vec![64]), (130, vec![64, 64, 2])]
        {
            let all: Vec<_> = (0..count).collect();
            let split: Vec<_> = parts(all.clone()).collect();
            assert_eq!(split.iter().map(Vec::len).collect::<Vec<_>>(), expected);
            assert_eq!(split.concat(), all);
        }
    }
}
