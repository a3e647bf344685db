//! The rule for declining a part: it moves to a member that knows types of task that its holder lacks.
//!
//! # The problem
//! Parts are placed without regard to types of task, because every bucket has tasks of any type. A task whose plugin the holder
//! of its part lacks would not be served for as long as the part is held. So the holder declines the part
//! - at once, if another member of the role knows all types that the part needs, or if the holder has no other work there and
//!   another member knows a type that the holder lacks;
//! - after [`DWELL`], if the holder has other work there and other members know only some of the types. The next holder loads
//!   everything else in the part again, so this must not happen often. The part then goes round, and each type has its time.
//!
//! The holder keeps the part if no other member knows the types that it lacks. A declined part does not come back for two
//! minutes, while the leader remembers it, so a part whose types no member knows in full goes round no faster than that.
//!
//! The decision is pure; [`Peers`] is the port that lists the other members.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use dtf_model::ids::TypeVersion;
use dtf_model::role::Role;
use dtf_model::shard::SupportedTypes;
use lrmf_core::Timestamp;
use lrmf_core::runner::Declined;

/// The time for which a holder with other work in a part keeps it, if no member knows all types that the part needs.
pub const DWELL: Duration = Duration::from_secs(150);

/// The label of a member that lists the types of task that its process knows.
pub const TASK_TYPES_LABEL: &str = "task_types";
/// The label of an executor's member that has the number of its slots.
pub const SLOTS_LABEL: &str = "slots";

/// The other members of a role's group.
#[async_trait]
pub trait Peers: Send + Sync + 'static {
    /// Lists the types of task that each other member knows, of the members that take parts. Empty if the members cannot be
    /// listed.
    async fn others(&self, role: Role) -> Vec<SupportedTypes>;
}

/// A group without other members.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nobody;

#[async_trait]
impl Peers for Nobody {
    async fn others(&self, _: Role) -> Vec<SupportedTypes> {
        Vec::new()
    }
}

/// The types of the tasks of a part that need attention.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// The types that its holder knows.
    pub known: BTreeSet<TypeVersion>,
    /// The types that its holder lacks.
    pub lacking: BTreeSet<TypeVersion>,
}

impl Needs {
    /// Returns whether the part should go to one of the `others`, given the time since which it has been held.
    pub fn are_better_met_by(
        &self,
        others: &[SupportedTypes],
        held_since: Timestamp,
        now: Timestamp,
    ) -> bool {
        let mut all = self.known.union(&self.lacking);
        if self.lacking.is_empty() {
            return false;
        }
        if others.iter().any(|other| all.clone().all(|kind| other.has(*kind))) {
            return true;
        }
        let may = self.known.is_empty() || now.since(held_since) >= DWELL;
        may && all.any(|kind| self.lacking.contains(kind) && others.iter().any(|other| other.has(*kind)))
    }

    /// Returns the answer to the leader that placed the part.
    pub fn declined(&self) -> Declined {
        let lacking: Vec<_> = self.lacking.iter().map(TypeVersion::to_string).collect();
        Declined(format!("task types {} are not known here, and are known elsewhere", lacking.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dtf_model::ids::TaskTypeId;

    fn kinds<const N: usize>(kinds: [u32; N]) -> BTreeSet<TypeVersion> {
        kinds.into_iter().map(|kind| TaskTypeId(kind).into()).collect()
    }

    fn is_given_up(
        known: BTreeSet<TypeVersion>,
        lacking: BTreeSet<TypeVersion>,
        others: &str,
        held: u64,
    ) -> bool {
        let others: Vec<_> = others.split_whitespace().map(SupportedTypes::read).collect();
        let at = |seconds| Timestamp(Duration::from_secs(seconds));
        Needs { known, lacking }.are_better_met_by(&others, at(100), at(100 + held))
    }

    #[test]
    fn a_part_goes_where_more_is_known() {
        // Nothing is lacking; nobody knows it; there is nobody.
        assert!(!is_given_up(kinds([1]), kinds([]), "1,2", 1000));
        assert!(!is_given_up(kinds([1]), kinds([2]), "1,3 -", 1000));
        assert!(!is_given_up(kinds([]), kinds([2]), "", 1000));
        // Somebody knows everything.
        assert!(is_given_up(kinds([1]), kinds([2]), "3 1,2", 0));
        // Here is nothing else to do.
        assert!(is_given_up(kinds([]), kinds([2, 3]), "2", 0));
    }

    #[test]
    fn where_nobody_knows_everything_each_has_its_time() {
        assert!(!is_given_up(kinds([1]), kinds([2]), "2", 149));
        assert!(is_given_up(kinds([1]), kinds([2]), "2", 150));
    }
}
