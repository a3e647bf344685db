//! The cost of creating a task over HTTP, over that of the library: one after the other, and many clients at once.

use std::sync::Arc;
use std::time::Instant;

use dtf::Client;
use dtf::lrmf::Coordination;
use dtf::model::TaskParam;
use dtf_api::NewTask;
use dtf_client::Connection;
use futures::stream::{self, StreamExt, TryStreamExt};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Options, Server};
use crate::load::{LOAD, LOAD_NAME, LoadParam};
use crate::report::{Report, percentile};
use crate::servers::Servers;
use crate::usage;

/// The clients at once.
const CLIENTS: usize = 64;

pub(super) async fn measure(options: &Options, servers: &Servers, runs: usize) -> anyhow::Result<Report> {
    let params = json!({ "creations": options.creations, "clients": CLIENTS });
    let mut report = Report::new("api creations", params);
    servers.describe(&mut report).await?;
    let cluster = servers.cluster().await?;
    let (dtf, coordination): (_, Arc<dyn Coordination>) = cluster.observer("api").await?;
    let server = Server::start(dtf, coordination, &cluster.name).await?;
    let over_http = dtf_client::Client::new(Connection::to(server.url()))?;
    // Connections are opened, and statements prepared.
    library(&server.client, options.creations / 4, CLIENTS).await?;
    http(&over_http, options.creations / 4, CLIENTS).await?;
    for _ in 0..runs {
        let one = library(&server.client, options.creations / 4, 1).await?;
        let other = http(&over_http, options.creations / 4, 1).await?;
        report.add("library_p50_ms", one.p50_ms);
        report.add("http_p50_ms", other.p50_ms);
        report.add("latency_ratio", other.p50_ms / one.p50_ms);
        let one = library(&server.client, options.creations, CLIENTS).await?;
        let other = http(&over_http, options.creations, CLIENTS).await?;
        report.add("library_per_s", one.per_s);
        report.add("http_per_s", other.per_s);
        report.add("library_cpu_us", one.cpu_us);
        report.add("http_cpu_us", other.cpu_us);
        report.add("throughput_ratio", one.per_s / other.per_s);
    }
    Ok(report)
}

struct Cost {
    p50_ms: f64,
    per_s: f64,
    /// Of this process, which is client and server.
    cpu_us: f64,
}

async fn cost<F: Future<Output = anyhow::Result<()>>>(
    count: usize,
    clients: usize,
    create: impl Fn() -> F,
) -> anyhow::Result<Cost> {
    let (begun, cpu) = (Instant::now(), usage::own_cpu_s());
    let timed = stream::iter((0..count).map(|_| {
        let created = create();
        async move {
            let begun = Instant::now();
            created.await?;
            anyhow::Ok(begun.elapsed().as_secs_f64() * 1000.0)
        }
    }));
    let mut times: Vec<f64> = timed.buffer_unordered(clients).try_collect().await?;
    let took = begun.elapsed().as_secs_f64();
    times.sort_by(f64::total_cmp);
    let cpu_us = 1e6 * (usage::own_cpu_s() - cpu) / count as f64;
    Ok(Cost { p50_ms: percentile(&times, 0.5), per_s: count as f64 / took, cpu_us })
}

fn param() -> TaskParam {
    TaskParam { name: "created".to_owned(), ..LoadParam { count: 1, ..LoadParam::default() }.task() }
}

async fn library(client: &Client, count: usize, clients: usize) -> anyhow::Result<Cost> {
    cost(count, clients, || async {
        client.create_task_once(Uuid::new_v4(), LOAD, param()).await?;
        Ok(())
    })
    .await
}

async fn http(client: &dtf_client::Client, count: usize, clients: usize) -> anyhow::Result<Cost> {
    let task: Value = param().type_param;
    let task = NewTask { name: "created".to_owned(), ..NewTask::of(LOAD_NAME, task) };
    cost(count, clients, || async {
        client.create_task_once(Uuid::new_v4(), &task).await?;
        Ok(())
    })
    .await
}
