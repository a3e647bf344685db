//! MySQL's and MariaDB's part.

use std::time::Duration;

use dtf_model::StoreError;
use sqlx::mysql::{MySql, MySqlConnectOptions, MySqlDatabaseError, MySqlQueryResult};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Error, Executor, MySqlConnection, Row, raw_sql};

use crate::call::Call;
use crate::error::Verdict;
use crate::pool::{Driver, Limits, Pool};
use crate::row::{self, Record};
use crate::schema::{Reach, Schema};
use crate::sql::ACCEPTS;
use crate::sql::mysql::{LOCK, MIGRATIONS, SET_GROUP, UNLOCK};

/// The options of a connection, and the time limit of a statement.
pub(crate) struct Target {
    options: MySqlConnectOptions,
    /// The limit of the client; the server's own is below it.
    call: Duration,
}

impl Target {
    /// The settings of a session, as statements.
    ///
    /// - Read committed: otherwise inserts block each other's gaps.
    /// - Strict: what does not fit is refused, not cut.
    /// - A wait for a lock ends, undone, before the call is given up with its outcome unknown.
    /// - A statement ends in the server when its caller gives up at the latest: MariaDB limits every statement, MySQL those
    ///   that read, and either ignores the comment that is for the other one.
    fn settings(&self) -> String {
        let lock_wait_seconds = (self.call.as_secs() / 2).max(1);
        let statement_millis = (self.call * 9 / 10).as_millis().max(1);
        format!(
            "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; \
             SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', \
             SESSION innodb_lock_wait_timeout = {lock_wait_seconds} \
             /*M!100101 , SESSION max_statement_time = {statement_millis} / 1000 */ \
             /*!50704 , SESSION max_execution_time = {statement_millis} */"
        )
    }
}

/// The schema of this program.
pub(crate) fn schema() -> Schema {
    Schema::new(MySqlConnection::STORE, &MIGRATIONS, ACCEPTS)
}

/// Connects to a database whose schema is there already.
pub(crate) async fn open(
    options: MySqlConnectOptions,
    limits: Limits,
    schema: Schema,
) -> Result<Pool<MySqlConnection>, StoreError> {
    let pool = pool(options, limits);
    pool.prepare(|connection| Box::pin(check(connection, schema)), limits.call).await?;
    Ok(pool)
}

/// Brings the schema up to date.
pub(crate) async fn migrate(
    options: MySqlConnectOptions,
    limits: Limits,
    schema: Schema,
    reach: Reach,
) -> Result<(), StoreError> {
    // Longer than a call: a migration may have a large table to change, or wait for another one.
    let call = limits.call * 12;
    let pool = pool(options, Limits { call, ..limits });
    pool.prepare(|connection| Box::pin(bring_up(connection, schema, reach)), call).await
}

async fn bring_up(connection: &mut MySqlConnection, schema: Schema, reach: Reach) -> Result<(), StoreError> {
    check_version(connection).await?;
    // The lock of sqlx asks for no limit with -1, which MariaDB answers with NULL, and no lock.
    let locked = connection.fetch_one(LOCK).await.and_then(|row| row.try_get::<Option<i64>, _>(0));
    if locked.map_err(|error| refused(&error))? != Some(1) {
        let cause = "another migration is being run and takes its time".to_owned();
        return Err(StoreError::Unreachable { store: MySqlConnection::STORE, cause });
    }
    let migrated = schema.migrate(connection, reach).await;
    // Would go with the connection too, but when the server gets to it.
    raw_sql(UNLOCK).execute(connection).await.map_err(|error| refused(&error))?;
    migrated
}

fn pool(options: MySqlConnectOptions, limits: Limits) -> Pool<MySqlConnection> {
    Pool::new(Target { options, call: limits.call }, limits)
}

async fn check(connection: &mut MySqlConnection, schema: Schema) -> Result<(), StoreError> {
    check_version(connection).await?;
    schema.check(connection).await
}

async fn check_version(connection: &mut MySqlConnection) -> Result<(), StoreError> {
    let row = connection.fetch_one("SELECT VERSION()").await.map_err(|error| refused(&error))?;
    let version: String = row.try_get(0).map_err(|error| refused(&error))?;
    if is_supported(&version) {
        return Ok(());
    }
    let cause = format!("the server is {version}; needed is MySQL 8.0, MariaDB 10.6, or later");
    Err(StoreError::Refused { store: MySqlConnection::STORE, cause })
}

