//! The port's obligations on a real MariaDB or MySQL, and what becomes of calls when that goes away.

use std::sync::Arc;
use std::time::Duration;

use dtf_model::table::{NewTask, TaskTable};
use dtf_model::{StoreError, TaskId, TaskParam, TaskTypeId};
use dtf_sql::{SqlConfig, SqlTable};
use dtf_testkit::table::run_all;
use dtf_testkit::{
    audit, bulk, cluster, defined_type, failure, flow, gateway, group, hook, items, noting, result, schedule,
    token, unique, until_answered,
};
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::{AssertSqlSafe, ConnectOptions};
use test_servers::servers::MariaDb;
use uuid::Uuid;

/// Far more than anything takes: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(120);

/// A database of its own on the server.
async fn database(server: &MariaDb) -> SqlConfig {
    let name = format!("dtf_test_{}", Uuid::new_v4().simple());
    run(&mut connect(&server.url("")).await, &format!("CREATE DATABASE {name}")).await;
    // Whoever is there may stand for a while with the machine.
    SqlConfig {
        url: server.url(&name),
        acquire_timeout: PATIENCE,
        call_timeout: PATIENCE,
        ..SqlConfig::default()
    }
}

async fn connect(url: &str) -> MySqlConnection {
    url.parse::<MySqlConnectOptions>().unwrap().connect().await.unwrap()
}

async fn run(connection: &mut MySqlConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.unwrap();
}

async fn drop_database(config: &SqlConfig) {
    let name = config.url.rsplit('/').next().unwrap().split('?').next().unwrap();
    run(&mut connect(&config.url).await, &format!("DROP DATABASE {name}")).await;
}

async fn migrated(config: &SqlConfig) -> SqlTable {
    SqlTable::migrate(config).await.unwrap();
    SqlTable::connect(config).await.unwrap()
}

async fn insert(table: &SqlTable) -> Result<TaskId, StoreError> {
    let task =
        NewTask { request: Uuid::new_v4(), task_type: TaskTypeId(1), param: TaskParam::default(), now: 1 };
    table.insert(&task).await
}

fn refusal<T: std::fmt::Debug>(result: Result<T, StoreError>) -> String {
    match result {
        Err(error @ StoreError::Refused { .. }) => error.to_string(),
        other => panic!("not refused: {other:?}"),
    }
}

/// One server for all that does not harm it, as each takes seconds to make.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_conforms_and_its_schema_is_guarded() {
    let server = MariaDb::get().unwrap();
    conforms(&server).await;
    a_schema_is_made_once_by_whoever_comes_first(&server).await;
    only_the_schema_needed_is_used(&server).await;
    a_wait_for_a_lock_ends_undone(&server).await;
    no_password_is_told(&server).await;
}

async fn conforms(server: &MariaDb) {
    let config = database(server).await;
    let table = Arc::new(migrated(&config).await);
    run_all(table.clone()).await;
    group::run_all(table.clone()).await;
    failure::run_all(table.clone()).await;
    schedule::run_all(table.clone()).await;
    flow::run_all(table.clone()).await;
    noting::run_all(table.clone()).await;
    unique::run_all(table.clone()).await;
    hook::run_all(table.clone()).await;
    cluster::run_all(table.clone()).await;
    result::run_all(table.clone()).await;
    items::run_all(table.clone()).await;
    defined_type::run_all(table.clone()).await;
    gateway::run_all(table.clone()).await;
    bulk::run_all(table.clone()).await;
    token::run_all(table.clone()).await;
    audit::run_all(table.clone()).await;
    // Also beside each other, and with another process's connections.
    let other = Arc::new(SqlTable::connect(&config).await.unwrap());
    let runs = [table.clone(), other.clone(), table, other].map(|table| tokio::spawn(run_all(table)));
    for run in runs {
        run.await.unwrap();
    }
    drop_database(&config).await;
}

async fn a_schema_is_made_once_by_whoever_comes_first(server: &MariaDb) {
    let config = database(server).await;
    assert!(refusal(SqlTable::connect(&config).await).contains("run `dtf migrate`"));
    let all: Vec<_> = (0..4)
        .map(|_| {
            let config = config.clone();
            tokio::spawn(async move { SqlTable::migrate(&config).await })
        })
        .collect();
    for one in all {
        one.await.unwrap().unwrap();
    }
    assert!(SqlTable::connect(&config).await.is_ok());
    drop_database(&config).await;
    assert!(refusal(SqlTable::connect(&config).await).contains("Unknown database"));
}

