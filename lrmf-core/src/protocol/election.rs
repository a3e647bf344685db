//! The election: whoever creates the leader's key leads, for as long as that key exists.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::coordination::{KeyValue, Revision, TxnOutcome, WatchEvent};
use crate::error::CoordinationError;
use crate::ids::{Incarnation, InstanceId};
use crate::records::{LeaderRecord, RecordError, decode};

use super::backoff::Backoff;
use super::{FeedItem, Now};

/// The requests of the election.
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
    /// Delete what stands in the leader's key since this write: it is no record, and would never end.
    Clear(Revision),
}

/// The machine.
#[derive(Clone, Debug)]
pub struct Election {
    instance: InstanceId,
    incarnation: Incarnation,
    key: String,
    /// Who else campaigns has this long before those that are no candidates do.
    patience: Duration,
    /// The store's last word, and when it came.
    seen: Option<Revision>,
    leader: Option<(Revision, LeaderRecord)>,
    /// What stands in the leader's key is no record, and bound to no lease, since this write.
    garbage: Option<Revision>,
    leading: Option<Revision>,
    campaigning: bool,
    not_before: Timestamp,
    /// The time for which a campaign that failed is not repeated, unless the leader's key changes.
    backoff: Backoff,
    abstain_until: Timestamp,
}

impl Election {
    /// For a session; `patience` is how long the group may be without a leader before everybody campaigns.
    pub fn new(instance: InstanceId, incarnation: Incarnation, key: String, patience: Duration) -> Self {
        let backoff = Backoff::new(&instance);
        Self {
            backoff,
            instance,
            incarnation,
            key,
            patience,
            seen: None,
            leader: None,
            garbage: None,
            leading: None,
            campaigning: false,
            not_before: Timestamp::default(),
            abstain_until: Timestamp::default(),
        }
    }

    /// The leader, as far as is known.
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
        self.garbage = None;
        self.not_before = now.at;
        match entry {
            // What cannot be read is somebody's key all the same.
            Some(kv) => {
                let record = decode(&kv.key, &kv.value);
                if kv.lease.is_none() && matches!(record, Err(RecordError::Malformed { .. })) {
                    self.garbage = Some(kv.mod_revision);
                }
                let record = record.unwrap_or_else(|_| {
                    LeaderRecord::new(self.instance.clone(), Incarnation(uuid::Uuid::nil()), "")
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

    /// The outcome of the campaign.
    pub fn on_campaign(&mut self, now: Now, result: Result<TxnOutcome, CoordinationError>) -> Verdict {
        self.campaigning = false;
        match result {
            Ok(TxnOutcome::Applied { revision }) => {
                if self.seen.is_some_and(|seen| seen >= revision) {
                    // The feed has been there already, and knows what came after.
                    return self.decide(now);
                }
                self.backoff.reset();
                self.leading = Some(revision);
                Verdict::Lead(revision)
            }
            Ok(TxnOutcome::Refused) => {
                self.not_before = now.at + self.backoff.again();
                self.decide(now)
            }
            Err(error) => {
                self.not_before = now.at + self.backoff.after(&error);
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

    /// The time at which [`tick`](Self::tick) is due.
    pub fn next_wake(&self) -> Option<Timestamp> {
        if self.garbage.is_some() {
            return Some(self.not_before);
        }
        let vacant =
            self.seen.is_some() && self.leader.is_none() && self.leading.is_none() && !self.campaigning;
        vacant.then_some(self.not_before.max(self.abstain_until))
    }

    fn decide(&mut self, now: Now) -> Verdict {
        if let Some(revision) = self.garbage.filter(|_| self.leading.is_none() && now.at >= self.not_before) {
            self.not_before = now.at + self.backoff.again();
            return Verdict::Clear(revision);
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordination::{Snapshot, WatchBatch};
    use crate::records::encode;

    const MINE: Incarnation = Incarnation(uuid::Uuid::from_u128(1));
    const OTHER: Incarnation = Incarnation(uuid::Uuid::from_u128(2));

    fn election() -> Election {
        Election::new(InstanceId::new("a").unwrap(), MINE, "/leader".into(), Duration::from_millis(250))
    }

    fn at(millis: u64) -> Now {
        Now { at: Timestamp(Duration::from_millis(millis)), unix_millis: 0 }
    }

    fn kv(revision: u64, incarnation: Incarnation, candidates: &[&str]) -> KeyValue {
        let candidates = candidates.iter().map(|name| InstanceId::new(name).unwrap()).collect();
        let instance = InstanceId::new(if incarnation == MINE { "a" } else { "b" }).unwrap();
        let value = encode(&LeaderRecord { candidates, ..LeaderRecord::new(instance, incarnation, "") });
        let revision = Revision(revision);
        KeyValue {
            key: "/leader".into(),
            value,
            create_revision: revision,
            mod_revision: revision,
            lease: None,
        }
    }

    fn loaded(revision: u64, entries: Vec<KeyValue>) -> FeedItem {
        FeedItem::Loaded(Snapshot { revision: Revision(revision), entries })
    }

    fn gone(revision: u64) -> FeedItem {
        let events = vec![WatchEvent::Delete { key: "/leader".into() }];
        FeedItem::Changed(WatchBatch { revision: Revision(revision), events })
    }

    #[test]
    fn a_vacant_place_is_campaigned_for_once_and_led_when_won() {
        let mut election = election();
        assert_eq!(election.on_feed(at(0), &loaded(5, vec![])), Verdict::Campaign);
        assert_eq!(election.tick(at(1)), Verdict::Nothing);
        let won = Ok(TxnOutcome::Applied { revision: Revision(6) });
        assert_eq!(election.on_campaign(at(2), won), Verdict::Lead(Revision(6)));
        // The feed is behind: that there was no leader before is old news.
        assert_eq!(election.on_feed(at(3), &gone(4)), Verdict::Nothing);
        assert_eq!(election.on_feed(at(4), &gone(7)), Verdict::Resign);
        assert_eq!(election.tick(at(4)), Verdict::Campaign);
    }

    #[test]
    fn a_campaign_that_nobody_answered_is_read_back_and_adopted() {
        let mut election = election();
        election.on_feed(at(0), &loaded(5, vec![]));
        let unknown = Err(CoordinationError::Unknown("?".into()));
        assert_eq!(election.on_campaign(at(1), unknown), Verdict::Reload);
        assert_eq!(election.tick(at(500)), Verdict::Nothing);
        assert_eq!(election.on_feed(at(501), &loaded(6, vec![kv(6, MINE, &[])])), Verdict::Lead(Revision(6)));
    }

    #[test]
    fn a_lost_campaign_is_not_repeated_at_once() {
        let mut election = election();
        election.on_feed(at(0), &loaded(5, vec![]));
        assert_eq!(election.on_campaign(at(1), Ok(TxnOutcome::Refused)), Verdict::Nothing);
        let again_at = election.next_wake().unwrap().0;
        assert!((51..=101).contains(&again_at.as_millis()), "{again_at:?}");
        assert_eq!(election.tick(at(101)), Verdict::Campaign);
    }

    #[test]
    fn candidates_campaign_at_once_and_others_only_when_nobody_does() {
        for (candidates, first) in [(&["a", "c"][..], 10), (&["c"][..], 260)] {
            let mut election = election();
            election.on_feed(at(0), &loaded(5, vec![kv(5, OTHER, candidates)]));
            let at_once = election.on_feed(at(10), &gone(6));
            let verdict = if first == 10 { at_once } else { election.tick(at(first)) };
            assert_eq!((at_once == Verdict::Campaign, verdict), (first == 10, Verdict::Campaign));
        }
    }
}