/// Returns true if a server of this version will do, as it calls itself: `8.0.35`, `10.11.6-MariaDB-1`,
/// `5.5.5-10.6.1-MariaDB`.
fn is_supported(version: &str) -> bool {
    let mariadb = version.to_ascii_lowercase().contains("mariadb");
    let version = version.strip_prefix("5.5.5-").filter(|_| mariadb).unwrap_or(version);
    let mut numbers =
        version.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse::<u32>().ok());
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    found >= if mariadb { (10, 6) } else { (8, 0) }
}

fn refused(error: &Error) -> StoreError {
    crate::error::calling(MySqlConnection::STORE, error, MySqlConnection::verdict(error))
}

/// Executes a statement. A server on which no further statement can be prepared (`max_prepared_stmt_count`, a limit that all
/// its users share) gets it as text.
async fn run(connection: &mut MySqlConnection, call: Call) -> Result<MySqlQueryResult, Error> {
    match call.clone().query::<MySql>().execute(&mut *connection).await {
        Err(error) if number(&error) == Some(TOO_MANY_PREPARED) => {
            raw_sql(call.into_text()?).execute(connection).await
        }
        result => result,
    }
}

const NO_SUCH_TABLE: u16 = 1146;
/// Preparing failed, so nothing was executed.
const TOO_MANY_PREPARED: u16 = 1461;

fn number(error: &Error) -> Option<u16> {
    let error = error.as_database_error()?.try_downcast_ref::<MySqlDatabaseError>()?;
    Some(error.number())
}

impl Driver for MySqlConnection {
    const STORE: &'static str = "MySQL";
    const SURVIVES_ABANDONED_CALLS: bool = false;

    type Target = Target;

    async fn open(target: &Self::Target) -> Result<Self, Error> {
        let mut connection = target.options.connect().await?;
        raw_sql(AssertSqlSafe(target.settings())).execute(&mut connection).await?;
        Ok(connection)
    }

    async fn check(&mut self) -> Result<(), Error> {
        self.ping().await
    }

    fn verdict(error: &Error) -> Verdict {
        match number(error) {
            // Deadlock.
            Some(1213) => Verdict::Again,
            // Too many connections (of all, of one user), the server stops, disk full, lock wait timeout.
            Some(1040 | 1203 | 1226 | 1053 | 1021 | 1114 | 1205) => Verdict::Later,
            // Read-only (by an option, as a mode, InnoDB), not a part of its Galera cluster, no primary of its replication group.
            Some(1290 | 1836 | 1792 | 1874 | 1047 | 3100 | 3101) => Verdict::Moved,
            // Interrupted, connection killed (MySQL, MariaDB), statement out of time (MariaDB, MySQL), read error.
            Some(1317 | 1927 | 1969 | 3024 | 1158..=1161) => Verdict::Interrupted,
            _ => Verdict::No,
        }
    }

    fn is_missing_table(error: &Error) -> bool {
        number(error) == Some(NO_SUCH_TABLE)
    }

    async fn all_or_none(&mut self, call: Call, rows: u64) -> Result<bool, Error> {
        // Dropped before it is committed, it is rolled back.
        let mut transaction = self.begin().await?;
        let affected = run(&mut transaction, call).await?.rows_affected();
        match affected == rows {
            true => transaction.commit().await?,
            false => transaction.rollback().await?,
        }
        Ok(affected == rows)
    }

    async fn execute_with(&mut self, call: Call, other: Call) -> Result<u64, Error> {
        // Dropped before it is committed, it is rolled back.
        let mut transaction = self.begin().await?;
        let affected = run(&mut transaction, call).await?.rows_affected();
        match affected {
            0 => transaction.rollback().await?,
            _ => {
                run(&mut transaction, other).await?;
                transaction.commit().await?;
            }
        }
        Ok(affected)
    }

    async fn transaction(&mut self, calls: Vec<Call>) -> Result<(), Error> {
        let mut transaction = self.begin().await?;
        for call in calls {
            run(&mut transaction, call).await?;
        }
        transaction.commit().await
    }

