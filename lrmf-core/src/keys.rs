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
//! | `assignments/{instance}/{chunk}` | the leader | no | [`ChunkRecord`](crate::records::ChunkRecord); [`ChunkId`] says which tasks |
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

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use crate::ids::{GroupId, InstanceId};

/// The number of chunks that the assignment of one member is spread over as long as none of them is large.
pub const CHUNKS: u8 = 64;

/// The number of bits of a path that choose one of those.
const BASE_DEPTH: u8 = 6;

/// The longest path of a chunk: further splits would not tell tasks apart any more.
const MAX_DEPTH: u8 = 32;

/// A chunk of a member's assignment: the tasks whose [path](path_of) begins with the chunk's bits.
///
/// A chunk that grows too large is split in two by the next bit, and so on. A chunk never lies within another one of
/// the same member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChunkId {
    /// The bits, from the highest one; those after `depth` are zero.
    path: u32,
    depth: u8,
}

impl ChunkId {
    /// One of the chunks that are not split.
    pub const fn base(number: u8) -> Self {
        Self { path: (number as u32) << (32 - BASE_DEPTH), depth: BASE_DEPTH }
    }

    /// Before the chunks of every member.
    pub const FIRST: Self = Self::base(0);
    /// After the chunks of every member.
    pub const LAST: Self = Self { path: u32::MAX, depth: MAX_DEPTH };

    /// The last path that is in the chunk.
    fn last_path(self) -> u32 {
        self.path | u32::MAX.checked_shr(u32::from(self.depth)).unwrap_or(0)
    }

    /// The half of this chunk that a path is in; none where the chunk cannot be split.
    fn half(self, path: u32) -> Option<Self> {
        let depth = self.depth + 1;
        (depth <= MAX_DEPTH).then(|| Self { path: path & (u32::MAX << (MAX_DEPTH - depth)), depth })
    }

    /// Both halves of the chunk, in order; none where it cannot be split.
    pub fn halves(self) -> Option<(Self, Self)> {
        Some((self.half(self.path)?, self.half(self.last_path())?))
    }

    /// Returns true where a task with this path belongs into the chunk.
    pub fn contains(self, path: u32) -> bool {
        (self.path..=self.last_path()).contains(&path)
    }

    /// The chunk for a task with this path, among the chunks that a member has: the one that contains the path, or a new
    /// one that contains none of the others.
    pub fn among<T>(chunks: &BTreeMap<Self, T>, path: u32) -> Self {
        let mut at = Self::base((path >> (32 - BASE_DEPTH)) as u8);
        loop {
            let below =
                (Bound::Excluded(at), Bound::Included(Self { path: at.last_path(), depth: MAX_DEPTH }));
            if chunks.contains_key(&at) || chunks.range(below).next().is_none() {
                return at;
            }
            let Some(half) = at.half(path) else { return at };
            at = half;
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (number, bits) = text.split_once('-').unwrap_or((text, ""));
        let canonical = number.len() == 2 && bits.is_empty() != text.contains('-');
        let number = u8::from_str_radix(number, 16).ok().filter(|number| canonical && *number < CHUNKS)?;
        let mut chunk = Self::base(number);
        for bit in bits.bytes() {
            let (low, high) = chunk.halves()?;
            chunk = match bit {
                b'0' => low,
                b'1' => high,
                _ => return None,
            };
        }
        Some(chunk)
    }
}

impl fmt::Display for ChunkId {
    /// Two hexadecimal digits, and the bits after those where the chunk is part of a split one: `3f`, `3f-01`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}", self.path >> (32 - BASE_DEPTH))?;
        for depth in BASE_DEPTH..self.depth {
            let separator = if depth == BASE_DEPTH { "-" } else { "" };
            write!(f, "{separator}{}", self.path >> (31 - depth) & 1)?;
        }
        Ok(())
    }
}

/// The path of a task, which decides the chunk that the task is kept in: a fixed hash of its key (FNV-1a; folded for the
/// first bits, mixed for the others), the same for every member and in every version.
pub fn path_of(task_key: &str) -> u32 {
    let hash = task_key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let folded = hash ^ (hash >> 32) ^ (hash >> 17);
    let mixed = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let base = (folded % u64::from(CHUNKS)) as u32;
    base << (32 - BASE_DEPTH) | ((mixed ^ (mixed >> 33)) as u32) >> BASE_DEPTH
}

