//! The port to `tbl_schedule`.

use async_trait::async_trait;
use uuid::Uuid;

use super::{ScheduleSpec, ScheduleState};
use crate::bucket::BucketOf;
use crate::error::StoreError;
use crate::ids::ScheduleId;

/// A schedule to be inserted.
#[derive(Clone, Debug, PartialEq)]
pub struct NewSchedule {
    /// The name of the creation: inserting with the same one again makes no second schedule.
    pub request: Uuid,
    /// The description.
    pub spec: ScheduleSpec,
    /// The state that it begins in.
    pub state: ScheduleState,
    /// The time at which it wants attention first, in milliseconds since the Unix epoch; `None` for never.
    pub next_at: Option<u64>,
    /// The time of creation.
    pub now: u64,
}

/// A row of `tbl_schedule`.
#[derive(Clone, Debug, PartialEq)]
pub struct ScheduleRow {
    /// The id.
    pub id: ScheduleId,
    /// The name of the creation, from which the names of its tasks' creations are derived.
    pub request: Uuid,
    /// The description.
    pub spec: ScheduleSpec,
    /// The progress.
    pub state: ScheduleState,
    /// The time at which it wants attention next, in milliseconds since the Unix epoch; `None` for never.
    pub next_at: Option<u64>,
    /// The number of changes so far.
    pub revision: u64,
    /// The time of creation, in milliseconds since the Unix epoch.
    pub created_at: u64,
}

impl ScheduleRow {
    /// The time from which intervals are counted.
    pub fn anchor(&self) -> u64 {
        self.spec.start_at.unwrap_or(self.created_at)
    }
}

/// A change of a schedule's progress.
#[derive(Clone, Debug, PartialEq)]
pub struct ScheduleUpdate {
    /// The schedule.
    pub id: ScheduleId,
    /// The revision that was read.
    pub revision: u64,
    /// The state to be kept.
    pub state: ScheduleState,
    /// The time at which it wants attention next.
    pub next_at: Option<u64>,
}

/// The table of schedules.
///
/// # What an implementor guarantees
/// - A call that returned `Ok` is durable, and the next read sees it. Ids are never given out again.
/// - Names are unique, compared exactly, and ordered by their bytes.
/// - [`update_schedule`](Self::update_schedule) is one conditional write on the revision: of two that read the same one, one applies.
/// - What does not fit is refused with [`StoreError::InvalidInput`] and nothing is written.
#[async_trait]
pub trait ScheduleTable: Send + Sync + 'static {
    /// Inserts a schedule, or finds the one that this request made before. Another one of the name is refused with
    /// [`InvalidInput::ScheduleTaken`](crate::InvalidInput::ScheduleTaken).
    async fn insert_schedule(&self, new: &NewSchedule) -> Result<ScheduleRow, StoreError>;

    /// Returns the schedule with this name.
    async fn schedule(&self, name: &str) -> Result<Option<ScheduleRow>, StoreError>;

    /// Returns the schedules with names above `after`, by name, at most so many.
    async fn schedules(&self, after: Option<&str>, most: u32) -> Result<Vec<ScheduleRow>, StoreError>;

    /// Returns the schedules of a share that want attention at or before `by`, the first ones first, at most so many. The cost
    /// depends on those and not on the number of all.
    async fn due_schedules(
        &self,
        share: BucketOf,
        by: u64,
        most: u32,
    ) -> Result<Vec<ScheduleRow>, StoreError>;

    /// Returns the earliest time at which a schedule of a share wants attention; `None` where none ever does.
    async fn next_schedule_at(&self, share: BucketOf) -> Result<Option<u64>, StoreError>;

    /// Changes the progress of a schedule that still has the revision named, and raises the revision by one. Says whether it
    /// applied.
    async fn update_schedule(&self, update: &ScheduleUpdate) -> Result<bool, StoreError>;

    /// Deletes a schedule. Says whether it was there.
    async fn delete_schedule(&self, id: ScheduleId) -> Result<bool, StoreError>;
}
