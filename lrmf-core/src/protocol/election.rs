//! Who leads: whoever creates the leader's key, for as long as that key exists.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::coordination::{KeyValue, Revision, TxnOutcome, WatchEvent};
use crate::error::StoreError;
use crate::ids::{Incarnation, InstanceId};
use crate::records::{LeaderRecord, decode};

use super::{FeedItem, Now};

/// How long a campaign that failed is not repeated, unless the leader's key changes.
const RETRY: Duration = Duration::from_millis(100);

/// What the election asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Nothing,
    /// Try to create the leader's key.
    Campaign,
    /// This member leads, since its key was created.
    Lead(Revision),
    /// This member no longer leads.
    Resign,
    /// Read the leader's key again.
    Reload,
}

/// The machine.
#[derive(Debug)]
pub struct Election {
    instance: InstanceId,
    incarnation: Incarnation,
    key: String,
    /// Who else campaigns has this long before those that are no candidates do.
    patience: Duration,
    /// What the store said last, and when.
    seen: Option<Revision>,
    leader: Option<(Revision, LeaderRecord)>,
    leading: Option<Revision>,
    campaigning: bool,
    not_before: Timestamp,
    abstain_until: Timestamp,
}

impl Election {
    /// For a session; `patience` is how long the group may be without a leader before everybody campaigns.
    pub fn new(instance: InstanceId, incarnation: Incarnation, key: String, patience: Duration) -> Self {
        Self {
            instance,
            incarnation,
            key,
            patience,
            seen: None,
            leader: None,
            leading: None,
            campaigning: false,
            not_before: Timestamp::default(),
            abstain_until: Timestamp::default(),
        }
    }

    /// Who leads, as far as is known.
    pub fn leader(&self) -> Option<&LeaderRecord> {
        self.leader.as_ref().map(|(_, record)| record)
    }

    /// Since when this member leads.
    pub fn leading(&self) -> Option<Revision> {
        self.leading
    }

    /// The leader's key changed.
    pub fn on_feed(&mut self, now: Now, item: &FeedItem) -> Verdict {
        let (revision, change) = match item {
            FeedItem::Loaded(snapshot) => {
                (snapshot.revision, Some(snapshot.entries.iter().find(|kv| kv.key == self.key)))
            }
            FeedItem::Changed(batch) => {
                let of_key = batch.events.iter().filter_map(|event| match event {
                    WatchEvent::Put(kv) => (kv.key == self.key).then_some(Some(kv)),
                    WatchEvent::Delete { key } => (*key == self.key).then_some(None),
                });
                (batch.revision, of_key.last())
            }
        };
        if self.seen.is_some_and(|seen| revision < seen)
            || self.leading.is_some_and(|created| revision < created)
        {
            return Verdict::Nothing;
        }
        self.seen = Some(revision);
        if matches!(item, FeedItem::Loaded(_)) {
            self.campaigning = false;
        }
        if let Some(change) = change {
            self.observe(now, change);
        }
        self.decide(now)
    }

    fn observe(&mut self, now: Now, entry: Option<&KeyValue>) {
        let before = self.leader.take();
        self.not_before = now.at;
        match entry {
            // What cannot be read is somebody's key all the same.
            Some(kv) => {
                let record = decode(&kv.key, &kv.value).unwrap_or_else(|_| LeaderRecord {
                    format: crate::records::Format,
                    instance: self.instance.clone(),
                    incarnation: Incarnation(uuid::Uuid::nil()),
                    candidates: Vec::new(),
                });
                self.leader = Some((kv.create_revision, record));
            }
            None => {
                let others = before.is_some_and(|(_, record)| {
                    !record.candidates.is_empty() && !record.candidates.contains(&self.instance)
                });
                if others {
                    self.not_before = now.at + self.patience;
                }
            }
        }
    }

    /// What came of the campaign.
    pub fn on_campaign(&mut self, now: Now, result: Result<TxnOutcome, StoreError>) -> Verdict {
        self.campaigning = false;
        match result {
            Ok(TxnOutcome::Applied { revision }) => {
                if self.seen.is_some_and(|seen| seen >= revision) {
                    // The feed has been there already, and knows what came after.
                    return self.decide(now);
                }
                self.leading = Some(revision);
                Verdict::Lead(revision)
            }
            Ok(TxnOutcome::Refused) => {
                self.not_before = now.at + RETRY;
                self.decide(now)
            }
            Err(error) => {
                self.not_before = now.at + RETRY;
                if error.is_definitely_not_applied() {
                    return Verdict::Nothing;
                }
                // It may have been applied: read before anything else.
                self.campaigning = true;
                Verdict::Reload
            }
        }
    }

    /// Does not campaign before `until`.
    pub fn abstain(&mut self, until: Timestamp) {
        self.abstain_until = until;
        self.leading = None;
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Now) -> Verdict {
        self.decide(now)
    }

    /// When [`tick`](Self::tick) is due.
    pub fn next_wake(&self) -> Option<Timestamp> {
        let vacant =
            self.seen.is_some() && self.leader.is_none() && self.leading.is_none() && !self.campaigning;
        vacant.then_some(self.not_before.max(self.abstain_until))
    }

    fn decide(&mut self, now: Now) -> Verdict {
        let mine = self.leader.as_ref().filter(|(_, record)| record.incarnation == self.incarnation);
        match (self.leading, mine) {
            (Some(led), Some((created, _))) if led == *created => Verdict::Nothing,
            (Some(led), _) if self.seen.is_some_and(|seen| seen >= led) => {
                self.leading = None;
                Verdict::Resign
            }
            (Some(_), _) => Verdict::Nothing,
            (None, Some((created, _))) if now.at >= self.abstain_until => {
                self.leading = Some(*created);
                Verdict::Lead(*created)
            }
            (None, Some(_)) => Verdict::Nothing,
            (None, None) => {
                let vacant = self.seen.is_some() && self.leader.is_none();
                if vacant && !self.campaigning && now.at >= self.not_before.max(self.abstain_until) {
                    self.campaigning = true;
                    return Verdict::Campaign;
                }
                Verdict::Nothing
            }
        }
    }
}
