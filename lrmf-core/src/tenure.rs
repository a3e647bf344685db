//! Until when a member may work: asked at any moment, answered without waiting for anybody.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::{Clock, Timestamp};

/// Until when a member may work on what it holds.
///
/// A member stops its tasks in time, before its session can end. But a process that was stopped or suspended in the middle
/// of its work goes on where it was, perhaps long after its session ended, and until its member has noticed that and told
/// its tasks, they go on as if nothing had happened. So work that comes in pieces asks here before each of them: it costs a
/// look at the clock, and the answer is right at once.
///
/// It says nothing about the moment after. A process that stands still between the answer and the effect is too late all
/// the same, and only the fencing token keeps it from doing harm.
///
/// It is of one member, all its sessions. Cloning it gives another one of the same.
#[derive(Clone)]
pub struct Tenure(Option<Arc<Kept>>);

struct Kept {
    clock: Arc<dyn Clock>,
    /// On that clock, in nanoseconds; 0 without a session.
    until: AtomicU64,
}

impl fmt::Debug for Tenure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tenure").field(&self.left()).finish()
    }
}

impl Tenure {
    /// Of a member without a session yet.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self(Some(Arc::new(Kept { clock, until: AtomicU64::new(0) })))
    }

    /// Without an end: for workers that are called by no member, in tests.
    pub fn unlimited() -> Self {
        Self(None)
    }

    /// Returns true where both are of one member.
    pub fn is_same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }

    /// The session's deadline is now this; none without a session.
    pub(crate) fn set(&self, deadline: Option<Timestamp>) {
        if let Some(kept) = &self.0 {
            let nanos = deadline.map_or(0, |at| u64::try_from(at.0.as_nanos()).unwrap_or(u64::MAX));
            kept.until.store(nanos, Ordering::Release);
        }
    }

    /// Returns true where the member may work now: it has a session, which cannot end within
    /// [`margin`](crate::CoordinatorConfig::margin) from now.
    pub fn is_valid(&self) -> bool {
        !self.left().is_zero()
    }

    /// For how long it may work if it hears nothing more of the store; zero when it may not.
    pub fn left(&self) -> Duration {
        let Some(kept) = &self.0 else { return Duration::MAX };
        let until = Timestamp(Duration::from_nanos(kept.until.load(Ordering::Acquire)));
        until.since(kept.clock.now())
    }
}
