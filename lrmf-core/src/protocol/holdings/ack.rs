//! The acknowledgements of a member, and their times (R7).
//!
//! An acknowledgement names what the member has released, what did not start, and what does not stop. Each of the three is
//! cut off at a number of bytes, so that it can be written whatever happens; what did not fit follows when the leader has
//! dealt with what did. Nothing is held up by that: a released task leaves the record with the leader's next write, and a
//! failure that is tried again has a later holding, behind the failures that were not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::ids::{Generation, Incarnation, Token};
use crate::records::{AckRecord, Failure, Format, Named, Stuck, json_bytes};

/// The longest error text that is passed on to the leader, in bytes.
const LONGEST_ERROR: usize = 256;
/// About how many bytes a named holding takes besides its texts; more than it ever does.
const NAMED: usize = 64;

/// What is to be said to the leader. Each change costs the logarithm of what there is to say.
#[derive(Clone, Debug)]
pub(super) struct Report {
    incarnation: Incarnation,
    /// The most bytes of each list.
    most: usize,
    /// Tasks that are to be released, and of which nothing runs.
    released: BTreeMap<Arc<str>, Token>,
    failed: BTreeMap<Arc<str>, Failure>,
    /// The failures by holding: those that were tried last come last.
    order: BTreeSet<(Token, Arc<str>)>,
    stuck: BTreeMap<Arc<str>, Stuck>,
    /// The generation of the acknowledgement that the store has, and how many releases it names.
    acked: Generation,
    named: usize,
    /// Something is to be said that the last acknowledgement does not.
    news: bool,
    /// The time at which it stops waiting for revokes to end.
    at: Option<Timestamp>,
}

impl Report {
    pub(super) fn new(incarnation: Incarnation, most: usize) -> Self {
        Self {
            incarnation,
            most,
            released: BTreeMap::new(),
            failed: BTreeMap::new(),
            order: BTreeSet::new(),
            stuck: BTreeMap::new(),
            acked: Generation(0),
            named: 0,
            news: false,
            at: None,
        }
    }

    /// A task that is to be released, and of which nothing runs; or none, where it is no such task any more.
    pub(super) fn set_released(&mut self, key: &Arc<str>, token: Option<Token>) {
        match token {
            Some(token) => self.news |= self.released.insert(key.clone(), token) != Some(token),
            // Others may have waited for the room.
            None => self.news |= self.released.remove(key).is_some() && self.released.len() >= self.named,
        }
    }

    pub(super) fn note_failure(&mut self, key: &Arc<str>, token: Token, error: &str) {
        self.forget_failure(key, None);
        let error = cut(error).to_owned();
        self.order.insert((token, key.clone()));
        self.failed.insert(key.clone(), Failure { key: key.clone(), token, error });
        self.news = true;
    }

    /// Forgets a failure, unless it is of this holding.
    pub(super) fn forget_failure(&mut self, key: &str, current: Option<Token>) {
        let Some(failure) = self.failed.get(key).filter(|failure| Some(failure.token) != current) else {
            return;
        };
        self.order.remove(&(failure.token, failure.key.clone()));
        self.failed.remove(key);
        self.news = true;
    }

    pub(super) fn has_failed(&self, key: &str) -> bool {
        self.failed.contains_key(key)
    }

    pub(super) fn note_stuck(&mut self, stuck: Stuck) {
        self.news |= self.stuck.insert(stuck.key.clone(), stuck.clone()) != Some(stuck);
    }

    pub(super) fn forget_stuck(&mut self, key: &str) {
        self.news |= self.stuck.remove(key).is_some();
    }

    /// An acknowledgement is due when there is something to say, or the leader waits for it since `marked`; who only gained
    /// something owes none. While tasks are being stopped it waits a little, so that it can name those too.
    pub(super) fn schedule(&mut self, marked: Generation, stopping: bool, now: Timestamp, until: Timestamp) {
        if !self.news && marked <= self.acked {
            self.at = None;
        } else if stopping {
            self.at.get_or_insert(until);
        } else {
            self.at = Some(now);
        }
    }

    /// The time at which the next acknowledgement is to be written.
    pub(super) fn at(&self) -> Option<Timestamp> {
        self.at
    }

    /// The acknowledgement to write, as things are: everything up to `generation` is known and begun.
    pub(super) fn write(&mut self, generation: Generation) -> AckRecord {
        self.news = false;
        let released = self.released.iter().map(|(key, token)| Named { key: key.clone(), token: *token });
        let failed = self.order.iter().filter_map(|(_, key)| self.failed.get(key));
        let stuck = self.stuck.values();
        AckRecord {
            format: Format,
            incarnation: self.incarnation,
            generation,
            released: Some(self.cut(released, |named| json_bytes(&named.key))),
            releasing: Vec::new(),
            failed: self
                .cut(failed.cloned(), |failure| json_bytes(&failure.key) + json_bytes(&failure.error)),
            stuck: self.cut(stuck.cloned(), |stuck| json_bytes(&stuck.key)),
        }
    }

    /// The first ones that fit, and at least one.
    fn cut<T>(&self, all: impl Iterator<Item = T>, bytes: impl Fn(&T) -> usize) -> Vec<T> {
        let mut taken = 0;
        let fits = |(ix, item): &(usize, T)| {
            taken += bytes(item) + NAMED;
            *ix == 0 || taken <= self.most
        };
        all.enumerate().take_while(fits).map(|(_, item)| item).collect()
    }

    /// The store has this acknowledgement.
    pub(super) fn written(&mut self, ack: &AckRecord) {
        self.acked = ack.generation;
        self.named = ack.released.as_ref().map_or(0, Vec::len);
        self.at = None;
    }

    /// The store does not have the last one: it is written again, as things are then.
    pub(super) fn not_written(&mut self) {
        self.news = true;
    }

    /// The store takes no record of this size.
    pub(super) fn shorten(&mut self) {
        self.most /= 2;
    }
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(LONGEST_ERROR);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
