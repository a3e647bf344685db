//! The time that a page of fifty tasks takes where the table has a million rows, through the API, on MariaDB and on SQLite.

use std::time::Instant;

use anyhow::Context;
use dtf::Dtf;
use dtf::embedded::{self, Database, Embedded};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, ConnectOptions};

use super::{Options, Server};
use crate::load::{BACKLOG, Load};
use crate::report::{Report, percentile};
use crate::servers::Servers;

/// The rows that are inserted in one statement.
const TOGETHER: u64 = 50_000;
/// The lists that are read: a name, and the query.
const LISTS: [(&str, &str); 8] = [
    ("newest_p99_ms", ""),
    ("by_status_p99_ms", "&status=completed"),
    ("rare_status_p99_ms", "&status=paused"),
    ("by_type_p99_ms", "&type=load"),
    ("by_group_p99_ms", "&group=group%203"),
    ("by_creator_p99_ms", "&creator=creator%2077"),
    ("by_name_prefix_p99_ms", "&name_prefix=name%20999"),
    ("by_group_and_status_p99_ms", "&group=group%203&status=exceptional"),
];

pub(super) async fn measure(options: &Options, servers: &Servers) -> anyhow::Result<Vec<Report>> {
    let params =
        |store: &str| json!({ "store": store, "rows": options.rows, "reads": options.reads, "page": 50 });
    let mut on_sql = Report::new("api pages", params("mariadb"));
    servers.describe(&mut on_sql).await?;
    let cluster = servers.cluster().await?;
    // Makes the tables.
    let (dtf, coordination) = cluster.observer("api").await?;
    let options_of = cluster.sql.parse::<sqlx::mysql::MySqlConnectOptions>()?;
    let mut connection = options_of.connect().await?;
    // A recursion has a thousand steps else.
    sqlx::raw_sql("SET SESSION max_recursive_iterations = 1000000").execute(&mut connection).await?;
    for from in (0..options.rows).step_by(TOGETHER as usize) {
        sqlx::raw_sql(AssertSqlSafe(rows(from, options.rows.min(from + TOGETHER))))
            .execute(&mut connection)
            .await?;
    }
    sqlx::raw_sql("ANALYZE TABLE tbl_task").execute(&mut connection).await?;
    let server = Server::start(dtf, coordination, &cluster.name).await?;
    read(&server, options, &mut on_sql).await?;

    let mut on_sqlite = Report::new("api pages", params("sqlite"));
    let dir = std::env::temp_dir().join(format!("dtf-bench-{}", uuid::Uuid::new_v4().simple()));
    std::fs::create_dir(&dir)?;
    let measured = sqlite(&dir, options, &mut on_sqlite).await;
    std::fs::remove_dir_all(&dir)?;
    measured?;
    Ok(vec![on_sql, on_sqlite])
}

async fn sqlite(dir: &std::path::Path, options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let file = dir.join("tasks.sqlite");
    // Makes the tables.
    drop(embedded::ports(Database::File(file.clone())).await?);
    let mut connection = sqlx::sqlite::SqliteConnectOptions::new().filename(&file).connect().await?;
    for from in (0..options.rows).step_by(TOGETHER as usize) {
        sqlx::raw_sql(AssertSqlSafe(rows(from, options.rows.min(from + TOGETHER))))
            .execute(&mut connection)
            .await?;
    }
    sqlx::raw_sql("ANALYZE").execute(&mut connection).await?;
    drop(connection);
    let ports = embedded::ports(Database::File(file)).await?;
    let (config, coordination) = (Embedded { jobs: 1 }.config(), ports.coordination.clone());
    let cluster = config.cluster.clone();
    let dtf =
        Dtf::builder(ports).config(config).register_task_type(Load::new(BACKLOG).registration())?.build()?;
    let server = Server::start(dtf, coordination, &cluster).await?;
    read(&server, options, report).await
}

/// Ended tasks in ten groups, of a thousand creators and of six statuses, of which pauses are rare.
fn rows(from: u64, to: u64) -> String {
    format!(
        "INSERT INTO tbl_task (request_id, task_type, name, description, uid, creator, resource_group, priority, timeout, type_param, \
         task_status, phase, create_time, start_time, finish_time, reason, result) \
         WITH RECURSIVE n (i) AS (SELECT {from} UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {to}) \
         SELECT {id}, 90, {name}, 'a task of a benchmark', 1, {creator}, {group}, 6000, 1800000, '{{\"count\": 1000}}', \
         CASE WHEN i % 10000 = 0 THEN 3 WHEN i % 10 = 1 THEN 6 WHEN i % 10 = 2 THEN 4 ELSE 5 END, 2, i, i, i + 5, '', NULL FROM n",
        // As a UUID, whose last part is the number.
        id = text("00000000-0000-4000-8000-", "SUBSTR(CONCAT('000000000000', i), -12)"),
        name = text("name ", "i"),
        creator = text("creator ", "i % 1000"),
        group = text("group ", "i % 10"),
    )
}

/// A text and a number, in the words of both databases.
fn text(text: &str, number: &str) -> String {
    // MySQL has no ||, SQLite has CONCAT from 3.44 on.
    format!("CONCAT('{text}', {number})")
}

async fn read(server: &Server, options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let http = reqwest::Client::new();
    for (name, query) in LISTS {
        let mut times = Vec::with_capacity(options.reads);
        // From the beginning, and then page by page: each is a page of its own.
        let mut cursor = String::new();
        for _ in 0..options.reads {
            let url = format!("{}/v1/tasks?limit=50{query}{cursor}", server.url());
            let begun = Instant::now();
            let text = http.get(url).send().await?.error_for_status()?.text().await?;
            times.push(begun.elapsed().as_secs_f64() * 1000.0);
            let page: Value = serde_json::from_str(&text)?;
            let tasks = page["tasks"].as_array().context("it is a page")?;
            anyhow::ensure!(!tasks.is_empty(), "nothing fits {query}");
            cursor = page["next"].as_u64().map_or_else(String::new, |next| format!("&cursor={next}"));
        }
        times.sort_by(f64::total_cmp);
        report.add(name, percentile(&times, 0.99));
    }
    Ok(())
}
