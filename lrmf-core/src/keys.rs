//! The key layout of a group: the one place that knows it.
//!
//! | below `/lrmf/{protocol}/{biz}/{tenancy}/` | written by | bound to a lease | holds |
//! |---|---|---|---|
//! | `leader` | the winner of the election | yes | [`LeaderRecord`](crate::records::LeaderRecord) |
//! | `mode` | the leader | no | [`ModeRecord`](crate::records::ModeRecord); absent where the mode is `exclusive` |
//! | `generation` | the leader | no | [`GenerationRecord`](crate::records::GenerationRecord) |
//! | `members/{instance}/session` | the member | yes | [`MemberRecord`](crate::records::MemberRecord) |
//! | `members/{instance}/successor` | who waits to be that member | yes | [`SuccessorRecord`](crate::records::SuccessorRecord) |
//! | `members/{instance}/contact` | the member, in mode `available` | a shorter one | [`ContactRecord`](crate::records::ContactRecord) |
//! | `members/{instance}/notice` | the leader | the member's | [`NoticeRecord`](crate::records::NoticeRecord) |
//! | `members/{instance}/ack` | the member | yes | [`AckRecord`](crate::records::AckRecord) |
//! | `assignments/{instance}/{chunk}` | the leader | no | [`ChunkRecord`](crate::records::ChunkRecord) |
//! | `members/{instance}/eviction` | operators | the member's | [`EvictionRecord`](crate::control::EvictionRecord) |
//! | `control/trigger` | anybody | no | nothing that matters: a write asks the leader to plan anew |
//! | `control/freeze` | operators | no | [`FreezeRecord`](crate::control::FreezeRecord) |
//! | `control/drains/{instance}` | operators | no | [`DrainRecord`](crate::control::DrainRecord) |
//! | `control/pins/{task}` | operators | no | [`PinRecord`](crate::control::PinRecord) |
//! | `control/releases/{task}` | operators; the leader deletes it | no | [`ReleaseRecord`](crate::control::ReleaseRecord) |
//!
//! A task's key is the rest of its control record's key as it is, also where it has a `/` in it.
//!
//! Every prefix that is read or watched ends with a `/`, or names a key that begins no other one, so that the member
//! `a` never sees what belongs to the member `ab`.

use std::sync::Arc;

use crate::ids::{GroupId, InstanceId};

/// How many chunks the assignment of one member is spread over.
pub const CHUNKS: u8 = 64;

/// The chunk that a task is kept in: a fixed hash (FNV-1a, folded) of its key, the same for every member and in
/// every version, so that any leader finds what another one wrote.
pub fn chunk_of(task_key: &str) -> u8 {
    let hash = task_key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let folded = hash ^ (hash >> 32) ^ (hash >> 17);
    (folded % u64::from(CHUNKS)) as u8
}

/// The keys of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    root: String,
}

/// What a key of a group is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The leader's key.
    Leader,
    /// The counter of generations.
    Generation,
    /// The group's mode.
    Mode,
    /// A member's session.
    Session(InstanceId),
    /// Somebody who waits to become that member.
    Successor(InstanceId),
    /// That a member is in contact.
    Contact(InstanceId),
    /// What the leader has to say to a member.
    Notice(InstanceId),
    /// A member's acknowledgement.
    Ack(InstanceId),
    /// A chunk of a member's assignment.
    Chunk(InstanceId, u8),
    /// An operator's request that the member leave.
    Eviction(InstanceId),
    /// A wish that the leader plan anew.
    Trigger,
    /// What an operator wants.
    Control(Control),
}

/// What a control record is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Control {
    /// The group: nothing that runs is moved.
    Freeze,
    /// A member that is to hold nothing.
    Drain(InstanceId),
    /// A task that is to be with one member.
    Pin(Arc<str>),
    /// A task whose holding is declared to be over.
    Release(Arc<str>),
}

impl Keys {
    /// The keys of `group`.
    pub fn new(group: &GroupId) -> Self {
        Self { root: format!("/lrmf/{}/{}/{}/", group.protocol(), group.biz(), group.tenancy()) }
    }

