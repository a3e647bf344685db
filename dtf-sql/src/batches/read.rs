//! Rows by id: many in one statement.

use std::collections::HashMap;

use super::batcher::BatchWork;
use async_trait::async_trait;
use dtf_model::table::TaskRow;
use dtf_model::{StoreError, TaskId};

use super::{parts, with_rows};
use crate::call::{Value, bound};
use crate::sql;
use crate::table::Database;

/// Reads tasks.
pub(crate) struct Reads(pub(crate) Database);

impl Reads {
    async fn read(&self, ids: Vec<TaskId>) -> Result<HashMap<TaskId, TaskRow>, StoreError> {
        let rows = ids.iter().map(|id| vec![Value::from(bound(id.0))]).collect();
        let found: Vec<TaskRow> = self.0.fetch(with_rows(sql::GET, "?", ", ", rows)).await?;
        Ok(found.into_iter().map(|row| (row.id, row)).collect())
    }
}

#[async_trait]
impl BatchWork for Reads {
    type Call = TaskId;
    type Answer = Result<Option<TaskRow>, StoreError>;

    async fn perform(&self, calls: Vec<TaskId>) -> Vec<Self::Answer> {
        let mut answers = Vec::with_capacity(calls.len());
        for part in parts(calls) {
            match self.read(part.clone()).await {
                // Some may have asked for the same.
                Ok(found) => answers.extend(part.iter().map(|id| Ok(found.get(id).cloned()))),
                Err(error) => answers.extend(part.iter().map(|_| Err(error.clone()))),
            }
        }
        answers
    }
}
