//! The store's progress as seen, to notice when it has gone back.
//!
//! A store whose data is lost, or restored from an older copy, goes on with lower revisions. A read is linearizable: one
//! that begins after an answer with revision n says n or more, unless the store has gone back meanwhile.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::coordination::Revision;

/// The highest revision since the store went back last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The number of times that it has gone back.
    times: u64,
    revision: Revision,
}

/// The mark of one member or router, shared by all that hears of the store for it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen(Arc<Mutex<Mark>>);

impl Seen {
    fn mark(&self) -> MutexGuard<'_, Mark> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The mark before a call.
    pub(crate) fn before(&self) -> Mark {
        *self.mark()
    }

    /// A watch that began at the mark delivers this.
    pub(crate) fn raise(&self, revision: Revision) {
        let mut mark = self.mark();
        mark.revision = mark.revision.max(revision);
    }

    /// A write that was made at this mark was applied.
    pub(crate) fn wrote(&self, before: Mark, revision: Revision) {
        if self.before().times == before.times {
            self.raise(revision);
        }
    }

    /// A read that was made at this mark was answered; says whether the store has gone back.
    pub(crate) fn note(&self, before: Mark, revision: Revision) -> bool {
        let mut mark = self.mark();
        if mark.times != before.times {
            // It has gone back since the call was made: nobody knows of which life the answer is.
            return false;
        }
        if revision < before.revision {
            *mark = Mark { times: mark.times + 1, revision };
            return true;
        }
        mark.revision = mark.revision.max(revision);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_has_gone_back_is_noticed_once() {
        let seen = Seen::default();
        assert!(!seen.note(seen.before(), Revision(9)));
        let (early, late) = (seen.before(), seen.before());
        assert!(!seen.note(early, Revision(12)));
        assert!(!seen.note(late, Revision(10)), "it was asked before the other one was answered");
        let stale = seen.before();
        assert!(seen.note(seen.before(), Revision(3)));
        assert!(!seen.note(stale, Revision(13)), "of the life before");
        assert!(!seen.note(seen.before(), Revision(3)));
    }
}
