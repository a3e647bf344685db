//! Mirrors a Kafka cluster with as many processes as there are. See README.md beside this file.

#[path = "../common/mod.rs"]
mod common;
mod metadata;
mod mirror;

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use lrmf_core::config::text;
use lrmf_core::{CoordinatorHandle, TaskProvider, TaskRunner, Token};

use crate::common::MemberArgs;
use crate::metadata::Subject;
use crate::mirror::{MetadataFile, Mirror, Step};

/// Mirrors a Kafka cluster, shared between the processes that run this.
#[derive(Debug, Parser)]
#[command(name = "kafka-mirror")]
struct Arguments {
    #[command(flatten)]
    member: MemberArgs,
    /// The metadata of the cluster, as JSON.
    #[arg(long)]
    metadata: PathBuf,
    /// How often to look whether the metadata have changed.
    #[arg(long, default_value = "1s", value_parser = text::parse)]
    look: Duration,
    /// The pause between two rounds of copying.
    #[arg(long, default_value = "1s", value_parser = text::parse)]
    period: Duration,
    /// Print each round of copying too.
    #[arg(long)]
    verbose: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let cluster = MetadataFile::new(&arguments.metadata);
    // A mistake in the path or the file is said at once, not only by the leader.
    println!("{} things to mirror", cluster.tasks().await?.len());

    let (name, verbose) = (arguments.member.instance().clone(), arguments.verbose);
    let report = move |subject: &Subject, token: Token, step: Step| match step {
        Step::Copied(_) if !verbose => {}
        step => println!("{name} {step:?} {subject:?}, token {token}"),
    };
    let member = arguments
        .member
        .member("kafka-mirror", "cluster")
        .await?
        .provider(cluster.clone())
        .worker(TaskRunner::new(Mirror { period: arguments.period, report }))
        .start()
        .await?;
    tokio::select! {
        stopped = common::serve_until_stopped(&member) => stopped,
        () = cluster.watch(arguments.look, || member.trigger_rebalance()) => Ok(()),
        () = print_held(&member) => Ok(()),
    }
}

/// Says what the member holds, each time that changes.
async fn print_held(member: &CoordinatorHandle) {
    let mut held = member.held();
    loop {
        let keys = held.borrow_and_update().keys().cloned().collect::<Vec<_>>();
        println!("{} holds {}: {}", member.instance_id(), keys.len(), keys.join(" "));
        if held.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}
