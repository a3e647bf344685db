//! The cost of workers that only wait.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use serde_json::json;

use super::{Options, Site, Worker, call, http_client};
use crate::report::Report;
use crate::usage;

/// The time within which all workers have to be connected.
const ALL_THERE: Duration = Duration::from_secs(60);

/// Workers that only wait, in a process of their own.
#[derive(Args)]
pub(crate) struct IdleOptions {
    #[arg(long)]
    url: String,
    #[arg(long)]
    count: usize,
}

pub(super) async fn report(site: &Site, options: &Options) -> anyhow::Result<Report> {
    let mut report = Report::new("remote idle", json!({ "workers": options.idle }));
    let (program, count) = (std::env::current_exe()?, options.idle.to_string());
    let args = ["idle-workers", "--url", &site.url(), "--count", &count];
    let _clients = Worker(Command::new(program).args(args).stdin(Stdio::null()).spawn()?);
    let client = http_client();
    tokio::time::timeout(ALL_THERE, async {
        let workers = format!("{}/v1/work/workers", site.url());
        loop {
            let listed = client.get(&workers).send().await?.text().await?;
            if serde_json::from_str::<Vec<serde_json::Value>>(&listed)?.len() >= options.idle {
                return anyhow::Ok(());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    })
    .await
    .context("the idle workers do not connect")??;
    // Until what their arrival brought about is over.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (begun, own) = (Instant::now(), usage::own_cpu_s());
    tokio::time::sleep(Duration::from_secs(options.seconds.max(1))).await;
    report.add("process_cpu_percent", (usage::own_cpu_s() - own) * 100.0 / begun.elapsed().as_secs_f64());
    Ok(report)
}

/// Has workers wait until this process is ended.
pub(crate) fn idle_workers(options: &IdleOptions) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = http_client();
        let workers = (0..options.count).map(|number| {
            let (client, url) = (client.clone(), format!("{}/v1/work/poll", options.url));
            async move {
                let worker = json!({ "name": format!("idle-{number}") });
                let mut poll = json!({ "worker": worker, "functions": ["idle"], "most": 10 });
                loop {
                    let answer = call(&client, url.clone(), &poll).await?;
                    poll = json!({ "session": answer["session"], "most": 10 });
                }
                #[expect(unreachable_code, reason = "says what the errors are")]
                anyhow::Ok(())
            }
        });
        futures::future::try_join_all(workers).await.map(drop)
    })
}
