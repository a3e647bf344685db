//! Feeding items into an open task, in batches and one by one.

use std::time::{Duration, Instant};

use anyhow::ensure;
use dtf::model::TaskId;
use futures::future::try_join_all;
use serde_json::json;

use super::{Options, Site, http_client};
use crate::report::Report;

/// The items of a request that feeds.
const TOGETHER: usize = 1000;
/// The requests that feed at once.
const FEEDERS: usize = 8;

pub(super) async fn report(site: &Site, options: &Options, runs: usize) -> anyhow::Result<Report> {
    let mut report = Report::new("remote feed", json!({ "items": options.items, "together": TOGETHER }));
    let batches = options.items.div_ceil(TOGETHER as u64);
    let body: String = (0..TOGETHER).map(|number| format!("{number}\n")).collect();
    for _ in 0..runs {
        let (id, begun) = (open(site).await?, Instant::now());
        let feeders = (0..FEEDERS as u64).map(|feeder| {
            let (url, body) = (items(site, id), body.clone());
            let share = (feeder..batches).step_by(FEEDERS).count();
            async move {
                let client = http_client();
                for _ in 0..share {
                    feed(&client, &url, body.clone()).await?;
                }
                anyhow::Ok(())
            }
        });
        try_join_all(feeders).await?;
        let items = (batches * TOGETHER as u64) as f64;
        report.add("items_per_s", items / begun.elapsed().as_secs_f64());
        site.client.cancel_task(id).await?;
    }
    let (id, end) = (open(site).await?, Instant::now() + Duration::from_secs(options.seconds));
    let feeders = (0..FEEDERS).map(|_| {
        let url = items(site, id);
        async move {
            let (client, mut fed) = (http_client(), 0_u64);
            while Instant::now() < end {
                feed(&client, &url, "1\n".to_owned()).await?;
                fed += 1;
            }
            anyhow::Ok(fed)
        }
    });
    let fed: u64 = try_join_all(feeders).await?.into_iter().sum();
    report.add("single_items_per_s", fed as f64 / options.seconds as f64);
    site.client.cancel_task(id).await?;
    Ok(report)
}

/// Opens a task whose function nobody has.
async fn open(site: &Site) -> anyhow::Result<TaskId> {
    Ok(site.create(json!("items"), "nobody").await?.id())
}

fn items(site: &Site, task: TaskId) -> String {
    format!("{}/v1/tasks/{task}/items", site.url())
}

/// Feeds items. While too many wait, it comes back when it is told to, as feeders do.
async fn feed(client: &reqwest::Client, url: &str, body: String) -> anyhow::Result<()> {
    loop {
        let request = client.post(url).header("content-type", "application/x-ndjson").body(body.clone());
        let sent = request.send().await?;
        let (status, wait) = (sent.status(), sent.headers().get("retry-after").cloned());
        let text = sent.text().await?;
        let Some(seconds) = wait.and_then(|wait| wait.to_str().ok()?.parse().ok()) else {
            ensure!(status.is_success(), "{url} answers {status}: {text}");
            return Ok(());
        };
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }
}
