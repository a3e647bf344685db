//! [`SqlTable`]: the port on either database.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use dtf_model::audit::{Note, NotingTable};
use dtf_model::hook::waiting;
use dtf_model::table::{
    BucketOf, Finish, HistoryOf, Keep, ListOrder, NewTask, TaskFilter, TaskHead, TaskRow, TaskTable,
    check_list, kept_reason,
};
use dtf_model::{Control, InvalidInput, RunEpoch, StoreError, TaskId, TaskStatus};

use crate::audit::addition;
use crate::batches::{Batches, Change, Insertion, answered};
use crate::call::{Call, Value, bound, kept};
use crate::config::{Place, SqlConfig};
use crate::filter::{Dialect, Last};
use crate::row::Record;
use crate::schema::Reach;
use crate::{filter, sql};

/// `tbl_task` in a database.
///
/// Its calls need the time of the tokio runtime to pass as the clock on the wall does: not for runtimes with paused time.
#[derive(Clone)]
pub struct SqlTable {
    pub(crate) database: Database,
    pub(crate) batches: Arc<Batches>,
    shown: String,
    /// The entry of the audit that is written together with the next change.
    pub(crate) note: Option<Note>,
    /// Given up with the table, even if a batch has yet to let go of the connection.
    #[cfg(feature = "sqlite")]
    _lock: Option<Arc<crate::lock::FileLock>>,
}

#[derive(Clone)]
pub(crate) enum Database {
    #[cfg(feature = "sqlite")]
    Sqlite(Arc<crate::pool::Pool<sqlx::SqliteConnection>>),
    #[cfg(feature = "mysql")]
    MySql(Arc<crate::pool::Pool<sqlx::MySqlConnection>>),
}

/// Names the place, without user and password.
impl fmt::Debug for SqlTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SqlTable").field(&self.shown).finish()
    }
}

impl SqlTable {
    /// A table in memory, for one process and as long as it lives.
    ///
    /// # Errors
    /// None is known.
    #[cfg(feature = "sqlite")]
    pub async fn in_memory() -> Result<Self, StoreError> {
        Self::connect(&SqlConfig::default()).await
    }

    /// A table in a SQLite file, which is made if it is not there. No other process can open it meanwhile.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when the file is in use, cannot be used, or has the schema of a newer program.
    #[cfg(feature = "sqlite")]
    pub async fn open_file(path: &Path) -> Result<Self, StoreError> {
        Self::sqlite(Some(path), &SqlConfig::default()).await
    }

    /// The table that the configuration names. A SQLite file's schema is brought up to date; that of a MySQL database has
    /// to be already, see [`migrate`](Self::migrate).
    ///
    /// # Errors
    /// [`StoreError::Refused`], saying in one line what is wrong and what is allowed, for a configuration, a server or a
    /// schema that cannot be used; else that the database is not reached.
    pub async fn connect(config: &SqlConfig) -> Result<Self, StoreError> {
        match config.place()? {
            Place::Sqlite(file) => Self::sqlite(file.as_deref(), config).await,
            #[cfg(feature = "mysql")]
            Place::MySql => Self::mysql(config, crate::mysql::schema()).await,
            #[cfg(not(feature = "mysql"))]
            Place::MySql => Err(without_mysql()),
        }
    }

    /// Brings the schema of the database that the configuration names up to date, as far as programs that work with the
    /// schema as it is can go on. Several at once do no harm.
    ///
    /// # Errors
    /// [`StoreError::Refused`], saying in one line what is wrong and what is allowed, for a configuration, a server or a
    /// schema that cannot be used, or a step that is too large; else that the database is not reached.
    pub async fn migrate(config: &SqlConfig) -> Result<(), StoreError> {
        Self::migrate_within(config, Reach::Compatible).await
    }

    /// Brings the schema of the database that the configuration names up to date, in steps of a certain reach.
    ///
    /// # Errors
    /// Those of [`migrate`](Self::migrate).
    pub async fn migrate_within(config: &SqlConfig, reach: Reach) -> Result<(), StoreError> {
        match config.place()? {
            Place::Sqlite(file) => Self::sqlite(file.as_deref(), config).await.map(drop),
            Place::MySql => migrate_mysql(config, reach).await,
        }
    }

