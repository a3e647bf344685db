//! `dtf task feed`.

use std::io::BufRead;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use dtf::Client;
use dtf::model::TaskId;
use dtf::model::items::{Appended, FeedOffset};
use dtf::model::plugin::MAX_BODY_BYTES;
use dtf_api as api;
use serde_json::json;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::super::oneshot::refused;
use super::super::remote;
use super::super::{Usage, say};
use super::show;
use crate::cli::args::Output;

/// The most items and bytes that are fed in one call.
const BATCH: (usize, usize) = (1000, 1 << 20);
/// The pause before more is fed where too much waits.
const FULL: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(super) struct FeedArgs {
    /// The task, whose source is items
    id: TaskId,
    /// A name for this input: said again with the same input, it feeds what is not there yet
    #[arg(long, value_name = "NAME")]
    producer: Option<String>,
    /// No more items come afterwards: the task ends when those that were fed are done
    #[arg(long)]
    close: bool,
}

/// Feeds the lines of standard input, each one JSON value, into a task.
pub(super) async fn feed(
    feeder: &Feeder<'_>,
    args: FeedArgs,
    output: Output,
    quiet: bool,
) -> anyhow::Result<ExitCode> {
    let producer = args.producer.unwrap_or_else(|| Uuid::new_v4().to_string());
    let mut fed = Fed { feeder, id: args.id, producer: &producer, offset: 0, new: 0 };
    let (mut items, mut bytes) = (Vec::new(), 0);
    for (number, line) in (1_u64..).zip(std::io::stdin().lock().lines()) {
        let line = line.map_err(|error| Usage(format!("line {number} of standard input: {error}")))?;
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        check(line).map_err(|why| {
            Usage(format!("line {number} of standard input {why}; {} items before it were fed", fed.offset))
        })?;
        if items.len() >= BATCH.0 || bytes + line.len() > BATCH.1 {
            fed.feed(std::mem::take(&mut items)).await?;
            bytes = 0;
        }
        bytes += line.len();
        items.push(Bytes::copy_from_slice(line.as_bytes()));
    }
    fed.feed(items).await?;
    if args.close {
        feeder.close(args.id).await?;
    }
    let (items, new) = (fed.offset, fed.new);
    match output {
        Output::Json => {
            show::print(&json!({ "task": args.id, "items": items, "new": new, "closed": args.close }))?
        }
        Output::Text if !quiet => {
            say(&format!("task {} has {items} items of this input, {new} of them new", args.id))
        }
        Output::Text => {}
    }
    Ok(ExitCode::SUCCESS)
}

fn check(line: &str) -> Result<(), String> {
    if line.len() > MAX_BODY_BYTES {
        return Err(format!("has {} bytes, and at most {MAX_BODY_BYTES} are taken", line.len()));
    }
    serde_json::from_str::<&RawValue>(line).map(drop).map_err(|error| format!("is no JSON value: {error}"))
}

/// Items that were not fed.
enum Unfed {
    /// They may be fed again.
    Unanswered(anyhow::Error),
    /// They are not taken.
    Refused(anyhow::Error),
}

/// The way to a task's items.
pub(super) enum Feeder<'a> {
    /// The cluster's servers.
    Stores(&'a Client),
    /// The HTTP API.
    Server(&'a dtf_client::Client),
}

impl Feeder<'_> {
    /// Feeds items once.
    async fn append(
        &self,
        id: TaskId,
        producer: &str,
        offset: u64,
        items: &[Bytes],
    ) -> Result<Appended, Unfed> {
        match self {
            Self::Stores(client) => {
                let at = FeedOffset { producer, offset };
                client.feed_items(id, Some(at), items).await.map_err(|error| match error.is_retryable() {
                    true => Unfed::Unanswered(error.into()),
                    false => Unfed::Refused(refused(error)),
                })
            }
            Self::Server(client) => {
                let query = api::FeedQuery { producer: Some(producer.to_owned()), offset: Some(offset) };
                match client.feed_items(id.0, &query, items).await {
                    Ok(api::Fed { new }) => Ok(Appended::Taken { new }),
                    Err(error) if error.code() == Some(api::Code::Full) => Ok(Appended::Full),
                    Err(error) if error.is_retryable() => Err(Unfed::Unanswered(error.into())),
                    Err(error) => Err(Unfed::Refused(remote::refused(error))),
                }
            }
        }
    }

    async fn close(&self, id: TaskId) -> anyhow::Result<()> {
        match self {
            Self::Stores(client) => client.close_items(id).await.map_err(refused),
            Self::Server(client) => client.close_items(id.0).await.map(drop).map_err(remote::refused),
        }
    }
}

struct Fed<'a> {
    feeder: &'a Feeder<'a>,
    id: TaskId,
    producer: &'a str,
    offset: u64,
    new: u64,
}

impl Fed<'_> {
    /// Feeds items behind those before. Where too many wait, and where the store does not answer, it tries again.
    async fn feed(&mut self, items: Vec<Bytes>) -> anyhow::Result<()> {
        const ATTEMPTS: u32 = 10;
        let mut failed = 0;
        loop {
            match self.feeder.append(self.id, self.producer, self.offset, &items).await {
                Ok(Appended::Taken { new }) => {
                    self.offset += items.len() as u64;
                    self.new += new;
                    return Ok(());
                }
                Ok(Appended::Full) => failed = 0,
                Ok(Appended::Closed) => {
                    return Err(Usage(format!("task {} is closed and takes no more items", self.id)).into());
                }
                // Its offset is what was taken before.
                Ok(Appended::Missing(next)) => {
                    anyhow::bail!("items from {next} on got lost; feed them again")
                }
                Err(Unfed::Unanswered(_)) if failed < ATTEMPTS => failed += 1,
                Err(Unfed::Unanswered(error) | Unfed::Refused(error)) => return Err(error),
            }
            tokio::time::sleep(FULL).await;
        }
    }
}
