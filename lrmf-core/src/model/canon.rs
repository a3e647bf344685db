//! States without the names that do not matter.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The kind of a name or number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Revision,
    /// Generations and tokens are one row of numbers.
    Generation,
    Lease,
    Incarnation,
    Call,
}

impl Kind {
    /// Of the type that is shown under this name.
    fn of(text: &str) -> Option<Self> {
        match text {
            "Revision" => Some(Self::Revision),
            "Generation" | "Token" => Some(Self::Generation),
            "LeaseId" => Some(Self::Lease),
            "Incarnation" => Some(Self::Incarnation),
            "CallId" => Some(Self::Call),
            _ => None,
        }
    }
}

/// Generations begin above this, so that they are recognised in records.
pub(super) const FIRST_GENERATION: u64 = 2_000_000_000;

#[derive(Clone, Copy, Debug)]
enum Piece {
    /// The hash of some text.
    Text(u64),
    Name(Kind, u64),
    /// Call ids from here on are another member's.
    Scope,
}

/// A part of a state: text, with names set apart.
#[derive(Clone, Debug, Default)]
pub(super) struct Parts {
    pieces: Vec<Piece>,
    text: u64,
    awaited: Option<Kind>,
}

impl Parts {
    pub(super) fn of(value: &impl fmt::Debug) -> Self {
        let mut parts = Self::default();
        parts.show(value);
        parts
    }

    pub(super) fn show(&mut self, value: &impl fmt::Debug) {
        fmt::write(self, format_args!("{value:?};")).expect("writing to memory");
    }

    pub(super) fn scope(&mut self) {
        self.close();
        self.pieces.push(Piece::Scope);
    }

    pub(super) fn append(&mut self, other: &Self) {
        self.close();
        self.pieces.extend_from_slice(&other.pieces);
        self.text = other.text;
    }

    /// A record as it is stored: generations are numbers of ten digits and more, sessions are UUIDs.
    pub(super) fn record(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(byte) = rest.first() {
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if *byte == b'"' && rest.get(9) == Some(&b'-') && rest.get(37) == Some(&b'"') {
                self.name(Kind::Incarnation, number(&rest[25..37], 16));
                rest = &rest[38..];
            } else if digits >= 10 {
                self.name(Kind::Generation, number(&rest[..digits], 10));
                rest = &rest[digits..];
            } else {
                let taken = digits.max(1);
                self.literal(&rest[..taken]);
                rest = &rest[taken..];
            }
        }
    }

    fn literal(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.text = (self.text.rotate_left(5) ^ u64::from(*byte)).wrapping_mul(0x517c_c1b7_2722_0a95);
        }
    }

    fn name(&mut self, kind: Kind, name: u64) {
        self.close();
        self.pieces.push(Piece::Name(kind, name));
    }

    fn close(&mut self) {
        if self.text != 0 {
            self.pieces.push(Piece::Text(std::mem::take(&mut self.text)));
        }
    }

    /// The same for all states that differ in names alone.
    pub(super) fn fingerprint(mut self) -> u64 {
        self.close();
        let revisions = self.ranks(Kind::Revision);
        let generations = self.ranks(Kind::Generation);
        let mut met: Vec<(Kind, u64)> = Vec::new();
        let mut hasher = DefaultHasher::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => (0_u8, text).hash(&mut hasher),
                Piece::Scope => met.retain(|(kind, _)| *kind != Kind::Call),
                Piece::Name(kind @ Kind::Revision, name) => {
                    (kind, revisions.binary_search(name)).hash(&mut hasher)
                }
                Piece::Name(kind @ Kind::Generation, name) => {
                    (kind, generations.binary_search(name)).hash(&mut hasher)
                }
                Piece::Name(kind, name) => {
                    let same_kind = || met.iter().filter(|(of, _)| of == kind);
                    let at = same_kind().position(|(_, other)| other == name);
                    (kind, at.unwrap_or_else(|| same_kind().count())).hash(&mut hasher);
                    if at.is_none() {
                        met.push((*kind, *name));
                    }
                }
            }
        }
        hasher.finish()
    }

    /// All names of a kind, in order; 0 stays 0, as it says that there is none.
    fn ranks(&self, kind: Kind) -> Vec<u64> {
        let of_kind = |piece: &Piece| match piece {
            Piece::Name(of, name) if *of == kind => Some(*name),
            _ => None,
        };
        let mut names: Vec<u64> = self.pieces.iter().filter_map(of_kind).chain([0]).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

impl fmt::Write for Parts {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        match (self.awaited, Kind::of(text)) {
            (_, Some(kind)) => self.awaited = Some(kind),
            (Some(_), None) if text == "(" => {}
            (Some(Kind::Incarnation), None) => {
                self.awaited = None;
                self.name(Kind::Incarnation, number(&text.as_bytes()[24..], 16));
            }
            (Some(kind), None) => {
                self.awaited = None;
                self.name(kind, number(text.as_bytes(), 10));
            }
            (None, None) => self.literal(text.as_bytes()),
        }
        Ok(())
    }
}

fn number(digits: &[u8], radix: u32) -> u64 {
    let text = std::str::from_utf8(digits).unwrap();
    u64::from_str_radix(text, radix).unwrap_or_else(|_| panic!("{text:?} is no number"))
}

#[test]
fn states_that_differ_in_names_alone_are_the_same() {
    use crate::coordination::{LeaseId, Revision};
    use crate::ids::{Generation, Incarnation, Token};
    use crate::protocol::CallId;
    use crate::records::{ChunkRecord, Entry, encode};
    use crate::task::Task;
    let state = |step: u64, swap: bool| {
        let session = |number: u64| Incarnation(uuid::Uuid::from_u128((number * step).into()));
        let (early, late) = if swap { (2, 1) } else { (1, 2) };
        let mut chunk = ChunkRecord::empty(session(3));
        chunk.generation = Generation(FIRST_GENERATION + 7 * step);
        chunk.insert(Entry::held(&Task::new("x", "1"), Token(FIRST_GENERATION + 5 * step)));
        let mut parts = Parts::of(&(Revision(early * step), Revision(late * step), Revision(0)));
        parts.record(&encode(&chunk));
        parts.show(&(session(3), LeaseId(4), CallId(step), Generation(FIRST_GENERATION + 5 * step)));
        parts.scope();
        parts.show(&CallId(2));
        parts.fingerprint()
    };
    assert_eq!(state(1, false), state(4, false));
    assert_ne!(state(1, false), state(1, true));
}
