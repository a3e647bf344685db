//! The rows of a query. The position is the key of the last one.

use std::sync::Arc;

use anyhow::{Context, ensure};
use async_trait::async_trait;
use bytes::Bytes;
use dtf_model::connection::SqlConnections;
use dtf_model::plugin::{Generated, NewSubtask, TaskGenerator};
use serde_json::Value;

use crate::sql::SqlQuery;

/// The most rows of a batch.
const BATCH: usize = 1000;

pub(super) struct SqlSource {
    connections: Option<Arc<dyn SqlConnections>>,
    query: SqlQuery,
    /// The key of the last row.
    last: Value,
}

impl SqlSource {
    pub(super) fn new(connections: Option<Arc<dyn SqlConnections>>, query: SqlQuery) -> Self {
        let last = query.from.clone();
        Self { connections, query, last }
    }
}

#[async_trait]
impl TaskGenerator for SqlSource {
    async fn begin(&mut self, saved: Option<Bytes>) -> anyhow::Result<()> {
        if let Some(saved) = saved {
            self.last = serde_json::from_slice(&saved).context("the saved position is no key")?;
        }
        Ok(())
    }

    async fn next_subtasks(&mut self, most: usize) -> anyhow::Result<Generated> {
        let SqlQuery { connection, query, key, .. } = &self.query;
        let connections = self
            .connections
            .as_ref()
            .with_context(|| format!("this process has no connection {connection:?}"))?;
        let most = most.min(BATCH);
        let rows =
            connections.query(connection, query, &[self.last.clone(), Value::from(most)], most).await?;
        // A query may give fewer rows than it could.
        let finished = rows.is_empty();
        let mut subtasks = Vec::with_capacity(rows.len());
        for row in rows {
            let found = row.get(key).with_context(|| format!("the rows have no column {key}"))?;
            ensure!(
                rises(&self.last, found),
                "the key {key} is {found} behind {}; the query has to give rows behind the first placeholder, in the order of the key",
                self.last
            );
            self.last = found.clone();
            subtasks.push(NewSubtask::new(Value::Object(row).to_string()));
        }
        Ok(Generated { subtasks, finished })
    }

    fn save_status(&self) -> anyhow::Result<Option<Bytes>> {
        Ok(Some(serde_json::to_vec(&self.last)?.into()))
    }
}

/// Returns true where a key may come behind another one. How texts are ordered is the database's to say, so they only differ.
fn rises(last: &Value, next: &Value) -> bool {
    match (last, next) {
        (Value::Number(last), Value::Number(next)) => match (last.as_i64(), next.as_i64()) {
            (Some(last), Some(next)) => next > last,
            _ => next.as_f64() > last.as_f64(),
        },
        (_, Value::Null) => false,
        (last, next) => last != next,
    }
}
