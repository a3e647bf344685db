//! The keys that the store has of a member, as far as the member has heard.

use crate::control::EvictionRecord;
use crate::coordination::{KeyValue, Revision, WatchEvent};
use crate::ids::Incarnation;
use crate::keys::{Keys, Kind};
use crate::protocol::FeedItem;
use crate::records::{
    AckRecord, ContactRecord, MemberRecord, NoticeRecord, RecordError, SuccessorRecord, decode,
};

/// A key as of a revision. What is older is ignored, key by key: an own write that is known early must not hide what
/// happened to another key before it.
#[derive(Clone, Debug)]
struct Slot<T> {
    at: Revision,
    value: Option<T>,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self { at: Revision(0), value: None }
    }
}

impl<T> Slot<T> {
    fn set(&mut self, at: Revision, value: Option<T>) {
        if at >= self.at {
            *self = Self { at, value };
        }
    }
}

/// The keys that the store has of this member: its session, its successor and its acknowledgement.
#[derive(Clone, Debug, Default)]
pub struct OwnKeys {
    /// The progress of the feed; none before its first delivery.
    seen: Option<Revision>,
    session: Slot<Claimed>,
    successor: Slot<Incarnation>,
    /// The write that last changed the acknowledgement, and whether it left one that cannot be read.
    ack: Slot<(Revision, bool)>,
    eviction: Slot<Incarnation>,
    contact: Slot<Incarnation>,
    notice: Slot<NoticeRecord>,
}

/// Returns true where something is no record at all, and bound to no lease, so that it would never end by itself.
fn is_garbage(kv: &KeyValue, error: Option<&RecordError>) -> bool {
    kv.lease.is_none() && matches!(error, Some(RecordError::Malformed { .. }))
}

/// A session key as found.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// The write that last changed it.
    pub revision: Revision,
    /// Its record; none where it cannot be read.
    pub record: Option<MemberRecord>,
    /// It is no record, and bound to no lease: nobody's, and it would never end.
    pub garbage: bool,
}

impl OwnKeys {
    /// Takes a delivery of the feed in; says whether it was news.
    pub fn on_feed(&mut self, keys: &Keys, item: &FeedItem) -> bool {
        let revision = match item {
            FeedItem::Loaded(snapshot) => snapshot.revision,
            FeedItem::Changed(batch) => batch.revision,
        };
        if self.seen.is_some_and(|seen| revision < seen) {
            return false;
        }
        self.seen = Some(revision);
        match item {
            FeedItem::Loaded(snapshot) => {
                self.session.set(revision, None);
                self.successor.set(revision, None);
                self.ack.set(revision, None);
                self.eviction.set(revision, None);
                self.contact.set(revision, None);
                self.notice.set(revision, None);
                snapshot.entries.iter().for_each(|kv| self.put(keys, revision, kv));
            }
            FeedItem::Changed(batch) => batch.events.iter().for_each(|event| match event {
                WatchEvent::Put(kv) => self.put(keys, revision, kv),
                WatchEvent::Delete { key } => self.delete(keys, revision, key),
            }),
        }
        true
    }

    fn put(&mut self, keys: &Keys, at: Revision, kv: &KeyValue) {
        match keys.kind(&kv.key) {
            Some(Kind::Session(_)) => {
                let record = decode(&kv.key, &kv.value);
                let garbage = is_garbage(kv, record.as_ref().err());
                self.session
                    .set(at, Some(Claimed { revision: kv.mod_revision, record: record.ok(), garbage }));
            }
            // One that cannot be read is somebody all the same, unless it would never end.
            Some(Kind::Successor(_)) => {
                let record = decode::<SuccessorRecord>(&kv.key, &kv.value);
                if is_garbage(kv, record.as_ref().err()) {
                    return self.successor.set(at, None);
                }
                let incarnation = record.map_or(Incarnation(uuid::Uuid::nil()), |record| record.incarnation);
                self.successor.set(at, Some(incarnation));
            }
            Some(Kind::Ack(_)) => {
                let lost = decode::<AckRecord>(&kv.key, &kv.value).is_err();
                self.ack.set(at, Some((kv.mod_revision, lost)));
            }
            // One that cannot be read has no effect; the leader says so.
            Some(Kind::Eviction(_)) => {
                let record = decode::<EvictionRecord>(&kv.key, &kv.value).ok();
                self.eviction.set(at, record.map(|record| record.incarnation));
            }
            Some(Kind::Contact(_)) => {
                let record = decode::<ContactRecord>(&kv.key, &kv.value).ok();
                self.contact.set(at, record.map(|record| record.incarnation));
            }
            Some(Kind::Notice(_)) => self.notice.set(at, decode(&kv.key, &kv.value).ok()),
            _ => {}
        }
    }

    fn delete(&mut self, keys: &Keys, at: Revision, key: &str) {
        match keys.kind(key) {
            Some(Kind::Session(_)) => self.session.set(at, None),
            Some(Kind::Successor(_)) => self.successor.set(at, None),
            Some(Kind::Ack(_)) => self.ack.set(at, None),
            Some(Kind::Eviction(_)) => self.eviction.set(at, None),
            Some(Kind::Contact(_)) => self.contact.set(at, None),
            Some(Kind::Notice(_)) => self.notice.set(at, None),
            _ => {}
        }
    }

    /// The session key.
    pub fn session(&self) -> Option<&Claimed> {
        self.session.value.as_ref()
    }

    /// The session that an operator wants ended.
    pub fn evicted(&self) -> Option<Incarnation> {
        self.eviction.value
    }

    /// Returns true where the feed has delivered anything yet.
    pub(super) fn is_loaded(&self) -> bool {
        self.seen.is_some()
    }

    /// The process that waits to become this member.
    pub(super) fn successor(&self) -> Option<Incarnation> {
        self.successor.value
    }

    /// The session that is in contact.
    pub fn contact(&self) -> Option<Incarnation> {
        self.contact.value
    }

    /// The leader's notice.
    pub fn notice(&self) -> Option<&NoticeRecord> {
        self.notice.value.as_ref()
    }

    /// The write that last changed the acknowledgement.
    pub fn ack(&self) -> Option<Revision> {
        self.ack.value.map(|(revision, _)| revision)
    }

    /// Returns true where something else stands in the place of the acknowledgement.
    pub fn lost_ack(&self) -> bool {
        self.ack.value.is_some_and(|(_, lost)| lost)
    }

    /// Takes an own committed write of the session in.
    pub fn wrote_session(&mut self, revision: Revision, record: MemberRecord) {
        self.session.set(revision, Some(Claimed { revision, record: Some(record), garbage: false }));
    }

    /// Takes the own committed claim in: the acknowledgement of the session before went with it.
    pub fn wrote_claim(&mut self, revision: Revision, record: MemberRecord) {
        self.wrote_session(revision, record);
        self.ack.set(revision, None);
    }

    /// Takes an own committed write of the contact in.
    pub fn wrote_contact(&mut self, revision: Revision, incarnation: Incarnation) {
        self.contact.set(revision, Some(incarnation));
    }

    pub(super) fn wrote_successor(&mut self, revision: Revision, incarnation: Incarnation) {
        self.successor.set(revision, Some(incarnation));
    }

    /// Takes an own committed write of the acknowledgement in.
    pub fn wrote_ack(&mut self, revision: Revision) {
        self.ack.set(revision, Some((revision, false)));
    }
}
