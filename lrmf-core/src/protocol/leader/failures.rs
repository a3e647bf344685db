//! Tasks that members could not start, and when to try elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::ids::{InstanceId, Token};

use super::view::Place;

const LONGEST: Duration = Duration::from_secs(60);
const FIRST: Duration = Duration::from_millis(500);
/// A task that ran for this long without failing begins anew.
const FORGOTTEN: Duration = Duration::from_secs(120);

/// The history of a task that failed to start.
#[derive(Clone, Debug)]
pub(super) struct Failed {
    /// The members at which it was tried in this round.
    pub(super) at: BTreeSet<InstanceId>,
    /// The holding that failed last.
    pub(super) token: Token,
    /// Not to be tried again before.
    pub(super) until: Timestamp,
    /// It is being tried again.
    pub(super) retry: bool,
    attempts: u32,
}

/// The tasks that failed to start.
#[derive(Clone, Debug, Default)]
pub(super) struct Failures(BTreeMap<Arc<str>, Failed>);

impl Failures {
    /// Notes a failure; says whether it is a new one. The first retry is at once, the next ones later and later.
    pub(super) fn note(&mut self, key: &Arc<str>, at: &InstanceId, token: Token, now: Timestamp) -> bool {
        let failed = self.0.entry(key.clone()).or_insert_with(|| Failed {
            at: BTreeSet::new(),
            token: Token(0),
            until: now,
            retry: false,
            attempts: 0,
        });
        if token <= failed.token {
            return false;
        }
        if now.since(failed.until) > FORGOTTEN {
            failed.attempts = 0;
            failed.at.clear();
        }
        let wait = match failed.attempts {
            0 => Duration::ZERO,
            attempts => FIRST.saturating_mul(1 << attempts.min(8)).min(LONGEST),
        };
        failed.attempts += 1;
        failed.token = token;
        failed.until = now + wait;
        failed.retry = false;
        failed.at.insert(at.clone());
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, in key order.
    pub(super) fn all(&mut self) -> impl Iterator<Item = (&Arc<str>, &mut Failed)> {
        self.0.iter_mut()
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.keys()
    }

    pub(super) fn get(&self, key: &str) -> Option<&Failed> {
        self.0.get(key)
    }

    /// Returns true where this holding is known to have failed, so that the task runs nowhere.
    pub(super) fn has_failed(&self, place: Place<'_>) -> bool {
        self.get(&place.entry.key).is_some_and(|failed| failed.token >= place.entry.token)
    }

    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Failed> {
        self.0.get_mut(key)
    }

    /// Forgets tasks that no longer exist, and those that have not failed for long.
    pub(super) fn tidy(&mut self, now: Timestamp, exists: impl Fn(&str) -> bool) {
        self.0.retain(|key, failed| exists(key) && now.since(failed.until) <= FORGOTTEN);
    }

    /// The time at which the next task after `at` is to be tried again.
    pub(super) fn next_after(&self, at: Timestamp) -> Option<Timestamp> {
        let waits = self.0.values().filter(|failed| !failed.retry && failed.until > at);
        waits.map(|failed| failed.until).min()
    }
}