    /// The prefix of everything in the group.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// The leader's key.
    pub fn leader(&self) -> String {
        format!("{}leader", self.root)
    }

    /// The counter of generations.
    pub fn generation(&self) -> String {
        format!("{}generation", self.root)
    }

    /// The group's mode.
    pub fn mode(&self) -> String {
        format!("{}mode", self.root)
    }

    /// The prefix of what members write.
    pub fn members(&self) -> String {
        format!("{}members/", self.root)
    }

    /// The prefix of what one member writes.
    pub fn member(&self, instance: &InstanceId) -> String {
        format!("{}members/{instance}/", self.root)
    }

    /// A member's session.
    pub fn session(&self, instance: &InstanceId) -> String {
        format!("{}members/{instance}/session", self.root)
    }

    /// The key of who waits to become that member.
    pub fn successor(&self, instance: &InstanceId) -> String {
        format!("{}members/{instance}/successor", self.root)
    }

    /// That a member is in contact.
    pub fn contact(&self, instance: &InstanceId) -> String {
        format!("{}members/{instance}/contact", self.root)
    }

    /// What the leader has to say to a member.
    pub fn notice(&self, instance: &InstanceId) -> String {
        format!("{}members/{instance}/notice", self.root)
    }

    /// A member's acknowledgement.
    pub fn ack(&self, instance: &InstanceId) -> String {
        format!("{}members/{instance}/ack", self.root)
    }

    /// An operator's request that the member leave.
    pub fn eviction(&self, instance: &InstanceId) -> String {
        format!("{}members/{instance}/eviction", self.root)
    }

    /// The prefix of all assignments.
    pub fn assignments(&self) -> String {
        format!("{}assignments/", self.root)
    }

    /// The prefix of one member's assignment.
    pub fn assignment(&self, instance: &InstanceId) -> String {
        format!("{}assignments/{instance}/", self.root)
    }

    /// One chunk of a member's assignment.
    pub fn chunk(&self, instance: &InstanceId, chunk: u8) -> String {
        format!("{}assignments/{instance}/{chunk:02x}", self.root)
    }

    /// The key whose writing asks the leader to plan anew.
    pub fn trigger(&self) -> String {
        format!("{}control/trigger", self.root)
    }

    /// The prefix of what operators want.
    pub fn controls(&self) -> String {
        format!("{}control/", self.root)
    }

    /// The key of a control record.
    pub fn control(&self, control: &Control) -> String {
        let root = &self.root;
        match control {
            Control::Freeze => format!("{root}control/freeze"),
            Control::Drain(instance) => format!("{root}control/drains/{instance}"),
            Control::Pin(task) => format!("{root}control/pins/{task}"),
            Control::Release(task) => format!("{root}control/releases/{task}"),
        }
    }

    /// What a key is, or none for one that this version does not know.
    pub fn kind(&self, key: &str) -> Option<Kind> {
        let rest = key.strip_prefix(&self.root)?;
        if let Some(rest) = rest.strip_prefix("control/") {
            return control_of(rest);
        }
        let mut parts = rest.split('/');
        let kind = match (parts.next()?, parts.next(), parts.next()) {
            ("leader", None, None) => Kind::Leader,
            ("generation", None, None) => Kind::Generation,
            ("mode", None, None) => Kind::Mode,
            ("members", Some(name), Some("session")) => Kind::Session(InstanceId::new(name).ok()?),
            ("members", Some(name), Some("successor")) => Kind::Successor(InstanceId::new(name).ok()?),
            ("members", Some(name), Some("contact")) => Kind::Contact(InstanceId::new(name).ok()?),
            ("members", Some(name), Some("notice")) => Kind::Notice(InstanceId::new(name).ok()?),
            ("members", Some(name), Some("ack")) => Kind::Ack(InstanceId::new(name).ok()?),
            ("members", Some(name), Some("eviction")) => Kind::Eviction(InstanceId::new(name).ok()?),
            ("assignments", Some(name), Some(chunk)) => {
                let chunk = u8::from_str_radix(chunk, 16).ok().filter(|chunk| *chunk < CHUNKS)?;
                Kind::Chunk(InstanceId::new(name).ok()?, chunk)
            }
            _ => return None,
        };
        parts.next().is_none().then_some(kind)
    }
}

