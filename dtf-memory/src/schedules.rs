//! `tbl_schedule` in memory.

use std::collections::BTreeMap;

use async_trait::async_trait;
use dtf_model::schedule::{NewSchedule, ScheduleRow, ScheduleTable, ScheduleUpdate};
use dtf_model::table::BucketOf;
use dtf_model::{InvalidInput, ScheduleId, StoreError};

use super::MemoryTable;

/// Schedules by id.
#[derive(Debug, Default)]
pub(super) struct Schedules {
    rows: BTreeMap<ScheduleId, ScheduleRow>,
    last: u64,
}

impl Schedules {
    fn of_share(&self, share: BucketOf) -> impl Iterator<Item = (u64, &ScheduleRow)> {
        let rows = self.rows.values().filter(move |row| share.has_schedule(row.id));
        rows.filter_map(|row| Some((row.next_at?, row)))
    }
}

#[async_trait]
impl ScheduleTable for MemoryTable {
    async fn insert_schedule(&self, new: &NewSchedule) -> Result<ScheduleRow, StoreError> {
        new.spec.check()?;
        let mut state = self.state();
        let schedules = &mut state.schedules;
        if let Some(row) = schedules.rows.values().find(|row| row.request == new.request).cloned() {
            self.write_entry(&mut state, 0);
            return Ok(row);
        }
        if schedules.rows.values().any(|row| row.spec.name == new.spec.name) {
            return Err(InvalidInput::ScheduleTaken(new.spec.name.clone()).into());
        }
        schedules.last += 1;
        let row = ScheduleRow {
            id: ScheduleId(schedules.last),
            request: new.request,
            spec: new.spec.clone(),
            state: new.state.clone(),
            next_at: new.next_at,
            revision: 0,
            created_at: new.now,
        };
        schedules.rows.insert(row.id, row.clone());
        self.write_entry(&mut state, 0);
        Ok(row)
    }

    async fn schedule(&self, name: &str) -> Result<Option<ScheduleRow>, StoreError> {
        Ok(self.state().schedules.rows.values().find(|row| row.spec.name == name).cloned())
    }

    async fn schedules(&self, after: Option<&str>, most: u32) -> Result<Vec<ScheduleRow>, StoreError> {
        let state = self.state();
        let rows = state.schedules.rows.values();
        let mut rows: Vec<_> =
            rows.filter(|row| after.is_none_or(|after| row.spec.name.as_str() > after)).cloned().collect();
        rows.sort_by(|one, other| one.spec.name.cmp(&other.spec.name));
        rows.truncate(most as usize);
        Ok(rows)
    }

    async fn due_schedules(
        &self,
        share: BucketOf,
        by: u64,
        most: u32,
    ) -> Result<Vec<ScheduleRow>, StoreError> {
        let state = self.state();
        let mut due: Vec<_> = state.schedules.of_share(share).filter(|(at, _)| *at <= by).collect();
        due.sort_by_key(|(at, row)| (*at, row.id));
        Ok(due.into_iter().take(most as usize).map(|(_, row)| row.clone()).collect())
    }

    async fn next_schedule_at(&self, share: BucketOf) -> Result<Option<u64>, StoreError> {
        Ok(self.state().schedules.of_share(share).map(|(at, _)| at).min())
    }

    async fn update_schedule(&self, update: &ScheduleUpdate) -> Result<bool, StoreError> {
        let mut state = self.state();
        let row = state.schedules.rows.get_mut(&update.id).filter(|row| row.revision == update.revision);
        let Some(row) = row else { return Ok(false) };
        row.state = update.state.clone();
        row.next_at = update.next_at;
        row.revision += 1;
        self.write_entry(&mut state, 0);
        Ok(true)
    }

    async fn delete_schedule(&self, id: ScheduleId) -> Result<bool, StoreError> {
        let mut state = self.state();
        let is_removed = state.schedules.rows.remove(&id).is_some();
        if is_removed {
            self.write_entry(&mut state, 0);
        }
        Ok(is_removed)
    }
}
