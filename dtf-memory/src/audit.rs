//! `tbl_audit` in memory.

use std::collections::BTreeMap;

use async_trait::async_trait;
use dtf_model::audit::{AuditEntry, AuditFilter, AuditOutcome, AuditTable, kept_detail};
use dtf_model::error::StoreError;
use uuid::Uuid;

use super::MemoryTable;

/// The entries by id, and so by time.
pub(super) type Audit = BTreeMap<Uuid, AuditEntry>;

#[async_trait]
impl AuditTable for MemoryTable {
    async fn add_entry(&self, entry: &AuditEntry) -> Result<(), StoreError> {
        self.state().audit.entry(entry.id).or_insert_with(|| entry.clone().cut());
        Ok(())
    }

    async fn close_entry(&self, id: Uuid, outcome: AuditOutcome, detail: &str) -> Result<(), StoreError> {
        let mut state = self.state();
        if let Some(entry) = state.audit.get_mut(&id).filter(|entry| entry.outcome == AuditOutcome::Intended)
        {
            entry.outcome = outcome;
            entry.detail = kept_detail(detail).to_owned();
        }
        Ok(())
    }

    async fn entries(
        &self,
        filter: &AuditFilter,
        before: Option<Uuid>,
        most: u32,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        let fits = |entry: &&AuditEntry| {
            filter.target.as_ref().is_none_or(|target| *target == entry.target)
                && filter.actor.as_ref().is_none_or(|actor| *actor == entry.actor)
        };
        let state = self.state();
        let below = state.audit.range(..before.unwrap_or(Uuid::max())).rev();
        Ok(below.map(|(_, entry)| entry).filter(fits).take(most as usize).cloned().collect())
    }

    async fn forget_entries(&self, before: Uuid, most: u32) -> Result<bool, StoreError> {
        let mut state = self.state();
        let gone: Vec<_> = state.audit.range(..before).take(most as usize).map(|(id, _)| *id).collect();
        gone.iter().for_each(|id| drop(state.audit.remove(id)));
        Ok(!gone.is_empty())
    }
}
