//! Many small tasks, placed as groups. See README.md beside this file.

#[path = "../common/mod.rs"]
mod common;
mod groups;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use clap::Parser;
use lrmf_core::assignor::StickyWeighted;
use lrmf_core::config::text;
use lrmf_core::{CoordinatorHandle, TaskProvider, TaskRunner, Token};

use crate::common::{MemberArgs, hash};
use crate::groups::{GroupRunner, ListedTasks, Work, members_of};

/// Shares many small tasks between the processes that run this, in groups.
#[derive(Debug, Parser)]
#[command(name = "task-groups")]
struct Arguments {
    #[command(flatten)]
    member: MemberArgs,
    /// The small tasks: a file with a name a line. It is read again twice a minute.
    #[arg(long)]
    tasks: PathBuf,
    /// How many groups they form: some ten for each member that there will ever be, and the same for all members.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    groups: u32,
    /// How often each small task has its turn.
    #[arg(long, default_value = "1s", value_parser = text::parse)]
    period: Duration,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let provider = ListedTasks { path: arguments.tasks, groups: arguments.groups };
    // A mistake in the path or the file is said at once, not only by the leader.
    println!("{} groups", provider.tasks().await?.len());
    let turns = Arc::new(AtomicU64::new(0));
    let runner = GroupRunner { period: arguments.period, work: Count(turns.clone()) };
    let member = arguments
        .member
        .member("task-groups", "example")
        .await?
        .provider(provider)
        .assignor(StickyWeighted)
        .worker(TaskRunner::new(runner))
        .start()
        .await?;
    tokio::select! {
        stopped = common::serve_until_stopped(&member) => stopped,
        () = print_held(&member, &turns) => Ok(()),
    }
}

/// Counts the turns, where a real one would look after a device, an account or a feed.
struct Count(Arc<AtomicU64>);

#[async_trait]
impl Work for Count {
    async fn work(&self, _name: &str, _token: Token) -> anyhow::Result<()> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// Says what the member holds, each time that changes.
async fn print_held(member: &CoordinatorHandle, turns: &AtomicU64) {
    let mut held = member.held();
    loop {
        let groups: Vec<_> = held.borrow_and_update().values().map(|held| held.task.clone()).collect();
        let small: usize = groups.iter().map(|group| members_of(group).map_or(0, |names| names.len())).sum();
        let turns = turns.load(Ordering::Relaxed);
        println!("{} has {} groups, {small} small tasks; {turns} turns", member.instance_id(), groups.len());
        if held.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}