async fn only_the_schema_needed_is_used(server: &MariaDb) {
    let config = database(server).await;
    let table = migrated(&config).await;
    let mut connection = connect(&config.url).await;
    run(&mut connection, "UPDATE dtf_migrations SET success = FALSE").await;
    assert!(refusal(SqlTable::connect(&config).await).contains("migration 1 was interrupted"));
    assert!(refusal(SqlTable::migrate(&config).await).contains("migration 1 was interrupted"));
    // What the refusal says to do is enough, and the rows stay.
    let id = insert(&table).await.unwrap();
    run(&mut connection, "DELETE FROM dtf_migrations").await;
    let table = migrated(&config).await;
    assert!(table.get(id).await.unwrap().is_some());

    let later = "INSERT INTO dtf_migrations SELECT 99, 'later', installed_on, 1, checksum, 0 \
                 FROM dtf_migrations WHERE version = 1";
    run(&mut connection, later).await;
    run(&mut connection, "DELETE FROM tbl_cluster WHERE name = 'schema.accepts'").await;
    for said in [refusal(SqlTable::connect(&config).await), refusal(SqlTable::migrate(&config).await)] {
        assert!(said.contains("has version 99, this program works with versions up to"), "{said}");
    }
    drop_database(&config).await;
}

async fn a_wait_for_a_lock_ends_undone(server: &MariaDb) {
    let mut config = database(server).await;
    config.call_timeout = Duration::from_secs(20);
    let table = migrated(&config).await;
    let id = insert(&table).await.unwrap();
    let mut other = connect(&config.url).await;
    run(&mut other, &format!("START TRANSACTION; SELECT * FROM tbl_task WHERE id = {id} FOR UPDATE")).await;
    let begun = table.begin_run(id, dtf_model::RunEpoch(0), 2).await;
    let error = begun.unwrap_err();
    assert!(error.is_retryable() && error.is_definitely_not_applied(), "{error}");
    run(&mut other, "ROLLBACK").await;
    assert!(table.begin_run(id, dtf_model::RunEpoch(0), 2).await.unwrap());
    drop_database(&config).await;
}

