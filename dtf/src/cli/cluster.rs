//! `dtf cluster`: into how many parts the cluster's work is divided.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::ensure;
use clap::{Args, Subcommand};
use dtf::config::Config;
use dtf::lrmf::Coordination;
use dtf::lrmf::admin::{Admin, AdminError, MemberPhase};
use dtf::model::ClusterShape;
use dtf_api::Shape;
use dtf_model::Role;
use dtf_model::cluster;
use dtf_model::table::{BucketMapping, TaskTable};
use dtf_redis::RedisQueues;
use serde_json::json;

use super::Usage;
use super::args::Output;
use super::oneshot::refused;
use super::remote::{self, Remote};
use super::settings::Settings;
use crate::serve::connect::{coordination, database, queues};
use crate::serve::{identity, shape};

#[derive(Debug, Args)]
pub(crate) struct ClusterArgs {
    #[command(flatten)]
    settings: Settings,
    /// For people, or for scripts: one JSON document on standard output
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Text)]
    output: Output,
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Show into how many parts the work is divided
    Show,
    /// Divide the work into as many parts as this command is configured for (shape.…): more than now, never fewer. All
    /// processes of the cluster have to have ended; tasks may be in any state, and go on when processes with the new counts
    /// are started
    Grow,
    /// Make the etcd and the Redis that are configured this cluster's own, where they record another: after the cluster was renamed,
    /// or its database replaced by one that is no copy of it. All processes of the cluster have to have ended
    Adopt,
}

pub(crate) fn run(args: &ClusterArgs) -> anyhow::Result<ExitCode> {
    if let Some(client) = args.remote.client()? {
        if !matches!(args.what, What::Show) {
            let why =
                "only `dtf cluster show` works over HTTP; leave --server out, and name the cluster's servers";
            return Err(Usage(why.to_owned()).into());
        }
        return remote::ask(async || {
            let cluster = client.cluster().await.map_err(remote::refused)?;
            show(&cluster.cluster, Some(shape_of(&cluster.shape)), args.output)?;
            Ok(ExitCode::SUCCESS)
        });
    }
    let config = args.settings.load()?.config;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let done = runtime.block_on(async {
        let table = database(&config).await.map_err(super::connecting)?;
        match args.what {
            What::Show => {}
            What::Grow => grow(&config, &*table).await?,
            What::Adopt => adopt(&config, &*table).await?,
        }
        let shape = cluster::shape(&*table).await.map_err(refused)?;
        show(&config.cluster, shape, args.output)
    });
    runtime.shutdown_background();
    done?;
    Ok(ExitCode::SUCCESS)
}

async fn grow(config: &Config, table: &dyn TaskTable) -> anyhow::Result<()> {
    let store = at_rest(config).await?;
    cluster::grow(table, config.shape).await.map_err(refused)?;
    shape::copy(&*store, &config.cluster, config.shape).await.map_err(refused)
}

async fn adopt(config: &Config, table: &dyn TaskTable) -> anyhow::Result<()> {
    let store = at_rest(config).await?;
    let queues = RedisQueues::new(queues(config).await.map_err(super::connecting)?);
    let identity = cluster::identity(table, &config.cluster).await.map_err(refused)?;
    identity::adopt(&*store, &config.cluster, &identity).await.map_err(refused)?;
    queues.adopt(&identity).await.map_err(refused)
}

/// The store of the groups of a cluster of which no process runs.
async fn at_rest(config: &Config) -> anyhow::Result<Arc<dyn Coordination>> {
    let store: Arc<dyn Coordination> = Arc::new(coordination(config).await.map_err(super::connecting)?);
    for role in Role::ALL {
        let living = living(&store, role, &config.cluster).await?;
        ensure!(
            living.is_empty(),
            "{} still has the role {role}; end all processes of the cluster first (dtf worker list shows them)",
            living.join(", ")
        );
    }
    Ok(store)
}

/// The processes with a role.
async fn living(store: &Arc<dyn Coordination>, role: Role, cluster: &str) -> anyhow::Result<Vec<String>> {
    match Admin::new(store.clone(), role.group(cluster)?).read().await {
        Ok(state) => {
            let there = state.member_views().into_iter().filter(|member| member.state != MemberPhase::Gone);
            Ok(there.map(|member| member.member.to_string()).collect())
        }
        Err(AdminError::NoGroup { .. }) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

/// A division of the work, as the cluster's own types have it.
fn shape_of(shape: &Shape) -> ClusterShape {
    ClusterShape {
        watch_buckets: shape.watch_buckets,
        generation_buckets: shape.generation_buckets,
        partitions: shape.partitions,
        shards: shape.shards,
        collection_buckets: shape.collection_buckets,
        mapping: if shape.by_remainder { BucketMapping::Remainder } else { BucketMapping::Hash },
    }
}

fn show(cluster: &str, shape: Option<ClusterShape>, output: Output) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    if output == Output::Json {
        writeln!(out, "{:#}", json!({ "cluster": cluster, "shape": shape }))?;
        return Ok(());
    }
    let Some(shape) = shape else {
        writeln!(out, "no process of the cluster {cluster} has been started yet")?;
        return Ok(());
    };
    for role in Role::ALL {
        writeln!(out, "{:<10} {:>6} parts", role.name(), role.parts(&shape))?;
    }
    if shape.mapping == BucketMapping::Remainder {
        writeln!(
            out,
            "tasks are dealt to buckets as by the previous version, unevenly where ids have gaps; once all processes have ended, `dtf cluster \
             grow` changes that"
        )?;
    }
    Ok(())
}
