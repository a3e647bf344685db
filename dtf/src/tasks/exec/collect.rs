//! The collector: says at the end what came of the lines. They are noted when their commands end, see
//! [`Ledger`](super::ledger::Ledger).

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use dtf_model::Counts;
use dtf_model::plugin::{CollectorSupport, ResultOf, TaskCollector, TaskResult};

use super::run::Run;

pub(super) struct ExecCollector {
    pub(super) run: Arc<Run>,
}

#[async_trait]
impl TaskCollector for ExecCollector {
    async fn begin(&mut self, _saved: Option<Bytes>) -> anyhow::Result<()> {
        Ok(())
    }

    async fn after_execution(
        &mut self,
        _result: &ResultOf,
        _support: &mut CollectorSupport,
    ) -> anyhow::Result<()> {
        Ok(())
    }

    async fn after_task_completed(&mut self, _counts: &Counts) -> anyhow::Result<TaskResult> {
        self.run.show_rest().await;
        Ok(self.run.ledger.to_result())
    }
}