    async fn execute(&mut self, call: Call) -> Result<u64, Error> {
        Ok(run(self, call).await?.rows_affected())
    }

    async fn fetch<T: Record>(&mut self, call: Call) -> Result<Vec<T>, Error> {
        match call.clone().query::<MySql>().fetch_all(&mut *self).await {
            Err(error) if number(&error) == Some(TOO_MANY_PREPARED) => {
                row::all(&raw_sql(call.into_text()?).fetch_all(self).await?)
            }
            rows => row::all(&rows?),
        }
    }
}

/// The statement that makes or changes a resource group.
pub(crate) fn set_group() -> Call {
    Call::new(SET_GROUP)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dtf_model::table::BucketOf;
    use dtf_testkit::table::run_all;
    use dtf_testkit::until_answered;
    use test_servers::servers::MariaDb;

    use super::*;
    use crate::call::Value;
    use crate::config::SqlConfig;
    use crate::filter::Dialect;
    use crate::filter::tests::cases;
    use crate::schema::ACCEPTS as ACCEPTS_NOTE;
    use crate::sql;
    use crate::table::{SqlTable, mysql_options, of_share};

    #[tokio::test(flavor = "multi_thread")]
    async fn a_statement_whose_caller_gave_up_ends_in_the_server() {
        let server = MariaDb::get().unwrap();
        let options = || server.url("mysql").parse::<MySqlConnectOptions>().unwrap();
        let call = Duration::from_secs(10);
        let limits = Limits { connections: 2, acquire: call, call, lifetime: call * 60 };
        let pool = Arc::new(super::pool(options(), limits));
        let endless = || {
            let pool = pool.clone();
            let call = Call::new("SELECT SLEEP(86400) AS number /* endless */");
            async move { pool.fetch::<row::Number>(call).await.map(drop) }
        };
        let mut abandoned = tokio::spawn(endless());
        let mut root =
            until_answered(|| async { options().connect().await.map_err(|error| refused(&error)) }).await;
        let running = "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP(86400)%endless%'";
        let mut count = async || sqlx::query_scalar::<_, i64>(running).fetch_one(&mut root).await.unwrap();
        while count().await == 0 {
            assert!(!abandoned.is_finished(), "{:?}", (&mut abandoned).await);
        }
        abandoned.abort();
        // One that is waited for is told so, and costs no connection.
        let error = endless().await.unwrap_err();
        assert!(matches!(error, StoreError::Unknown { .. }), "{error}");
        while count().await > 0 {}
    }

    /// A database of its own on the server.
    async fn database(server: &MariaDb) -> SqlConfig {
        let name = format!("dtf_test_{}", uuid::Uuid::new_v4().simple());
        let root = server.url("mysql").parse::<MySqlConnectOptions>().unwrap();
        let made = AssertSqlSafe(format!("CREATE DATABASE {name}"));
        raw_sql(made).execute(&mut root.connect().await.unwrap()).await.unwrap();
        let patience = Duration::from_secs(120);
        SqlConfig {
            url: server.url(&name),
            acquire_timeout: patience,
            call_timeout: patience,
            ..SqlConfig::default()
        }
    }

    /// Returns the optimizer's plan of a statement, as lines `key extra`.
    async fn explained(connection: &mut MySqlConnection, call: Call) -> (String, String) {
        let sql = format!("EXPLAIN {}", call.into_text().unwrap().as_str().trim_start());
        let rows = raw_sql(AssertSqlSafe(sql)).fetch_all(connection).await.unwrap();
        let text = |name: &str| {
            let texts = rows.iter().filter_map(|row| row.try_get::<Option<String>, _>(name).unwrap());
            texts.collect::<Vec<_>>().join("; ")
        };
        (text("key"), text("Extra"))
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn every_list_and_every_scan_walks_along_an_index() {
        let server = MariaDb::get().unwrap();
        let config = database(&server).await;
        SqlTable::migrate(&config).await.unwrap();
        let mut connection = mysql_options(&config).unwrap().connect().await.unwrap();
        let fill = "INSERT INTO tbl_task (request_id, task_type, name, description, uid, creator, resource_group, priority, \
            timeout, type_param, task_status, phase, create_time, next_check_time, finish_time, reason) \
            WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) \
            SELECT i, i % 3, CONCAT('a', i % 5), '', 1, CONCAT('a', i % 7), CONCAT('a', i % 2), 6000, 1, '{}', \
            1 + i % 6, i % 3, i, i, i, '' FROM n; UPDATE tbl_task SET hooks = '[]', hook_at = id WHERE id % 10 = 0; ANALYZE TABLE tbl_task";
        raw_sql(fill).execute(&mut connection).await.unwrap();
        let fill = "INSERT INTO tbl_schedule (request_id, name, spec, state, next_at, create_time) \
            SELECT id, CONCAT('s', id), '{}', '{}', id, id FROM tbl_task; \
            INSERT INTO tbl_task_after (task_id, on_id, cond, label, told) SELECT id, 1 + id % 50, 1, '', id % 2 FROM tbl_task; \
            INSERT INTO tbl_audit (id, asked_time, actor, address, action, target, detail, outcome, request_id) \
            SELECT UUID(), id, CONCAT('a', id % 7), '', 'task.cancel', CONCAT('task ', id % 50), '', 1, UUID() FROM tbl_task; \
            INSERT INTO tbl_bulk (id, spec, tasks, state, revision, until_time, create_time) \
            SELECT UUID(), '{}', '[]', '{}', 0, IF(id % 10, NULL, id), id FROM tbl_task; \
            ANALYZE TABLE tbl_schedule, tbl_task_after, tbl_audit, tbl_bulk";
        raw_sql(fill).execute(&mut connection).await.unwrap();
        for (what, index, call) in cases(Dialect::MySql) {
            let (key, extra) = explained(&mut connection, call).await;
            assert_eq!(key, index, "{what}: {extra}");
            assert!(!extra.contains("filesort") && !extra.contains("temporary"), "{what}: {extra}");
        }
        for (what, index, call) in crate::audit::tests::cases(Dialect::MySql) {
            let (key, extra) = explained(&mut connection, call).await;
            assert!(key.starts_with(index), "{what}: {key} {extra}");
            assert!(!extra.contains("filesort") && !extra.contains("temporary"), "{what}: {extra}");
        }
        let history = || Call::new(sql::OLDEST_KEPT).with("a1").with(1_u32);
        let share = BucketOf { bucket: 1, of: 4, ..BucketOf::ALL };
        let others = [
            ("tbl_task_history", Call::new(sql::NEXT_HISTORY).with("a0").with("a0").with(1_u32)),
            ("tbl_task_history", history().with(10_u32)),
            ("tbl_task_phase", of_share(Call::new(sql::ACTIVE).with(0_u32), share).with(10_u32)),
            ("tbl_schedule_next", of_share(Call::new(sql::SCHEDULES_DUE).with(20_u32), share).with(10_u32)),
            ("tbl_schedule_next", of_share(Call::new(sql::SCHEDULE_NEXT), share)),
            ("tbl_task_hook", Call::new(sql::DUE_HOOKS).with(20_u32).with(10_u32)),
            ("tbl_task_hook", Call::new(sql::NEXT_HOOK)),
            ("tbl_bulk_until", crate::bulk::due(20, 10)),
        ];
        for (index, call) in others {
            let what = format!("{call:?}");
            let (key, extra) = explained(&mut connection, call).await;
            assert!(key == index && !extra.contains("filesort"), "{what}: {key} {extra}");
        }
        let untold = Call::new(sql::UNTOLD).with(7_u32).with(0_u32).with(10_u32);
        let (key, extra) = explained(&mut connection, untold).await;
        assert!(key.contains("tbl_task_after_") && !extra.contains("filesort"), "{key} {extra}");
        let with_untold = Call::new(sql::WITH_UNTOLD).with(0_u32).with(10_u32);
        let (key, extra) = explained(&mut connection, with_untold).await;
        assert!(key.contains("tbl_task_after_told") && !extra.contains("filesort"), "{key} {extra}");
        let forgettable = Call::new(sql::FORGETTABLE).with("a1").with(1_u32).with(500_u32).with(10_u32);
        let (key, extra) = explained(&mut connection, forgettable).await;
        assert!(key.contains("tbl_task_history") && !extra.contains("filesort"), "{key} {extra}");
    }

    fn schema_of(files: &[&'static str], accepts: i64) -> Schema {
        Schema::new(MySqlConnection::STORE, files, accepts)
    }

    async fn migrate_to(config: &SqlConfig, schema: Schema, reach: Reach) -> Result<(), StoreError> {
        super::migrate(mysql_options(config).unwrap(), config.limits(), schema, reach).await
    }

    fn said<T: std::fmt::Debug>(result: Result<T, StoreError>) -> String {
        result.unwrap_err().to_string()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_version_before_works_beside_this_one_whichever_comes_first() {
        let server = MariaDb::get().unwrap();
        let before = || schema_of(&MIGRATIONS[..ACCEPTS as usize], ACCEPTS);
        for newer_first in [true, false] {
            let config = database(&server).await;
            if !newer_first {
                migrate_to(&config, before(), Reach::Compatible).await.unwrap();
            }
            let early = (!newer_first).then(|| SqlTable::mysql(&config, before()));
            let early = match early {
                Some(connecting) => Some(connecting.await.unwrap()),
                None => None,
            };
            SqlTable::migrate(&config).await.unwrap();
            let newer = Arc::new(SqlTable::connect(&config).await.unwrap());
            // The former program goes on, and can be started again.
            migrate_to(&config, before(), Reach::Compatible).await.unwrap();
            let again = SqlTable::mysql(&config, before()).await.unwrap();
            let all = [early, Some(again)].into_iter().flatten().map(Arc::new).chain([newer]);
            let runs: Vec<_> = all.map(|table| tokio::spawn(run_all(table))).collect();
            for run in runs {
                run.await.unwrap();
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_next_version_is_accepted_where_it_only_adds() {
        let server = MariaDb::get().unwrap();
        let config = database(&server).await;
        SqlTable::migrate(&config).await.unwrap();
        let ours = MIGRATIONS.len() as i64;
        let accepting = |oldest: i64| {
            let note = format!(
                "INSERT INTO tbl_cluster (name, value) VALUES ('{ACCEPTS_NOTE}', '{oldest}') \
                 ON DUPLICATE KEY UPDATE value = '{oldest}'"
            );
            let mut files = MIGRATIONS.to_vec();
            files.push(note.leak());
            schema_of(&files, oldest)
        };
        // One that shuts this program out is not applied while it may run.
        let refused = said(migrate_to(&config, accepting(ours + 1), Reach::Compatible).await);
        assert!(refused.contains("run `dtf migrate --allow-incompatible`"), "{refused}");
        SqlTable::connect(&config).await.unwrap();
        migrate_to(&config, accepting(ours), Reach::Compatible).await.unwrap();
        SqlTable::connect(&config).await.unwrap();
        SqlTable::migrate(&config).await.unwrap();

        let config = database(&server).await;
        SqlTable::migrate(&config).await.unwrap();
        migrate_to(&config, accepting(ours + 1), Reach::Any).await.unwrap();
        for refused in [said(SqlTable::connect(&config).await), said(SqlTable::migrate(&config).await)] {
            assert!(refused.contains("use a newer program"), "{refused}");
        }
    }

    #[test]
    fn a_statement_as_text_has_its_arguments_in_hex() {
        let call = Call::new("-- What is it? A comment.\nSELECT ?, ?, ?").with(-7_i64).with("a'\\ü");
        assert!(call.clone().into_text().is_err());
        let text = call.clone().with(Value::Text(None)).into_text().unwrap();
        assert_eq!(text.as_str(), "SELECT -7, _utf8mb4 X'61275cc3bc', NULL");
        assert!(call.with(1_u32).with(2_u32).into_text().is_err());
    }

    #[test]
    fn servers_that_are_too_old_are_told_by_their_version() {
        for good in
            ["8.0.35", "8.4.2-log", "9.1.0", "10.6.0-MariaDB", "10.11.6-MariaDB-0+deb12u1", "11.4.2-MariaDB"]
        {
            assert!(is_supported(good), "{good}");
        }
        assert!(is_supported("5.5.5-10.6.18-MariaDB-log"));
        for old in ["5.7.44", "5.5.5-10.5.9-MariaDB", "10.5.23-MariaDB", "10.1.48-mariadb", "", "unknown"] {
            assert!(!is_supported(old), "{old}");
        }
    }
}
