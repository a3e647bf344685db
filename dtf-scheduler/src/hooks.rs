//! The manager's deliveries to hooks: whoever is to be told of the end of a task is told, at least once.
//!
//! # The problem
//! A receiver may be slow, away for days, or one of thousands that are all due at the same moment, and the manager may die at any
//! step. So each attempt is claimed by a conditional write before it is made, which says when the next one is made unless the answer
//! has been noted by then ([`claim`], [`settle`]). One process delivers, the holder of the first watch bucket; it sleeps until the first
//! hook is due, by an index, and what waits for nothing costs nothing. A receiver with many messages under way gets the others later,
//! so that it does not hold up those for the rest.

mod receivers;

use std::sync::Arc;
use std::time::Duration;

use dtf_model::StoreError;
use dtf_model::audit::{AuditEntry, AuditOutcome};
use dtf_model::flow::End;
use dtf_model::hook::{
    Answer, Courier, HookRecord, HookState, HookUpdate, LEASE, Receiver, TaskEnd, claim, next_at, settle,
};
use dtf_model::table::{TaskRow, TaskTable};
use dtf_model::wake::Topic;
use dtf_runtime::RoleContext;
use futures::StreamExt;
use futures::future::{BoxFuture, join_all};
use futures::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use receivers::Receivers;

/// The most tasks whose receivers are asked at a time.
const TOGETHER: usize = 256;
/// The longest sleep.
const RESYNC_PERIOD: Duration = Duration::from_secs(5);
/// The pause after the store failed, and while there is no room.
const AGAIN: Duration = Duration::from_millis(500);
/// The time for an attempt: well within its lease.
const ATTEMPT: Duration = LEASE.saturating_sub(Duration::from_secs(10));
/// The actor of what the framework does by itself.
const ACTOR: &str = "dtf";

/// Delivers messages to hooks.
pub(crate) struct Hooks {
    table: Arc<dyn TaskTable>,
    courier: Arc<dyn Courier>,
    context: RoleContext,
}

/// The receivers that were asked, and how long that took.
type Asked = Vec<(Receiver, Duration)>;

impl Hooks {
    pub(crate) fn new(table: Arc<dyn TaskTable>, courier: Arc<dyn Courier>, context: RoleContext) -> Self {
        Self { table, courier, context }
    }

    /// Delivers what comes due until told to stop, for the holder of the first bucket.
    pub(crate) async fn run(&self, bucket: u32, stop: &CancellationToken) {
        if bucket == 0 {
            // What is dropped half-way is attempted again when its lease is over.
            stop.run_until_cancelled(self.run_on()).await;
        }
    }

    async fn run_on(&self) {
        let mut hints = self.context.wake.listen(Topic::Hooks);
        let mut receivers = Receivers::default();
        let mut under_way = FuturesUnordered::new();
        loop {
            let sleep = match self.take(&mut receivers, under_way.len()).await {
                Ok((taken, sleep)) => {
                    under_way.extend(taken);
                    sleep
                }
                Err(error) => {
                    warn!(%error, "hooks not looked at");
                    AGAIN
                }
            };
            let finish = async {
                while let Some(asked) = under_way.next().await {
                    self.asked(&mut receivers, asked);
                }
                std::future::pending::<()>().await;
            };
            tokio::select! {
                () = tokio::time::sleep(sleep) => {}
                _ = hints.next() => {}
                () = finish => {}
            }
        }
    }

    fn now(&self) -> u64 {
        self.context.clock.unix_millis()
    }

    fn asked(&self, receivers: &mut Receivers, asked: Asked) {
        for (receiver, took) in asked {
            receivers.answered(&receiver, self.now(), took);
        }
    }

    /// Claims what is due. Returns the attempts, and the time to sleep if nothing changes.
    async fn take(
        &self,
        receivers: &mut Receivers,
        under_way: usize,
    ) -> Result<(Vec<BoxFuture<'_, Asked>>, Duration), StoreError> {
        let room = TOGETHER.saturating_sub(under_way);
        if room == 0 {
            return Ok((Vec::new(), AGAIN));
        }
        let due = self.table.due_hooks(self.now(), u32::try_from(room).unwrap_or(u32::MAX)).await?;
        let is_full = due.len() == room;
        let claims: Vec<_> = due.into_iter().filter_map(|row| self.claim(row, receivers)).collect();
        let written = join_all(claims.iter().map(|(_, _, update)| self.table.update_hooks(update))).await;
        let mut taken = Vec::new();
        let mut failed = None;
        for ((row, attempts, update), written) in claims.into_iter().zip(written) {
            let row = TaskRow { hooks: update.records, hook_at: update.hook_at, ..row };
            match written {
                Ok(true) if !attempts.is_empty() => taken.push(self.attempt(row, attempts)),
                Ok(true) => {}
                other => {
                    let given_back =
                        attempts.iter().map(|place| (row.hooks[*place].hook.to.clone(), Duration::ZERO));
                    self.asked(receivers, given_back.collect());
                    failed = other.err().or(failed);
                }
            }
        }
        if let Some(error) = failed {
            warn!(%error, "hooks not claimed");
            return Ok((taken, AGAIN));
        }
        if is_full {
            return Ok((taken, Duration::ZERO));
        }
        // What is claimed is attempted all the same: it has taken its receivers' room.
        let sleep = match self.table.next_hook_at().await {
            Ok(next_at) => self.until(next_at),
            Err(error) => {
                warn!(%error, "hooks not looked at");
                AGAIN
            }
        };
        Ok((taken, sleep))
    }

