//! When a part is given up so that another member can have it, who knows a type of task that its holder does not.
//!
//! # The problem
//! Parts are placed without regard to types of task, as every bucket has tasks of any type. A part whose holder lacks the plugin
//! of one of its tasks would leave that task without service for as long as it is held. So the holder gives the part up
//! - at once, where another member of the role knows all types that the part needs, or where the holder has nothing else to do
//!   there and another one knows what it does not;
//! - after a [while](DWELL), where it has, and others know only some of them: everything else in the part is taken up afresh by
//!   its next holder, and would soon be again. The part then goes round, and each type has its time.
//!
//! It keeps the part where nobody else knows what it lacks. What is declined does not come back while the leader remembers it
//! (two minutes), so a part of which nobody knows all does not go round faster than that.
//!
//! The decision is pure; who else is there is asked through [`Peers`].

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use dtf_model::ids::Kind;
use dtf_model::role::Role;
use dtf_model::shard::Kinds;
use lrmf_core::Timestamp;
use lrmf_core::runner::Declined;

/// How long a part is kept by who has other work there, where nobody knows all that it needs.
pub const DWELL: Duration = Duration::from_secs(150);

/// Who else is there.
#[async_trait]
pub trait Peers: Send + Sync + 'static {
    /// Which types of task each other member of the role's group knows that takes parts. Nobody's, where that cannot be found
    /// out.
    async fn others(&self, role: Role) -> Vec<Kinds>;
}

/// Nobody else is there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nobody;

#[async_trait]
impl Peers for Nobody {
    async fn others(&self, _: Role) -> Vec<Kinds> {
        Vec::new()
    }
}

/// The types of the tasks of a part that want attention.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Those that its holder knows.
    pub known: BTreeSet<Kind>,
    /// Those that it does not.
    pub lacking: BTreeSet<Kind>,
}

impl Needs {
    /// Whether the part should go to one of these others, when it has been held since then.
    pub fn are_better_met_by(&self, others: &[Kinds], held_since: Timestamp, now: Timestamp) -> bool {
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

    /// Says so to who placed the part.
    pub fn declined(&self) -> Declined {
        let lacking: Vec<_> = self.lacking.iter().map(Kind::to_string).collect();
        Declined(format!("task types {} are not known here, and are known elsewhere", lacking.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dtf_model::ids::TaskType;

    fn kinds<const N: usize>(kinds: [u32; N]) -> BTreeSet<Kind> {
        kinds.into_iter().map(|kind| TaskType(kind).into()).collect()
    }

    fn is_given_up(known: BTreeSet<Kind>, lacking: BTreeSet<Kind>, others: &str, held: u64) -> bool {
        let others: Vec<_> = others.split_whitespace().map(Kinds::read).collect();
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
