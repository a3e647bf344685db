//! `dtf group`: who shares the executors, and how.

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use dtf::Client;
use dtf::model::group::ResourceGroup;
use dtf::model::limits::Limits;
use dtf::model::plugin::TaskPluginRegistration;
use dtf_api as api;
use serde_json::json;

use super::args::Output;
use super::oneshot::refused;
use super::remote::{self, Remote};
use super::settings::Head;
use super::table::Listing;
use super::{Usage, task};

#[derive(Debug, Args)]
pub(crate) struct GroupArgs {
    #[command(flatten)]
    head: Head,
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List the groups with their quotas
    List,
    /// Give a group a share of the executors, in proportion to the others' quotas; makes the group where there is none
    SetQuota {
        /// The group
        name: String,
        /// Its share; 100 is usual
        quota: u32,
    },
    /// Dispatch nothing of a group's tasks; what runs may finish
    Pause {
        /// The group
        name: String,
    },
    /// Go on with a group's tasks
    Resume {
        /// The group
        name: String,
    },
    /// Print the secret that messages to its hooks are signed with
    SigningSecret {
        /// The group
        name: String,
        /// Replace it; the old one signs beside the new one for another day
        #[arg(long)]
        replace: bool,
    },
}

pub(crate) fn run(args: GroupArgs, types: Vec<TaskPluginRegistration>) -> anyhow::Result<ExitCode> {
    if let Some(client) = args.remote.client()? {
        let perform =
            async || over_http(&client, args.what, args.head.output).await.map(|()| ExitCode::SUCCESS);
        return remote::ask(perform);
    }
    task::with_client(&args.head.settings, types, async |client| {
        perform(&client, args.what, args.head.output).await.map(|()| ExitCode::SUCCESS)
    })
}

async fn perform(client: &Client, what: What, output: Output) -> anyhow::Result<()> {
    let groups = match what {
        What::List => client.groups().await.map_err(refused)?,
        What::SetQuota { name, quota } => {
            client.set_quota(&name, quota).await.map_err(refused)?;
            client.group(&name).await.map_err(refused)?.into_iter().collect()
        }
        What::Pause { name } => vec![pause(client, &name, true).await?],
        What::Resume { name } => vec![pause(client, &name, false).await?],
        What::SigningSecret { name, replace } => return secret(client, &name, replace, output).await,
    };
    show(&groups, output)
}

async fn pause(client: &Client, name: &str, paused: bool) -> anyhow::Result<ResourceGroup> {
    let group = client.group(name).await.map_err(refused)?;
    let group = group.ok_or_else(|| Usage(format!("there is no resource group {name:?}")))?;
    let group = ResourceGroup { paused, ..group };
    client.set_group(&group).await.map_err(refused)?;
    Ok(group)
}

/// The same through the HTTP API.
async fn over_http(client: &dtf_client::Client, what: What, output: Output) -> anyhow::Result<()> {
    let refused = remote::refused;
    let groups = match what {
        What::List => client.groups().await.map_err(refused)?,
        What::SetQuota { name, quota } => {
            let set = api::SetGroup { quota: Some(quota), ..api::SetGroup::default() };
            vec![client.set_group(&name, &set).await.map_err(refused)?]
        }
        What::Pause { name } => vec![pause_over_http(client, &name, true).await?],
        What::Resume { name } => vec![pause_over_http(client, &name, false).await?],
        What::SigningSecret { name, replace } => {
            let secret = match replace {
                true => client.replace_signing_secret(&name).await,
                false => client.signing_secret(&name).await,
            };
            return show_secret(&name, &secret.map_err(refused)?.secret, output);
        }
    };
    let groups: Vec<_> = groups.into_iter().map(group).collect();
    show(&groups, output)
}

async fn pause_over_http(
    client: &dtf_client::Client,
    name: &str,
    paused: bool,
) -> anyhow::Result<api::Group> {
    let refused = remote::refused;
    if !client.groups().await.map_err(refused)?.iter().any(|group| group.name == name) {
        return Err(Usage(format!("there is no resource group {name:?}")).into());
    }
    let set = api::SetGroup { paused: Some(paused), ..api::SetGroup::default() };
    client.set_group(name, &set).await.map_err(refused)
}

/// A group, as the cluster's own types have it.
fn group(group: api::Group) -> ResourceGroup {
    let api::Group { name, quota, limits, description, paused, .. } = group;
    let limits = Limits { running: limits.running, rate: limits.rate };
    ResourceGroup { name, quota, limits, description, paused }
}

fn show(groups: &[ResourceGroup], output: Output) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    match output {
        Output::Json => writeln!(out, "{}", json!(groups))?,
        Output::Text => writeln!(out, "{}", table(groups))?,
    }
    Ok(())
}

async fn secret(client: &Client, group: &str, replace: bool, output: Output) -> anyhow::Result<()> {
    let secret = match replace {
        true => client.replace_signing_secret(group).await,
        false => client.signing_secret(group).await,
    };
    show_secret(group, &secret.map_err(refused)?.reveal(), output)
}

fn show_secret(group: &str, secret: &str, output: Output) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    match output {
        Output::Json => writeln!(out, "{}", json!({ "group": group, "secret": secret }))?,
        Output::Text => writeln!(out, "{secret}")?,
    }
    Ok(())
}

fn table(groups: &[ResourceGroup]) -> String {
    let mut table = Listing::new(["group", "quota", "description", ""]);
    for group in groups {
        let mark = if group.paused { "paused" } else { "" };
        table.row([group.name.clone(), group.quota.to_string(), group.description.clone(), mark.to_owned()]);
    }
    table.align_right(&[1]);
    table.to_string()
}