    fn until(&self, next_at: Option<u64>) -> Duration {
        let wait = |at: u64| Duration::from_millis(at.saturating_sub(self.now())).min(RESYNC_PERIOD);
        next_at.map_or(RESYNC_PERIOD, wait)
    }

    fn claim(&self, row: TaskRow, receivers: &mut Receivers) -> Option<(TaskRow, Vec<usize>, HookUpdate)> {
        let (end, now) = (End::of(row.status, &row.counts)?, self.now());
        let round = claim(&row.hooks, end, now, |hook| receivers.room(&hook.to, now));
        let hook_at = next_at(&round.records);
        let update = HookUpdate { task: row.id, read_at: row.hook_at, records: round.records, hook_at };
        Some((row, round.attempts, update))
    }

    /// Asks the receivers of a task, and notes what they say.
    fn attempt(&self, row: TaskRow, attempts: Vec<usize>) -> BoxFuture<'_, Asked> {
        Box::pin(async move {
            let asked = join_all(attempts.iter().map(|place| self.ask(&row, *place))).await;
            let (answers, times): (Vec<_>, Vec<_>) = asked
                .into_iter()
                .zip(&attempts)
                .map(|((answer, took), place)| ((*place, answer), took))
                .unzip();
            let records = settle(&row.hooks, &answers, row.id, self.now());
            if let Err(error) = self.note(&row, &attempts, records).await {
                warn!(task_id = %row.id, %error, "answers of hooks not noted");
            }
            attempts.iter().map(|place| row.hooks[*place].hook.to.clone()).zip(times).collect()
        })
    }

    async fn ask(&self, row: &TaskRow, place: usize) -> (Answer, Duration) {
        let (hook, begin) = (&row.hooks[place].hook, self.context.clock.now());
        let Some(end) = TaskEnd::of(row, place) else {
            return (Answer::Refused { error: "the task goes on".to_owned() }, Duration::ZERO);
        };
        let late =
            || Answer::Later { error: format!("no answer within {}s", ATTEMPT.as_secs()), after: None };
        let answer = tokio::time::timeout(ATTEMPT, self.courier.deliver(hook, &end)).await;
        (answer.unwrap_or_else(|_| late()), self.context.clock.now().since(begin))
    }

    /// Notes the answers: in the audit first, so that nothing is settled that is not listed there.
    async fn note(
        &self,
        row: &TaskRow,
        attempts: &[usize],
        records: Vec<HookRecord>,
    ) -> Result<(), StoreError> {
        for place in attempts {
            let record = &records[*place];
            if !record.error.is_empty() {
                warn!(task_id = %row.id, hook = place, attempts = record.attempts, error = record.error, "hook not delivered");
            }
            if record.state.is_settled() {
                self.table.add_entry(&entry(row, *place, record)).await?;
            }
        }
        let hook_at = next_at(&records);
        let update = HookUpdate { task: row.id, read_at: row.hook_at, records, hook_at };
        // Another process has claimed the next attempt meanwhile: the receiver is told again.
        if !self.table.update_hooks(&update).await? {
            info!(task_id = %row.id, "hooks taken over by another process");
        }
        Ok(())
    }
}

/// The entry of a settled hook in the audit, the same whoever writes it.
fn entry(row: &TaskRow, place: usize, record: &HookRecord) -> AuditEntry {
    let at = record.at.unwrap_or_default();
    let name = Uuid::new_v5(&row.request, format!("hook {place} at {at}").as_bytes());
    let mut rest = [0; 10];
    rest.copy_from_slice(&name.as_bytes()[..10]);
    let (to, attempts) = (name_of(&record.hook.to), record.attempts);
    let times = if attempts == 1 { "attempt" } else { "attempts" };
    let (outcome, detail) = match record.state {
        HookState::Delivered => (AuditOutcome::Done, format!("{to}: delivered after {attempts} {times}")),
        _ => (AuditOutcome::Refused, format!("{to}: given up after {attempts} {times}: {}", record.error)),
    };
    AuditEntry {
        id: uuid::Builder::from_unix_timestamp_millis(at, &rest).into_uuid(),
        at,
        actor: ACTOR.to_owned(),
        address: String::new(),
        action: "hook.deliver".to_owned(),
        target: format!("task {}", row.id),
        detail,
        outcome,
        request: row.request,
    }
}

/// A receiver for people: an address without what may be a secret.
fn name_of(receiver: &Receiver) -> String {
    match receiver {
        Receiver::Url(url) => url.split(['?', '#']).next().unwrap_or_default().to_owned(),
        Receiver::Callback(name) => format!("callback {name}"),
    }
}
