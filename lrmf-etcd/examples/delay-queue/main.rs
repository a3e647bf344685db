//! A delay queue on Redis, sharded over as many processes as there are. See README.md beside this file.

#[path = "../common/mod.rs"]
mod common;
mod consumer;
mod queue;

use std::time::Duration;

use async_trait::async_trait;
use clap::{Parser, Subcommand};
use lrmf_core::config::text;
use lrmf_core::{FixedTasks, InstanceId, TaskRunner, Token};

use crate::common::{MemberArgs, hash};
use crate::consumer::{Consumer, Handler, Report};
use crate::queue::{Item, Queue};

/// A delay queue on Redis, shared between the processes that consume it.
#[derive(Debug, Parser)]
#[command(name = "delay-queue")]
struct Arguments {
    /// The Redis server.
    #[arg(long, env = "REDIS_URL", default_value = "redis://127.0.0.1:6379/")]
    redis: String,
    /// The queue's name.
    #[arg(long, default_value = "default")]
    queue: String,
    /// How many shards it has: at least as many as there will ever be consumers, and the same for everybody.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1000))]
    shards: u32,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Puts items in.
    Produce {
        /// When they are to be delivered, from now.
        #[arg(long = "in", default_value = "0s", value_parser = text::parse)]
        delay: Duration,
        /// The id, for one who sends again when in doubt; a fresh one where none is given.
        #[arg(long, conflicts_with = "count")]
        id: Option<String>,
        /// How many.
        #[arg(long, default_value_t = 1)]
        count: usize,
        /// What they say.
        payload: String,
    },
    /// Delivers what is due on the shards that it is given, until Ctrl-C.
    Consume {
        #[command(flatten)]
        member: MemberArgs,
    },
    /// Says what is on each shard.
    Status,
    /// Lists what was delivered, in order, shard by shard.
    Book,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let queue = Queue::open(&arguments.redis, &arguments.queue, arguments.shards).await?;
    match arguments.command {
        Command::Produce { delay, id, count, payload } => produce(&queue, delay, id, count, payload).await,
        Command::Consume { member } => consume(queue, &arguments.queue, &member).await,
        Command::Status => status(&queue).await,
        Command::Book => book(&queue).await,
    }
}

async fn produce(
    queue: &Queue,
    delay: Duration,
    id: Option<String>,
    count: usize,
    payload: String,
) -> anyhow::Result<()> {
    for _ in 0..count {
        let id = id.clone().unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
        let item = Item { id, payload: payload.clone() };
        let new = queue.produce(&item, delay).await?;
        println!("{}{}", item.id, if new { "" } else { " was there already" });
    }
    Ok(())
}

async fn consume(queue: Queue, name: &str, arguments: &MemberArgs) -> anyhow::Result<()> {
    let tasks = FixedTasks::new(queue.tasks());
    let consumer = Consumer {
        queue,
        handler: Print(arguments.instance().clone()),
        batch: 32,
        look: Duration::from_millis(500),
        retry: Duration::from_secs(5),
    };
    let builder = arguments.member("delay-queue", name).await?;
    let member = builder.provider(tasks).worker(TaskRunner::new(consumer)).start().await?;
    common::serve_until_stopped(&member).await
}

async fn status(queue: &Queue) -> anyhow::Result<()> {
    println!("shard waiting claimed delivered token");
    for shard in queue.shards() {
        let numbers = shard.numbers().await?;
        let (waiting, claimed) = (numbers.waiting, numbers.claimed);
        println!("{:5} {waiting:7} {claimed:7} {:9} {}", shard.number(), numbers.delivered, numbers.token);
    }
    Ok(())
}

async fn book(queue: &Queue) -> anyhow::Result<()> {
    for shard in queue.shards() {
        for delivery in shard.book().await? {
            println!("{} on shard {} with token {}", delivery.id, shard.number(), delivery.token);
        }
    }
    Ok(())
}

/// Says what is due, where a real handler would do something about it.
struct Print(InstanceId);

#[async_trait]
impl Handler for Print {
    async fn handle(&self, item: &Item) -> anyhow::Result<()> {
        println!("{}: {} is due: {}", self.0, item.id, item.payload);
        Ok(())
    }

    fn report(&self, shard: u32, token: Token, report: Report) {
        match report {
            Report::Delivered(_) => {}
            other => println!("{}: shard {shard} with token {token}: {other:?}", self.0),
        }
    }
}