async fn no_password_is_told(server: &MariaDb) {
    let config = database(server).await;
    let (scheme, rest) = config.url.split_once("://").unwrap();
    let host = rest.rsplit('@').next().unwrap();
    let url = format!("{scheme}://nobody:s3cret@{host}");
    let wrong = SqlConfig { url, ..SqlConfig::default() };
    let said = refusal(SqlTable::connect(&wrong).await);
    assert!(said.contains("nobody") && !said.contains("s3cret"), "{said}");
    let table = migrated(&config).await;
    assert!(!format!("{table:?} {wrong:?}").contains("s3cret"));
    drop_database(&config).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_prepares_no_statement_gets_them_as_text() {
    let Some(server) = MariaDb::to_harm().unwrap() else { return };
    let config = database(&server).await;
    SqlTable::migrate(&config).await.unwrap();
    run(&mut connect(&config.url).await, "SET GLOBAL max_prepared_stmt_count = 0").await;
    let table = Arc::new(SqlTable::connect(&config).await.unwrap());
    SqlTable::migrate(&config).await.unwrap();
    run_all(table.clone()).await;
    group::run_all(table.clone()).await;
    failure::run_all(table.clone()).await;
    schedule::run_all(table.clone()).await;
    flow::run_all(table.clone()).await;
    noting::run_all(table.clone()).await;
    unique::run_all(table.clone()).await;
    hook::run_all(table.clone()).await;
    cluster::run_all(table.clone()).await;
    result::run_all(table.clone()).await;
    items::run_all(table.clone()).await;
    defined_type::run_all(table.clone()).await;
    gateway::run_all(table.clone()).await;
    bulk::run_all(table.clone()).await;
    token::run_all(table.clone()).await;
    audit::run_all(table).await;
}

/// The connections of a user, by the server's numbers.
async fn connections(root: &mut MySqlConnection, user: &str) -> Vec<i64> {
    let sql = format!("SELECT id FROM information_schema.processlist WHERE user = '{user}' ORDER BY id");
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(root).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_no_writes_any_more_is_left() {
    let Some(server) = MariaDb::to_harm().unwrap() else { return };
    let config = database(&server).await;
    SqlTable::migrate(&config).await.unwrap();
    let mut root = connect(&config.url).await;
    // A user whom `read_only` binds.
    run(&mut root, "CREATE USER worker@'127.0.0.1'; GRANT ALL ON *.* TO worker@'127.0.0.1'").await;
    run(&mut root, "REVOKE SUPER, READ_ONLY ADMIN ON *.* FROM worker@'127.0.0.1'").await;
    let url = config.url.replace("root@", "worker@");
    let limited = SqlConfig { url, max_connections: 1, ..config.clone() };
    let table = SqlTable::connect(&limited).await.unwrap();
    insert(&table).await.unwrap();
    let before = connections(&mut root, "worker").await;
    run(&mut root, "SET GLOBAL read_only = 1").await;
    let error = insert(&table).await.unwrap_err();
    assert!(error.is_retryable() && error.is_definitely_not_applied(), "{error}");
    assert!(error.to_string().contains("read-only"), "{error}");
    // A process that starts meanwhile needs no write where the schema is there, and waits where it is not.
    SqlTable::migrate(&limited).await.unwrap();
    let empty = database(&server).await;
    let error = SqlTable::migrate(&SqlConfig { url: empty.url.replace("root@", "worker@"), ..empty }).await;
    let error = error.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("read-only"), "{error}");
    run(&mut root, "SET GLOBAL read_only = 0").await;
    insert(&table).await.unwrap();
    let after = connections(&mut root, "worker").await;
    assert!(after.iter().all(|id| !before.contains(id)), "{before:?}, then {after:?}");
}

/// The table of a fresh database, with limits short enough to wait for.
async fn hasty(config: &SqlConfig) -> Arc<SqlTable> {
    SqlTable::migrate(config).await.unwrap();
    let hasty = SqlConfig {
        max_connections: 3,
        acquire_timeout: Duration::from_secs(2),
        call_timeout: Duration::from_secs(2),
        ..config.clone()
    };
    Arc::new(until_answered(|| SqlTable::connect(&hasty)).await)
}

/// A call fails as one that may be sent again, by itself.
async fn fails_in_time(table: &SqlTable) -> StoreError {
    let failed = tokio::time::timeout(PATIENCE, insert(table)).await.unwrap();
    let error = failed.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    error
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_is_used_again_when_it_is_back() {
    let Some(mut server) = MariaDb::to_harm().unwrap() else { return };
    let config = database(&server).await;
    let table = hasty(&config).await;
    let before = until_answered(|| insert(&table)).await;

    server.kill().unwrap();
    // The connection has just answered, so that it is gone shows only when it is used.
    fails_in_time(&table).await;
    for _ in 0..5 {
        let error = fails_in_time(&table).await;
        assert!(
            matches!(&error, StoreError::Unreachable { cause, .. } if cause.contains("refused")),
            "{error}"
        );
    }
    server.restart().unwrap();
    assert!(until_answered(|| table.get(before)).await.is_some());
    assert!(until_answered(|| insert(&table)).await > before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_under_load_loses_nothing_acknowledged_and_uses_no_id_twice() {
    let Some(mut server) = MariaDb::to_harm().unwrap() else { return };
    let table = hasty(&database(&server).await).await;
    let writers: Vec<_> = (0..4).map(|_| tokio::spawn(insert_until_it_fails(table.clone()))).collect();
    while until_answered(|| insert(&table)).await < TaskId(200) {}
    server.kill().unwrap();
    server.restart().unwrap();
    let mut acknowledged = Vec::new();
    for writer in writers {
        acknowledged.extend(writer.await.unwrap());
    }
    for id in &acknowledged {
        let row = until_answered(|| table.get(*id)).await;
        assert!(row.is_some(), "{id} was acknowledged and is lost");
    }
    let next = until_answered(|| insert(&table)).await;
    assert!(acknowledged.into_iter().all(|id| next > id));
}

async fn insert_until_it_fails(table: Arc<SqlTable>) -> Vec<TaskId> {
    let mut ids = Vec::new();
    loop {
        match insert(&table).await {
            Ok(id) => ids.push(id),
            Err(error) => {
                assert!(error.is_retryable(), "{error}");
                return ids;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_fell_silent_takes_no_connection_with_it() {
    let Some(mut server) = MariaDb::to_harm().unwrap() else { return };
    let table = hasty(&database(&server).await).await;
    for _ in 0..3 {
        until_answered(|| insert(&table)).await;
    }
    server.stop().unwrap();
    // More calls than connections, some of them abandoned.
    let calls: Vec<_> = (0..6)
        .map(|n| {
            let table = table.clone();
            tokio::spawn(async move {
                if n % 2 == 0 {
                    fails_in_time(&table).await;
                } else {
                    let abandoned = tokio::time::timeout(Duration::from_millis(300), insert(&table)).await;
                    assert!(abandoned.is_err());
                }
            })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    server.cont().unwrap();
    let calls: Vec<_> = (0..12)
        .map(|_| {
            let table = table.clone();
            tokio::spawn(async move { until_answered(|| insert(&table)).await })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
}
