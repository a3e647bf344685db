//! The generator: reads lines, lets them wait, and gives a ticket for each. What it saves is how many there were: one that
//! takes over in the same process can go on there.

use std::sync::Arc;

use anyhow::{Context, bail};
use async_trait::async_trait;
use bytes::Bytes;
use dtf_model::plugin::{Generated, NewSubtask, TaskGenerator};
use tokio::time::timeout;

use super::arguments::Arguments;
use super::input::{Input, LONGEST_WAIT, Line};
use super::param::ExecParam;
use super::run::Run;

/// Hands out lines.
pub(super) struct ExecGenerator {
    run: Arc<Run>,
    input: Arc<Input>,
    given: Option<Arguments>,
    param: ExecParam,
    position: u64,
}

impl ExecGenerator {
    pub(super) fn new(run: Arc<Run>, input: Arc<Input>, param: ExecParam) -> Self {
        Self { run, input, given: param.given(), param, position: 0 }
    }

    /// The next lines, and whether they are the last.
    async fn lines(&self, most: usize) -> anyhow::Result<(Vec<Line>, bool)> {
        match &self.given {
            Some(given) => {
                let lines = given.next(self.position, most);
                let finished = self.position + lines.len() as u64 >= given.len();
                Ok((lines, finished))
            }
            None => self.input.next(self.position, most, self.param.cut()).await,
        }
    }
}

#[async_trait]
impl TaskGenerator for ExecGenerator {
    async fn begin(&mut self, saved: Option<Bytes>) -> anyhow::Result<()> {
        let number = |saved: Bytes| {
            saved.as_ref().try_into().map(u64::from_be_bytes).context("the generator's saved status")
        };
        self.position = saved.map_or(Ok(0), number)?;
        self.run.ledger.open(&self.param)
    }

    async fn next_subtasks(&mut self, most: usize) -> anyhow::Result<Generated> {
        if self.run.ledger.is_stopped().is_some() {
            return Ok(Generated { subtasks: Vec::new(), finished: true });
        }
        if timeout(LONGEST_WAIT, self.run.ready.room()).await.is_err() {
            return Ok(Generated::default());
        }
        let (lines, finished) = self.lines(most).await?;
        let mut subtasks = Vec::with_capacity(lines.len());
        for line in lines {
            self.position = line.number;
            match self.run.ledger.spares(self.param.resume, line.number, &line.text) {
                Ok(true) => self.run.pass(&self.param, line.number),
                Ok(false) => {
                    subtasks.push(NewSubtask::new(line.number.to_be_bytes().to_vec()));
                    self.run.ready.put(line);
                }
                Err(why) => bail!("{why}"),
            }
        }
        Ok(Generated { subtasks, finished })
    }

    fn save_status(&self) -> anyhow::Result<Option<Bytes>> {
        Ok(Some(Bytes::copy_from_slice(&self.position.to_be_bytes())))
    }
}
