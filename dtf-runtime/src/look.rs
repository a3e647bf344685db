//! Looking at all tasks of a share, beside other things to do.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use dtf_model::error::StoreError;
use dtf_model::ids::{Kind, RunEpoch, TaskId};
use dtf_model::queue::{Incarnation, QueueReader, Standing};
use dtf_model::status::Control;
use dtf_model::table::{BucketOf, TaskTable};

/// Rows a page.
const PAGE: u32 = 1000;

/// What a look found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// The tasks of the share that have not ended, by id.
    pub active: Vec<Active>,
    /// Whether the store of the queues may have forgotten something since the look before, or since nobody had looked.
    pub store_may_have_forgotten: bool,
}

/// A task that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Active {
    /// Its id.
    pub id: TaskId,
    /// The number of its run.
    pub run: RunEpoch,
    /// What has to be known to work on it.
    pub kind: Kind,
    /// What its row says is wanted of it.
    pub control: Control,
    /// How its queues stand, where it has any.
    pub standing: Option<Standing>,
}

/// Looks at all tasks of a share.
#[derive(Clone)]
pub struct Looker {
    table: Arc<dyn TaskTable>,
    queues: Arc<dyn QueueReader>,
}

impl Looker {
    /// Looks into these stores.
    pub fn new(table: Arc<dyn TaskTable>, queues: Arc<dyn QueueReader>) -> Self {
        Self { table, queues }
    }

    /// A way to look that does not look yet.
    pub fn rest(&self) -> Looking {
        Looking { looker: self.clone(), known: None, under_way: None }
    }

    /// The incarnation is read before everything else: what is read behind it is as new as it at least.
    async fn look(self, share: BucketOf) -> Result<(Incarnation, Vec<Active>), StoreError> {
        let incarnation = self.queues.incarnation().await?;
        let (mut active, mut after) = (Vec::new(), TaskId(0));
        loop {
            let rows = self.table.active(share, after, PAGE).await?;
            let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
            let standings: HashMap<_, _> = self.queues.standings(&ids).await?.into_iter().collect();
            active.extend(rows.iter().map(|row| Active {
                id: row.id,
                run: row.run,
                kind: row.kind(),
                control: row.control,
                standing: standings.get(&row.id).copied(),
            }));
            match rows.last() {
                Some(last) if rows.len() as u32 == PAGE => after = last.id,
                _ => return Ok((incarnation, active)),
            }
        }
    }
}

type UnderWay = Pin<Box<dyn Future<Output = Result<(Incarnation, Vec<Active>), StoreError>> + Send>>;

/// A look that may be under way, and what the one before has seen.
pub struct Looking {
    looker: Looker,
    known: Option<Incarnation>,
    under_way: Option<UnderWay>,
}

impl Looking {
    /// Whether no look is under way.
    pub fn is_resting(&self) -> bool {
        self.under_way.is_none()
    }

    /// Begins to look at the tasks of a share; one that is under way goes on instead.
    pub fn begin(&mut self, share: BucketOf) {
        let looker = &self.looker;
        self.under_way.get_or_insert_with(|| Box::pin(looker.clone().look(share)));
    }

    /// What the look under way finds; waits for ever where there is none. Dropping the future loses nothing.
    ///
    /// # Errors
    /// A store failed. It costs nothing but time: the next look is near.
    pub async fn next(&mut self) -> Result<Look, StoreError> {
        let Some(under_way) = &mut self.under_way else { return std::future::pending().await };
        let found = under_way.await;
        self.under_way = None;
        let (incarnation, active) = found?;
        let store_may_have_forgotten = self.known.as_ref() != Some(&incarnation);
        self.known = Some(incarnation);
        Ok(Look { active, store_may_have_forgotten })
    }
}