    #[cfg(feature = "sqlite")]
    async fn sqlite(file: Option<&Path>, config: &SqlConfig) -> Result<Self, StoreError> {
        let (pool, lock) = crate::sqlite::open(file, config.limits()).await?;
        let database = Database::Sqlite(pool);
        let shown = file.map_or("sqlite::memory:".to_owned(), |file| format!("sqlite:{}", file.display()));
        let batches = Batches::new(&database).into();
        Ok(Self { batches, database, shown, note: None, _lock: lock.map(Arc::new) })
    }

    #[cfg(not(feature = "sqlite"))]
    async fn sqlite(_file: Option<&Path>, _config: &SqlConfig) -> Result<Self, StoreError> {
        Err(crate::config::wrong("this program was built without SQLite (feature `sqlite`)".to_owned()))
    }

    #[cfg(feature = "mysql")]
    pub(crate) async fn mysql(config: &SqlConfig, schema: crate::schema::Schema) -> Result<Self, StoreError> {
        let database = Database::MySql(
            crate::mysql::open(mysql_options(config)?, config.limits(), schema).await?.into(),
        );
        Ok(Self {
            batches: Batches::new(&database).into(),
            database,
            shown: crate::config::shown(&config.url),
            note: None,
            #[cfg(feature = "sqlite")]
            _lock: None,
        })
    }

    pub(crate) fn dialect(&self) -> Dialect {
        match &self.database {
            #[cfg(feature = "sqlite")]
            Database::Sqlite(_) => Dialect::Sqlite,
            #[cfg(feature = "mysql")]
            Database::MySql(_) => Dialect::MySql,
        }
    }

    /// Changes rows, together with the entry of the audit that belongs to the change, if there is one. Says whether it changed any.
    pub(crate) async fn execute(&self, call: Call) -> Result<bool, StoreError> {
        let Some(note) = self.unwritten() else { return self.database.execute(call).await };
        let applied = self.database.execute_with(call, self.database.adding(&[addition(note)])?).await?;
        if applied {
            note.set_written();
        }
        Ok(applied)
    }

    /// The entry that is written together with the next change.
    pub(crate) fn unwritten(&self) -> Option<&Note> {
        self.note.as_ref().filter(|note| !note.is_written())
    }

    pub(crate) async fn fetch<T: Record>(&self, call: Call) -> Result<Vec<T>, StoreError> {
        self.database.fetch(call).await
    }
}

impl Database {
    /// Changes rows. Says whether it changed any.
    pub(crate) async fn execute(&self, call: Call) -> Result<bool, StoreError> {
        let rows = match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(pool) => pool.execute(call).await?,
            #[cfg(feature = "mysql")]
            Self::MySql(pool) => pool.execute(call).await?,
        };
        Ok(rows > 0)
    }

    /// Changes rows, and, where it changed any, makes another change in the same transaction. Says whether it changed any.
    async fn execute_with(&self, call: Call, other: Call) -> Result<bool, StoreError> {
        let rows = match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(pool) => pool.execute_with(call, other).await?,
            #[cfg(feature = "mysql")]
            Self::MySql(pool) => pool.execute_with(call, other).await?,
        };
        Ok(rows > 0)
    }

    /// Changes exactly so many rows, or none. Says whether it did.
    pub(crate) async fn all_or_none(&self, call: Call, rows: u64) -> Result<bool, StoreError> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(pool) => pool.all_or_none(call, rows).await,
            #[cfg(feature = "mysql")]
            Self::MySql(pool) => pool.all_or_none(call, rows).await,
        }
    }

    /// Makes changes in one transaction: all of them, or none. Making them again has to change nothing.
    pub(crate) async fn transaction(&self, calls: Vec<Call>) -> Result<(), StoreError> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(pool) => pool.transaction(calls).await,
            #[cfg(feature = "mysql")]
            Self::MySql(pool) => pool.transaction(calls).await,
        }
    }

    pub(crate) async fn fetch<T: Record>(&self, call: Call) -> Result<Vec<T>, StoreError> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(pool) => pool.fetch(call).await,
            #[cfg(feature = "mysql")]
            Self::MySql(pool) => pool.fetch(call).await,
        }
    }
}