/// The chunk that a task is kept in while that chunk is not split.
pub fn chunk_of(task_key: &str) -> ChunkId {
    ChunkId::base((path_of(task_key) >> (32 - BASE_DEPTH)) as u8)
}

/// The keys of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    root: String,
}

/// The kind of a group's key.
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
    /// The leader's notice to a member.
    Notice(InstanceId),
    /// A member's acknowledgement.
    Ack(InstanceId),
    /// A chunk of a member's assignment.
    Chunk(InstanceId, ChunkId),
    /// An operator's request that the member leave.
    Eviction(InstanceId),
    /// A wish that the leader plan anew.
    Trigger,
    /// A request of an operator.
    Control(Control),
}

/// The subject of a control record.
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

    /// Returns the key of the leader's notice to a member.
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
    pub fn chunk(&self, instance: &InstanceId, chunk: ChunkId) -> String {
        format!("{}assignments/{instance}/{chunk}", self.root)
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

    /// Returns the kind of a key; `None` for one that this version does not know.
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
                Kind::Chunk(InstanceId::new(name).ok()?, ChunkId::parse(chunk)?)
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
        let chunk = ChunkId::base(63);
        for chunk in [chunk, chunk.halves().unwrap().0, chunk.halves().unwrap().1.halves().unwrap().0] {
            assert_eq!(keys.kind(&keys.chunk(&a, chunk)), Some(Kind::Chunk(a.clone(), chunk)));
        }
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
            "assignments/a/1",
            "assignments/a/01-",
            "assignments/a/01-2",
            "assignments/a/01-0-1",
            "assignments/a/01-000000000000000000000000000",
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
        let samples = ["", "a", "topic-7", "шард"];
        assert_eq!(samples.map(chunk_of), [16, 0, 31, 43].map(ChunkId::base));
        assert_eq!(samples.map(path_of), PATHS_OF_SAMPLES);
    }

    const PATHS_OF_SAMPLES: [u32; 4] = [1_124_917_489, 6_579_849, 2_127_934_825, 2_946_592_038];

    #[test]
    fn a_chunk_is_split_into_halves_that_a_path_finds() {
        let chunk = ChunkId::base(5);
        let (low, high) = chunk.halves().unwrap();
        assert_eq!([chunk, low, high].map(|chunk| chunk.to_string()), ["05", "05-0", "05-1"]);
        let path =
            (0..).map(|task| path_of(&format!("task-{task}"))).find(|path| high.contains(*path)).unwrap();
        assert!(chunk.contains(path) && !low.contains(path));
        let among = |chunks: &[ChunkId]| {
            ChunkId::among(&chunks.iter().map(|chunk| (*chunk, ())).collect::<BTreeMap<_, _>>(), path)
        };
        assert_eq!(among(&[]), chunk);
        assert_eq!(among(&[chunk, ChunkId::base(6)]), chunk);
        assert_eq!(among(&[low, high]), high);
        // Its half is empty: the other one must not come to lie within a new chunk.
        assert_eq!(among(&[low]), high);
        assert_eq!(among(&[ChunkId::base(4), ChunkId::base(6)]), chunk);
        let mut deepest = chunk;
        while let Some(half) = deepest.half(path) {
            deepest = half;
        }
        assert!(deepest.contains(path) && deepest.halves().is_none());
    }

    #[test]
    fn the_tasks_of_a_chunk_spread_over_its_parts() {
        let mut parts = BTreeMap::<u32, u32>::new();
        for path in (0..64_000).map(|task| path_of(&format!("task-{task:06}"))).filter(|path| path >> 26 == 7)
        {
            *parts.entry(path >> 22).or_default() += 1;
        }
        assert!(parts.len() == 16 && parts.values().all(|size| (30..100).contains(size)), "{parts:?}");
    }

    #[test]
    fn tasks_spread_over_all_chunks() {
        let mut sizes = [0u32; CHUNKS as usize];
        for task in 0..6400 {
            sizes[(path_of(&format!("task-{task}")) >> 26) as usize] += 1;
        }
        assert!(sizes.iter().all(|size| (50..200).contains(size)), "{sizes:?}");
    }
}
