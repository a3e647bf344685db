//! The election: whoever creates the leader's key leads, for as long as that key exists.
//!
//! A member with a higher preference than the leader's deletes that key, which deposes it (R8), and campaigns. The members that
//! campaign at once when the key goes are those with the highest preference, so that one of these wins. One that had to leave
//! the leadership to others, or that would plan in another way, takes it over from nobody, or the two would depose each other
//! for ever.

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
    /// Depose the leader whose key was created by this write: this member is to lead rather than that one.
    Depose(Revision),
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
    preference: Preference,
    /// The time at which the leader is deposed, where this member is to lead rather than that one.
    depose_at: Option<Timestamp>,
}

/// A member's preference for itself as the leader.
#[derive(Clone, Copy, Debug, Default)]
pub struct Preference {
    /// The higher one leads.
    pub level: u8,
    /// The assignor that it would plan with: it takes over from those alone that plan with the same.
    pub assignor: &'static str,
    /// The time for which it sees another one lead before it takes over.
    pub after: Duration,
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
            preference: Preference::default(),
            depose_at: None,
        }
    }

    /// The same for a member that others are to lead rather than, or less than.
    #[must_use]
    pub fn preferring(mut self, preference: Preference) -> Self {
        self.preference = preference;
        self
    }

    /// The preference for this member as the leader; none any more where it had to leave that to others.
    pub fn preference(&self) -> u8 {
        self.preference.level
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
        let depose_at = self.depose_at.take();
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
                if self.is_to_lead_rather_than(&record) {
                    let same = before.is_some_and(|(created, _)| created == kv.create_revision);
                    let after = now.at + self.preference.after;
                    self.depose_at = Some(depose_at.filter(|_| same).unwrap_or(after));
                }
                self.leader = Some((kv.create_revision, record));
            }
            None => {
                let others = before.is_some_and(|(_, record)| {
                    !record.candidates.is_empty()
                        && !record.candidates.contains(&self.instance)
                        && !self.is_to_lead_rather_than(&record)
                });
                if others {
                    self.not_before = now.at + self.patience;
                }
            }
        }
    }

    fn is_to_lead_rather_than(&self, leader: &LeaderRecord) -> bool {
        leader.preference < self.preference.level && leader.assignor == self.preference.assignor
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

    /// Does not campaign before `until`, and deposes nobody any more.
    pub fn abstain(&mut self, until: Timestamp) {
        self.abstain_until = until;
        self.leading = None;
        (self.preference.level, self.depose_at) = (0, None);
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
        if self.depose_at.is_some() {
            return self.depose_at;
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
        if let (Some((created, _)), Some(at)) = (&self.leader, self.depose_at)
            && now.at >= at
        {
            let created = *created;
            self.depose_at = Some(now.at + self.backoff.again());
            return Verdict::Depose(created);
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

    fn kv_with(revision: u64, preference: u8, assignor: &str) -> KeyValue {
        let mut entry = kv(revision, OTHER, &[]);
        let instance = InstanceId::new("z").unwrap();
        entry.value = encode(&LeaderRecord { preference, ..LeaderRecord::new(instance, OTHER, assignor) });
        entry
    }

    #[test]
    fn a_leader_is_deposed_by_whoever_is_to_lead_rather_than_it() {
        let preference = Preference { level: 2, assignor: "sticky", after: Duration::from_millis(500) };
        let seen = |level, assignor| {
            let mut election = election().preferring(preference);
            election.on_feed(at(0), &loaded(5, vec![kv_with(5, level, assignor)]));
            election
        };
        let mut election = seen(1, "sticky");
        assert_eq!(election.next_wake(), Some(at(500).at));
        assert_eq!(election.tick(at(499)), Verdict::Nothing);
        // What the leader says besides changes nothing of that.
        let again = KeyValue { mod_revision: Revision(6), ..kv_with(5, 1, "sticky") };
        election.on_feed(
            at(300),
            &FeedItem::Changed(WatchBatch { revision: Revision(6), events: vec![WatchEvent::Put(again)] }),
        );
        assert_eq!(election.tick(at(500)), Verdict::Depose(Revision(5)));
        assert_eq!(election.tick(at(501)), Verdict::Nothing, "not again at once");
        // Others that lead rather than it campaign later than it does.
        let gone =
            WatchBatch { revision: Revision(7), events: vec![WatchEvent::Delete { key: "/leader".into() }] };
        assert_eq!(election.on_feed(at(510), &FeedItem::Changed(gone)), Verdict::Campaign);

        for (level, assignor) in [(2, "sticky"), (3, "sticky"), (0, "hash")] {
            let mut election = seen(level, assignor);
            assert_eq!(
                (election.next_wake(), election.tick(at(10_000))),
                (None, Verdict::Nothing),
                "{level} {assignor}"
            );
        }
        let mut abstains = seen(1, "sticky");
        abstains.abstain(at(100).at);
        assert_eq!((abstains.tick(at(10_000)), abstains.preference()), (Verdict::Nothing, 0));
    }
}
