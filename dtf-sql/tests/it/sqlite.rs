//! The port's obligations on SQLite, and what a file promises besides.

use std::sync::Arc;

use dtf_model::group::GroupTable;
use dtf_model::table::{NewTask, TaskTable};
use dtf_model::{ResourceGroup, StoreError, TaskId, TaskParam, TaskTypeId};
use dtf_sql::{SqlConfig, SqlTable};
use dtf_testkit::table::run_all;
use dtf_testkit::{
    audit, bulk, cluster, defined_type, failure, flow, gateway, group, hook, items, noting, result, schedule,
    token, unique,
};
use uuid::Uuid;

async fn insert(table: &SqlTable) -> TaskId {
    let task =
        NewTask { request: Uuid::new_v4(), task_type: TaskTypeId(1), param: TaskParam::default(), now: 1 };
    table.insert(&task).await.unwrap()
}

fn refusal(result: Result<SqlTable, StoreError>) -> String {
    match result {
        Err(error @ StoreError::Refused { .. }) => error.to_string(),
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_table_in_memory_conforms() {
    let table = Arc::new(SqlTable::in_memory().await.unwrap());
    run_all(table.clone()).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn a_file_conforms_and_keeps_its_rows() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a table.db");
    let table = Arc::new(SqlTable::open_file(&path).await.unwrap());
    run_all(table.clone()).await;
    let id = insert(&table).await;
    let row = table.get(id).await.unwrap();
    drop(table);

    let table = SqlTable::open_file(&path).await.unwrap();
    assert_eq!(table.get(id).await.unwrap(), row);
    assert!(insert(&table).await > id);
    run_all(Arc::new(table)).await;
}

#[tokio::test]
async fn tables_in_memory_are_apart() {
    let (one, other) = (SqlTable::in_memory().await.unwrap(), SqlTable::in_memory().await.unwrap());
    let id = insert(&one).await;
    assert_eq!(other.get(id).await.unwrap(), None);
}

#[tokio::test]
async fn a_second_opener_is_refused_under_whichever_name() {
    let dir = tempfile::tempdir().unwrap();
    let (path, alias) = (dir.path().join("t.db"), dir.path().join("alias.db"));
    let table = SqlTable::open_file(&path).await.unwrap();
    std::os::unix::fs::symlink(&path, &alias).unwrap();
    for path in [&path, &alias] {
        let said = refusal(SqlTable::open_file(path).await);
        let expected = format!(
            "SQLite refused: {} is in use by process {}; a database file belongs to one process at a time",
            path.display(),
            std::process::id()
        );
        assert_eq!(said, expected);
    }
    drop(table);
    assert!(SqlTable::open_file(&alias).await.is_ok());
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("no such directory").join("t.db");
    assert!(refusal(SqlTable::open_file(&missing).await).contains("no such directory/t.db cannot be used"));
    let text = dir.path().join("text.db");
    std::fs::write(&text, "this is no database, and it is longer than a header".repeat(20)).unwrap();
    let said = refusal(SqlTable::open_file(&text).await);
    assert!(said.contains("text.db") && said.contains("not a database"), "{said}");
    assert!(refusal(SqlTable::open_file(dir.path()).await).contains("is a directory"));
}

#[tokio::test]
async fn the_schema_of_a_newer_program_is_refused_unless_it_only_adds() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.db");
    drop(SqlTable::open_file(&path).await.unwrap());
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
    let mut connection = sqlx::ConnectOptions::connect(&options).await.unwrap();
    let later = "INSERT INTO dtf_migrations SELECT 99, 'later', installed_on, 1, checksum, 0 \
                 FROM dtf_migrations WHERE version = 1";
    sqlx::query(later).execute(&mut connection).await.unwrap();
    sqlx::Connection::close(connection).await.unwrap();
    assert!(SqlTable::open_file(&path).await.is_ok());

    let mut connection = sqlx::ConnectOptions::connect(&options).await.unwrap();
    let breaks = "UPDATE tbl_cluster SET value = '99' WHERE name = 'schema.accepts'";
    sqlx::query(breaks).execute(&mut connection).await.unwrap();
    sqlx::Connection::close(connection).await.unwrap();
    let said = refusal(SqlTable::open_file(&path).await);
    assert!(said.contains("has version 99, this program works with versions up to"), "{said}");
}

#[tokio::test]
async fn numbers_that_do_not_fit_are_refused() {
    let table = SqlTable::in_memory().await.unwrap();
    let param = TaskParam { start_at: Some(u64::MAX), ..TaskParam::default() };
    let task = NewTask { request: Uuid::new_v4(), task_type: TaskTypeId(1), param, now: 1 };
    assert!(matches!(table.insert(&task).await, Err(StoreError::InvalidInput(_))));
}

#[tokio::test]
async fn an_abandoned_call_leaves_the_table_usable() {
    let table = SqlTable::in_memory().await.unwrap();
    for _ in 0..50 {
        let call = insert(&table);
        tokio::select! {
            biased;
            _ = call => {}
            () = tokio::task::yield_now() => {}
        }
    }
    let id = insert(&table).await;
    assert!(table.get(id).await.unwrap().is_some());
}

#[tokio::test]
async fn the_configuration_says_which() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", dir.path().join("t.db").display());
    let config = SqlConfig { url, ..SqlConfig::default() };
    SqlTable::migrate(&config).await.unwrap();
    let table = SqlTable::connect(&config).await.unwrap();
    assert!(format!("{table:?}").contains("t.db"));
}

#[tokio::test]
async fn groups_that_older_tasks_are_in_are_there_after_the_migration() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.db");
    let table = SqlTable::open_file(&path).await.unwrap();
    table.set_group(&ResourceGroup::named("batch")).await.unwrap();
    let param = TaskParam { group: "batch".into(), ..TaskParam::default() };
    let task = NewTask { request: Uuid::new_v4(), task_type: TaskTypeId(1), param, now: 1 };
    table.insert(&task).await.unwrap();
    drop(table);

    // As the first version left it.
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
    let mut connection = sqlx::ConnectOptions::connect(&options).await.unwrap();
    sqlx::raw_sql(
        "DROP INDEX tbl_task_start; DROP INDEX tbl_task_history; DROP INDEX tbl_task_retry;
         DROP TABLE tbl_resource_group; DROP TABLE tbl_cluster;
         ALTER TABLE tbl_task DROP COLUMN max_running; ALTER TABLE tbl_task DROP COLUMN max_rate;
         ALTER TABLE tbl_task DROP COLUMN retry_of; ALTER TABLE tbl_task DROP COLUMN type_version;
         DROP INDEX tbl_task_flow; ALTER TABLE tbl_task DROP COLUMN flow_id; ALTER TABLE tbl_task DROP COLUMN flow_task;
         ALTER TABLE tbl_task DROP COLUMN takes_results; ALTER TABLE tbl_task DROP COLUMN has_dependents;
         DROP INDEX tbl_task_hook; ALTER TABLE tbl_task DROP COLUMN hooks; ALTER TABLE tbl_task DROP COLUMN hook_at;
         DROP INDEX tbl_task_unique; ALTER TABLE tbl_task DROP COLUMN unique_key;
         ALTER TABLE tbl_task DROP COLUMN unique_while; ALTER TABLE tbl_task DROP COLUMN unique_until;
         DELETE FROM dtf_migrations WHERE version > 1",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    sqlx::Connection::close(connection).await.unwrap();

    let table = SqlTable::open_file(&path).await.unwrap();
    assert_eq!(table.group("batch").await.unwrap(), Some(ResourceGroup::named("batch")));
    assert!(table.group("default").await.unwrap().is_some());
}
