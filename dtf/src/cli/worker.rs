//! `dtf worker`: the processes of a cluster.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};
use dtf::config::Config;
use dtf::lrmf::admin::{Admin, AdminError, MemberView};
use dtf::lrmf::control::Origin;
use dtf::lrmf::{BootClock, Clock, Coordination, InstanceId};
use dtf::model::gateway::{Gateway, NamedWorker};
use dtf::model::plugin::TaskPluginRegistration;
use dtf_api as api;
use dtf_model::Role;
use serde_json::{Value, json};
use uuid::Uuid;

use super::args::Output;
use super::oneshot::refused;
use super::remote::{self, Remote};
use super::settings::Head;
use super::table::Listing;
use super::{Usage, say, task};
use crate::serve::connect::coordination;

#[derive(Debug, Args)]
pub(crate) struct WorkerArgs {
    #[command(flatten)]
    head: Head,
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List the processes: their roles, and how many parts of each role's work they hold; and the remote workers
    List,
    /// Take a process's work away, part by part, and give it none, for as long as this is not undone
    Drain {
        /// The process, by its instance name
        name: String,
        /// Let it have work again
        #[arg(long)]
        undo: bool,
    },
}

pub(crate) fn run(args: WorkerArgs, types: Vec<TaskPluginRegistration>) -> anyhow::Result<ExitCode> {
    if let Some(client) = args.remote.client()? {
        return remote::ask(async || {
            perform(&Desk::Server(Box::new(client)), args.what, types, args.head.output).await
        });
    }
    let config = args.head.settings.load()?.config;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let done = runtime.block_on(async {
        let store: Arc<dyn Coordination> = Arc::new(coordination(&config).await.map_err(super::connecting)?);
        let desk = Desk::Stores(Box::new(Stores { store, config }));
        perform(&desk, args.what, types, args.head.output).await
    });
    runtime.shutdown_background();
    done
}