/// A task's key may have anything in it: it is the whole rest.
fn control_of(rest: &str) -> Option<Kind> {
    let task = |prefix| rest.strip_prefix(prefix).filter(|key: &&str| !key.is_empty()).map(Arc::from);
    if let Some(task) = task("pins/") {
        return Some(Kind::Control(Control::Pin(task)));
    }
    if let Some(task) = task("releases/") {
        return Some(Kind::Control(Control::Release(task)));
    }
    match (rest, rest.strip_prefix("drains/")) {
        ("trigger", _) => Some(Kind::Trigger),
        ("freeze", _) => Some(Kind::Control(Control::Freeze)),
        (_, Some(name)) => Some(Kind::Control(Control::Drain(InstanceId::new(name).ok()?))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> (Keys, InstanceId) {
        (Keys::new(&GroupId::new("p", "b", "t").unwrap()), InstanceId::new("a").unwrap())
    }

    #[test]
    fn every_key_is_recognised() {
        let (keys, a) = keys();
        assert_eq!(keys.kind(&keys.leader()), Some(Kind::Leader));
        assert_eq!(keys.kind(&keys.generation()), Some(Kind::Generation));
        assert_eq!(keys.kind(&keys.session(&a)), Some(Kind::Session(a.clone())));
        assert_eq!(keys.kind(&keys.successor(&a)), Some(Kind::Successor(a.clone())));
        assert_eq!(keys.kind(&keys.ack(&a)), Some(Kind::Ack(a.clone())));
        assert_eq!(keys.kind(&keys.contact(&a)), Some(Kind::Contact(a.clone())));
        assert_eq!(keys.kind(&keys.notice(&a)), Some(Kind::Notice(a.clone())));
        assert_eq!(keys.kind(&keys.mode()), Some(Kind::Mode));
        assert_eq!(keys.kind(&keys.chunk(&a, 63)), Some(Kind::Chunk(a.clone(), 63)));
        assert_eq!(keys.kind(&keys.trigger()), Some(Kind::Trigger));
        assert_eq!(keys.kind(&keys.eviction(&a)), Some(Kind::Eviction(a.clone())));
        let of_task = |task: &str| [Control::Pin(task.into()), Control::Release(task.into())];
        let controls = [Control::Freeze, Control::Drain(a)];
        for control in controls.into_iter().chain(of_task("a/b\n")).chain(of_task("trigger")) {
            assert_eq!(keys.kind(&keys.control(&control)), Some(Kind::Control(control)));
        }
    }

    #[test]
    fn what_is_not_known_is_nothing() {
        let (keys, _) = keys();
        for rest in [
            "leaders",
            "leader/x",
            "members/a",
            "assignments/a/40",
            "assignments/a/zz",
            "members/a/ack/x",
            "control/pins/",
            "control/drains/a/b",
            "control/something",
            "",
        ] {
            assert_eq!(keys.kind(&format!("{}{rest}", keys.root())), None, "{rest}");
        }
        assert_eq!(keys.kind("/lrmf/p/b/other/leader"), None);
    }

    /// The hash is part of the record format: another one would make leaders of two versions disagree.
    #[test]
    fn the_chunk_of_a_task_never_changes() {
        assert_eq!(["", "a", "topic-7", "шард"].map(chunk_of), CHUNKS_OF_SAMPLES);
    }

    const CHUNKS_OF_SAMPLES: [u8; 4] = [16, 0, 31, 43];

    #[test]
    fn tasks_spread_over_all_chunks() {
        let mut sizes = [0u32; CHUNKS as usize];
        for task in 0..6400 {
            sizes[chunk_of(&format!("task-{task}")) as usize] += 1;
        }
        assert!(sizes.iter().all(|size| (50..200).contains(size)), "{sizes:?}");
    }
}