#[cfg(feature = "mysql")]
pub(crate) fn mysql_options(config: &SqlConfig) -> Result<sqlx::mysql::MySqlConnectOptions, StoreError> {
    // The parser's own words may repeat parts of the URL, and so of a password.
    config.url.parse().map_err(|_| {
        let shown = crate::config::shown(&config.url);
        crate::config::wrong(format!(
            "the database URL {shown} is malformed; signs of a password are to be %-escaped"
        ))
    })
}

#[cfg(feature = "mysql")]
async fn migrate_mysql(config: &SqlConfig, reach: Reach) -> Result<(), StoreError> {
    crate::mysql::migrate(mysql_options(config)?, config.limits(), crate::mysql::schema(), reach).await
}

#[cfg(not(feature = "mysql"))]
async fn migrate_mysql(_config: &SqlConfig, _reach: Reach) -> Result<(), StoreError> {
    Err(without_mysql())
}

#[cfg(not(feature = "mysql"))]
fn without_mysql() -> StoreError {
    crate::config::wrong("this program was built without MySQL (feature `mysql`)".to_owned())
}

impl NotingTable for SqlTable {
    fn noting(&self, note: &Note) -> Arc<dyn TaskTable> {
        Arc::new(Self { note: Some(note.clone()), ..self.clone() })
    }
}

#[async_trait]
impl TaskTable for SqlTable {
    async fn insert(&self, task: &NewTask) -> Result<TaskId, StoreError> {
        task.param.check()?;
        let insertion = Insertion { note: self.unwritten().cloned(), ..insertion(task)? };
        answered(&self.batches.inserts, insertion).await
    }

    async fn get(&self, id: TaskId) -> Result<Option<TaskRow>, StoreError> {
        answered(&self.batches.reads, id).await
    }

    async fn active(&self, share: BucketOf, after: TaskId, most: u32) -> Result<Vec<TaskHead>, StoreError> {
        let call = Call::new(sql::ACTIVE).with(bound(after.0));
        self.fetch(of_share(call, share).with(most)).await
    }

    async fn list(
        &self,
        filter: &TaskFilter,
        last: Option<TaskId>,
        most: u32,
    ) -> Result<Vec<TaskRow>, StoreError> {
        check_list(filter, most)?;
        let last = match last {
            Some(id) if filter.order() != ListOrder::NewestFirst => {
                let row = self.get(id).await?.ok_or(InvalidInput::NoSuchTask(id))?;
                Some(Last { id: id.0, name: row.param.name, start_at: row.param.start_at })
            }
            last => last.map(|id| Last { id: id.0, name: String::new(), start_at: None }),
        };
        self.fetch(filter::list(filter, last.as_ref(), most, self.dialect())).await
    }

    async fn begin_run(&self, id: TaskId, expected: RunEpoch, now: u64) -> Result<bool, StoreError> {
        let now = kept("the time", now)?;
        let alone = Call::new(sql::BEGIN_RUN).with(now).with(now).with(bound(id.0)).with(expected.0);
        let row = vec![bound(id.0).into(), expected.0.into(), now.into()];
        answered(&self.batches.beginnings, Change { task: id, row, alone }).await
    }

    async fn set_control(
        &self,
        id: TaskId,
        control: Control,
        reason: &str,
        now: u64,
    ) -> Result<bool, StoreError> {
        let (now, reason, id) = (kept("the time", now)?, kept_reason(reason), bound(id.0));
        let call = match control {
            Control::Pause => Call::new(sql::PAUSE).with(now).with(reason).with(id),
            Control::Run => Call::new(sql::RESUME).with(now).with(now).with(reason).with(id),
            Control::Cancel | Control::Abort => {
                let code = control.code();
                Call::new(sql::END).with(now).with(code).with(reason).with(code).with(id).with(code)
            }
        };
        // The wish that a task has already applies, and changes nothing.
        self.execute(call.repeatable()).await
    }

    async fn finish(&self, id: TaskId, finish: &Finish) -> Result<bool, StoreError> {
        finish.check()?;
        let alone = finishing(id, finish)?;
        match together(id, finish)? {
            Some(row) => answered(&self.batches.finishes, Change { task: id, row, alone }).await,
            None => self.execute(alone).await,
        }
    }

    async fn unpurged(
        &self,
        share: BucketOf,
        finished_by: u64,
        most: u32,
    ) -> Result<Vec<TaskHead>, StoreError> {
        let call = Call::new(sql::UNPURGED).with(bound(finished_by));
        self.fetch(of_share(call, share).with(most)).await
    }