async fn perform(
    desk: &Desk,
    what: What,
    types: Vec<TaskPluginRegistration>,
    output: Output,
) -> anyhow::Result<ExitCode> {
    match what {
        What::List => {
            let Listed { workers, remote } = desk.list(types).await?;
            list(&workers, &remote, output)?;
        }
        What::Drain { name, undo } => {
            let roles = desk.drain(&name, undo).await?;
            show_drained(&name, undo, &roles, output)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The processes of a cluster, by name, and its remote workers by the process that they are connected to.
struct Listed {
    workers: Vec<api::Worker>,
    remote: Vec<Gateway>,
}

/// The way to the processes of a cluster.
enum Desk {
    /// The store of their groups.
    Stores(Box<Stores>),
    /// The HTTP API of one of them.
    Server(Box<dtf_client::Client>),
}

struct Stores {
    store: Arc<dyn Coordination>,
    config: Config,
}

impl Desk {
    /// The processes and the remote workers. Of the latter, of slots in use and of names of types, what cannot be read is left out, which
    /// is said.
    async fn list(&self, types: Vec<TaskPluginRegistration>) -> anyhow::Result<Listed> {
        let missing = |error: anyhow::Error| {
            say(&format!("the remote workers cannot be listed: {error:#}"));
            Vec::new()
        };
        match self {
            Self::Stores(stores) => {
                let (client, remote) = match task::client(&stores.config, types).await {
                    Ok(client) => {
                        let remote = client.gateways().await.map_err(refused).unwrap_or_else(missing);
                        (Some(client), remote)
                    }
                    Err(error) => (None, missing(error)),
                };
                let workers = dtf_http::workers(stores.store.clone(), &stores.config.cluster, client).await;
                let workers = workers.map_err(|failed| anyhow::anyhow!(failed.0.detail))?;
                Ok(Listed { workers, remote })
            }
            Self::Server(client) => {
                let workers = client.workers().await.map_err(remote::refused)?;
                let remote = client.remote_workers().await.map_err(remote::refused);
                Ok(Listed { workers, remote: remote.map(gateways).unwrap_or_else(missing) })
            }
        }
    }

    /// Drains the process in every role that it has, and returns these.
    async fn drain(&self, name: &str, undo: bool) -> anyhow::Result<Vec<&'static str>> {
        match self {
            Self::Stores(stores) => stores.drain(name, undo).await,
            Self::Server(client) => {
                let drained = client.drain(name, &api::Drain { drained: !undo }).await;
                let worker = drained.map_err(remote::refused)?;
                Ok(worker.roles.iter().map(|member| member.role.name()).collect())
            }
        }
    }
}

impl Stores {
    fn admin(&self, role: Role) -> anyhow::Result<Admin> {
        let by = std::env::var("USER").ok();
        let origin = Origin { by, at: BootClock.unix_millis(), note: Some("dtf worker".to_owned()) };
        Ok(Admin::new(self.store.clone(), role.group(&self.config.cluster)?).asking(origin))
    }

    /// The members of a role's group; none where nobody ever joined it.
    async fn members(&self, role: Role) -> anyhow::Result<Vec<MemberView>> {
        match self.admin(role)?.read().await {
            Ok(state) => Ok(state.member_views()),
            Err(AdminError::NoGroup { .. }) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }

    async fn drain(&self, name: &str, undo: bool) -> anyhow::Result<Vec<&'static str>> {
        let instance = InstanceId::new(name).map_err(|error| Usage(error.to_string()))?;
        let mut roles = Vec::new();
        for role in Role::ALL {
            if !self.members(role).await?.iter().any(|view| view.member == instance) {
                continue;
            }
            let admin = self.admin(role)?;
            if undo {
                admin.undrain(&instance).await?;
            } else {
                admin.drain(&instance).await?;
            }
            roles.push(role.name());
        }
        if roles.is_empty() {
            let why = format!(
                "no process {name:?} is in the cluster {}; `dtf worker list` lists them",
                self.config.cluster
            );
            return Err(Usage(why).into());
        }
        Ok(roles)
    }
}

/// Remote workers, by the process that they are connected to.
fn gateways(workers: Vec<api::RemoteWorker>) -> Vec<Gateway> {
    let mut gateways: BTreeMap<String, Gateway> = BTreeMap::new();
    for worker in workers {
        let process = worker.process;
        let gateway = gateways.entry(process.clone()).or_insert_with(|| Gateway {
            id: Uuid::nil(),
            process,
            workers: Vec::new(),
            connected: 0,
            until: 0,
        });
        let api::WorkerInfo { name, language, version, slots } = worker.worker;
        let (session, functions, drained) = (worker.session, worker.functions, worker.drained);
        gateway.workers.push(NamedWorker { session, name, language, version, slots, functions, drained });
        gateway.connected += 1;
    }
    gateways.into_values().collect()
}

fn list(workers: &[api::Worker], remote: &[Gateway], output: Output) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    match output {
        Output::Json => {
            let rows = workers.iter().flat_map(|worker| {
                let row = |member: &api::Member| {
                    json!({
                        "instance": worker.name,
                        "role": member.role,
                        "state": member.state,
                        "leads": member.leads,
                        "drained": member.drained,
                        "parts": member.parts,
                        "releasing": member.releasing,
                        "slots": slots_of(worker, member),
                        "types": worker.types,
                        "stuck": worker.stuck,
                    })
                };
                worker.roles.iter().map(row)
            });
            let of_remote = remote.iter().flat_map(|gateway| {
                let document = |worker: &NamedWorker| {
                    json!({
                        "instance": worker.name,
                        "role": "remote",
                        "connected_to": gateway.process,
                        "language": worker.language,
                        "version": worker.version,
                        "slots": worker.slots,
                        "functions": worker.functions,
                        "drained": worker.drained,
                    })
                };
                gateway.workers.iter().map(document)
            });
            writeln!(out, "{}", Value::Array(rows.chain(of_remote).collect()))?;
        }
        Output::Text => {
            writeln!(out, "{}", table(workers))?;
            if !remote.is_empty() {
                writeln!(out, "\n{}", table_of_remote(remote))?;
            }
        }
    }
    Ok(())
}

fn show_drained(name: &str, undo: bool, roles: &[&str], output: Output) -> anyhow::Result<()> {
    match output {
        Output::Json => {
            writeln!(std::io::stdout(), "{}", json!({ "instance": name, "drained": !undo, "roles": roles }))?
        }
        Output::Text if undo => say(&format!("{name} is to have work again")),
        Output::Text => say(&format!("{name} is to be emptied; `dtf worker list` shows how far it is")),
    }
    Ok(())
}

fn table_of_remote(gateways: &[Gateway]) -> String {
    let mut table =
        Listing::new(["remote worker", "connected to", "language", "version", "slots", "functions", ""]);
    for gateway in gateways {
        for worker in &gateway.workers {
            table.row([
                worker.name.clone(),
                gateway.process.clone(),
                worker.language.clone(),
                worker.version.clone(),
                worker.slots.to_string(),
                worker.functions.join(", "),
                if worker.drained { "drained" } else { "" }.to_owned(),
            ]);
        }
        let unnamed = gateway.connected as usize - gateway.workers.len().min(gateway.connected as usize);
        if unnamed > 0 {
            let more = format!("and {unnamed} more");
            let none = String::new;
            table.row([more, gateway.process.clone(), none(), none(), none(), none(), none()]);
        }
    }
    table.align_right(&[4]);
    table.to_string()
}

/// The slots of a process, in the row of its executor.
fn slots_of(worker: &api::Worker, member: &api::Member) -> Option<api::Slots> {
    worker.slots.filter(|_| member.role == api::Role::Executor)
}

fn table(workers: &[api::Worker]) -> String {
    let mut table = Listing::new(["instance", "role", "state", "parts", "releasing", "slots busy", ""]);
    for worker in workers {
        for member in &worker.roles {
            let slots = slots_of(worker, member).map(|api::Slots { total, used }| {
                used.map_or_else(|| format!("? of {total}"), |used| format!("{used} of {total}"))
            });
            table.row([
                worker.name.clone(),
                member.role.name().to_owned(),
                member.state.name().to_owned(),
                member.parts.to_string(),
                member.releasing.to_string(),
                slots.unwrap_or_default(),
                marks(worker, member),
            ]);
        }
    }
    table.align_right(&[5]);
    table.to_string()
}

/// The particulars of a process in a role.
fn marks(worker: &api::Worker, member: &api::Member) -> String {
    let marks = [(member.leads, "leads"), (member.drained, "drained"), (member.successor, "has a successor")];
    let mut marks: Vec<_> = marks.iter().filter(|(is, _)| *is).map(|(_, mark)| (*mark).to_owned()).collect();
    // Once for the process.
    let is_first = worker.roles.first().is_some_and(|first| first.role == member.role);
    if worker.stuck_count > 0 && is_first {
        let first = worker.stuck.first().map_or("", |stuck| stuck.call.as_str());
        marks.push(format!("{} calls into plugins are stuck ({first})", worker.stuck_count));
    }
    marks.join(", ")
}
