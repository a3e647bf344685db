//! Keeping actions on many tasks.

use dtf_model::bulk::{BulkRow, BulkUpdate, NewBulk};
use uuid::Uuid;

use crate::client::Client;
use crate::client_error::ClientError;

/// The actions that are deleted in one statement.
const TOGETHER: u32 = 100;

impl Client {
    /// Adds an action on many tasks; one that is there stays as it is.
    ///
    /// # Errors
    /// It has too many tasks, or the store failed; the same call may be made again.
    pub async fn add_bulk(&self, new: &NewBulk) -> Result<(), ClientError> {
        Ok(self.table().add_bulk(new).await?)
    }

    /// Returns an action on many tasks.
    ///
    /// # Errors
    /// The store failed.
    pub async fn bulk(&self, id: Uuid) -> Result<Option<BulkRow>, ClientError> {
        Ok(self.table().bulk(id).await?)
    }

    /// Returns the tasks of an action, in their order.
    ///
    /// # Errors
    /// The store failed.
    pub async fn tasks_of_bulk(&self, id: Uuid) -> Result<Vec<u64>, ClientError> {
        Ok(self.table().tasks_of_bulk(id).await?)
    }

    /// Writes how far an action is. Returns true if it applied: no other process has written meanwhile.
    ///
    /// # Errors
    /// The store failed; the update may have been applied.
    pub async fn update_bulk(&self, update: &BulkUpdate) -> Result<bool, ClientError> {
        Ok(self.table().update_bulk(update).await?)
    }

    /// Returns the actions that have not ended and that no process works on, at most so many.
    ///
    /// # Errors
    /// The store failed.
    pub async fn due_bulks(&self, most: u32) -> Result<Vec<BulkRow>, ClientError> {
        Ok(self.table().due_bulks(self.now(), most).await?)
    }

    /// Deletes the actions from before a time, in milliseconds since the Unix epoch, in small batches.
    ///
    /// # Errors
    /// The store failed; some actions may be gone.
    pub async fn forget_bulks(&self, before: u64) -> Result<(), ClientError> {
        while self.table().forget_bulks(before, TOGETHER).await? {}
        Ok(())
    }
}
