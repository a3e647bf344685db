//! The time from the request to cancel a task until a worker hears that its item is not wanted any more.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Site, call, http_client};
use crate::report::Report;

/// The items of a task, which one worker runs.
const ITEMS: u64 = 10;
/// The time for which a beat has waited for news when the task is cancelled, at least.
const PARKED: Duration = Duration::from_millis(50);

pub(super) async fn report(site: &Site, tasks: usize) -> anyhow::Result<Report> {
    let mut report = Report::new("remote cancel", json!({ "tasks": tasks, "items": ITEMS }));
    let (client, mut took) = (http_client(), Vec::new());
    let begin = json!({ "worker": { "name": "hangs" }, "functions": ["hang"], "most": 0, "wait_ms": 0 });
    let session = call(&client, format!("{}/v1/work/poll", site.url()), &begin).await?["session"].clone();
    for _ in 0..tasks {
        let task = site.create(json!({ "range": { "to": ITEMS } }), "hang").await?;
        let mut held: Vec<Value> = Vec::new();
        while held.is_empty() {
            let poll = json!({ "session": session, "most": ITEMS });
            let work = call(&client, format!("{}/v1/work/poll", site.url()), &poll).await?;
            let items = work["items"].as_array().into_iter().flatten();
            held.extend(items.map(|item| item["ticket"].clone()));
        }
        let begun = async {
            tokio::time::sleep(PARKED).await;
            let begun = Instant::now();
            site.client.cancel_task(task.id()).await?;
            anyhow::Ok(begun)
        };
        let heard = async {
            let (mut held, mut heard) = (held.clone(), Vec::new());
            while !held.is_empty() {
                let beat = json!({ "session": session, "running": held, "wait_ms": 20_000 });
                let news = call(&client, format!("{}/v1/work/beat", site.url()), &beat).await?;
                let dropped = news["dropped"].as_array().cloned().unwrap_or_default();
                held.retain(|ticket| !dropped.contains(ticket));
                heard.extend(dropped.iter().map(|_| Instant::now()));
            }
            anyhow::Ok(heard)
        };
        let (begun, heard) = tokio::try_join!(begun, heard)?;
        took.extend(heard.into_iter().map(|at| at.saturating_duration_since(begun).as_secs_f64() * 1e3));
        let none = json!({ "session": session, "running": [] });
        call(&client, format!("{}/v1/work/beat", site.url()), &none).await?;
        task.wait().await?;
    }
    took.sort_by(f64::total_cmp);
    report.add("cancel_heard_p50_ms", took[took.len() / 2]);
    report.add("cancel_heard_p99_ms", took[took.len() * 99 / 100]);
    Ok(report)
}