    async fn purged(&self, id: TaskId) -> Result<(), StoreError> {
        answered(&self.batches.purges, id).await
    }

    async fn next_history(&self, after: Option<&HistoryOf>) -> Result<Option<HistoryOf>, StoreError> {
        self.history_behind(after).await
    }

    async fn forget(&self, of: &HistoryOf, keep: Keep, most: u32) -> Result<u64, StoreError> {
        self.delete_history(of, keep, most).await
    }
}

/// The parameters of a share's condition.
pub(crate) fn of_share(call: Call, share: BucketOf) -> Call {
    let (modulus, factor) = share.mapping.constants();
    call.with(bound(modulus))
        .with(bound(factor))
        .with(bound(modulus))
        .with(share.of.max(1))
        .with(share.bucket)
}

pub(crate) fn insertion(task: &NewTask) -> Result<Insertion, StoreError> {
    let (param, request) = (&task.param, task.request.to_string());
    let timeout = u64::try_from(param.timeout.as_millis()).unwrap_or(u64::MAX);
    let retry_of = param.retry_of.map(|id| kept("the task retried", id.0)).transpose()?;
    let start_at = param.start_at.map(|at| kept("the start time", at)).transpose()?;
    let row = vec![
        request.as_str().into(),
        task.task_type.0.into(),
        param.name.as_str().into(),
        param.description.as_str().into(),
        kept("the creator's uid", param.creator.uid)?.into(),
        param.creator.name.as_str().into(),
        param.group.as_str().into(),
        param.priority.0.into(),
        kept("the timeout", timeout)?.into(),
        param.type_param.to_string().as_str().into(),
        Value::Number(start_at),
        Value::Number(param.limits.running.map(i64::from)),
        Value::Number(param.limits.rate.map(i64::from)),
        Value::Number(retry_of),
        param.type_version.into(),
        kept("the time", task.now)?.into(),
        Value::Text(crate::hook::text(&waiting(&param.hooks))?),
    ];
    Ok(Insertion { request, group: param.group.clone(), row, note: None })
}

/// The largest result, in bytes, of a task that is ended together with others.
const SMALL_RESULT: usize = 16 * 1024;

/// The end of a task as a row of the statement for many; none where it takes a statement of its own.
fn together(id: TaskId, finish: &Finish) -> Result<Option<Vec<Value>>, StoreError> {
    let result = result_text(finish)?;
    // That statement ends running tasks.
    let is_usual = TaskStatus::Running.may_become(finish.status);
    if !is_usual || !finish.reason.is_empty() || result.as_ref().is_some_and(|text| text.len() > SMALL_RESULT)
    {
        return Ok(None);
    }
    let mut row = vec![bound(id.0).into(), finish.run.0.into(), kept("the time", finish.now)?.into()];
    let counts = &finish.counts;
    for count in [counts.created, counts.succeeded, counts.failed, counts.cancelled, counts.timed_out] {
        row.push(kept("a count of subtasks", count)?.into());
    }
    row.extend([Value::Text(result), finish.status.code().into()]);
    Ok(Some(row))
}

fn result_text(finish: &Finish) -> Result<Option<String>, StoreError> {
    let result = finish.result.as_ref().map(serde_json::to_string).transpose();
    result.map_err(|error| crate::config::wrong(error.to_string()))
}

fn finishing(id: TaskId, finish: &Finish) -> Result<Call, StoreError> {
    let (now, counts) = (kept("the time", finish.now)?, &finish.counts);
    let reason = kept_reason(&finish.reason);
    let result = result_text(finish)?;
    let mut call = (0..6).fold(Call::new(sql::FINISH), |call, _| call.with(now));
    for count in [counts.created, counts.succeeded, counts.failed, counts.cancelled, counts.timed_out] {
        call = call.with(kept("a count of subtasks", count)?);
    }
    call = call.with(reason).with(reason).with(Value::Text(result)).with(finish.status.code());
    call = call.with(bound(id.0)).with(finish.run.0);
    let may: Vec<_> = TaskStatus::ALL.into_iter().filter(|from| from.may_become(finish.status)).collect();
    // Three places, as there are three statuses that are no end; a status may stand in several.
    Ok((0..3)
        .fold(call, |call, place| call.with(may.get(place).or(may.last()).map_or(0, |status| status.code()))))
}
