//! Writing and reading the audit.

use std::sync::Mutex;

use dtf_model::audit::{AuditEntry, AuditFilter, AuditOutcome};
use uuid::{ContextV7, Timestamp, Uuid};

use crate::client::Client;
use crate::client_error::ClientError;

/// The entries that are deleted in one statement.
const TOGETHER: u32 = 500;

impl Client {
    /// Names a new entry of the audit; ids are in the order of time.
    pub fn audit_id(&self) -> (Uuid, u64) {
        let now = self.now();
        (Uuid::new_v7(of_millis(now)), now)
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// The store failed; the same call may be made again.
    pub async fn add_audit(&self, entry: &AuditEntry) -> Result<(), ClientError> {
        Ok(self.table().add_entry(entry).await?)
    }

    /// Sets the outcome of an entry that is still intended.
    ///
    /// # Errors
    /// The store failed; the same call may be made again.
    pub async fn close_audit(
        &self,
        id: Uuid,
        outcome: AuditOutcome,
        detail: &str,
    ) -> Result<(), ClientError> {
        Ok(self.table().close_entry(id, outcome, detail).await?)
    }

    /// Returns the entries that fit with ids below `before`, the newest first, at most so many.
    ///
    /// # Errors
    /// The store failed.
    pub async fn audit(
        &self,
        filter: &AuditFilter,
        before: Option<Uuid>,
        most: u32,
    ) -> Result<Vec<AuditEntry>, ClientError> {
        Ok(self.table().entries(filter, before, most).await?)
    }

    /// Deletes the entries from before a time, in milliseconds since the Unix epoch, in small batches.
    ///
    /// # Errors
    /// The store failed; some entries may be gone.
    pub async fn forget_audit(&self, before: u64) -> Result<(), ClientError> {
        // The first id of that millisecond.
        let before = Uuid::from_u128(u128::from(before) << 80);
        while self.table().forget_entries(before, TOGETHER).await? {}
        Ok(())
    }
}

/// Orders the ids of one millisecond.
static WITHIN_MILLIS: Mutex<ContextV7> = Mutex::new(ContextV7::new());

fn of_millis(millis: u64) -> Timestamp {
    let nanos = u32::try_from(millis % 1000 * 1_000_000).unwrap_or_default();
    Timestamp::from_unix(&WITHIN_MILLIS, millis / 1000, nanos)
}
