//! `dtf worker`: the processes of a cluster.

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
use dtf_model::Role;
use serde_json::{Value, json};

use super::args::Output;
use super::oneshot::refused;
use super::settings::Head;
use super::table::Listing;
use super::{Usage, say, task};
use crate::serve::connect::coordination;

#[derive(Debug, Args)]
pub(crate) struct WorkerArgs {
    #[command(flatten)]
    head: Head,
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
    let config = args.head.settings.load()?.config;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let done = runtime.block_on(async {
        let store = coordination(&config).await.map_err(super::connecting)?;
        let desk = Desk { store: Arc::new(store), config };
        match args.what {
            What::List => desk.list(types, args.head.output).await,
            What::Drain { name, undo } => desk.drain(&name, undo, args.head.output).await,
        }
    });
    runtime.shutdown_background();
    done?;
    Ok(ExitCode::SUCCESS)
}

struct Desk {
    store: Arc<dyn Coordination>,
    config: Config,
}

impl Desk {
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

    /// The remote workers, by process; none where the tasks cannot be reached, which is said.
    async fn remote(&self, types: Vec<TaskPluginRegistration>) -> Vec<Gateway> {
        let read = async {
            let client = task::client(&self.config, types).await?;
            client.gateways().await.map_err(refused)
        };
        read.await.unwrap_or_else(|error| {
            say(&format!("the remote workers cannot be listed: {error:#}"));
            Vec::new()
        })
    }

    async fn list(&self, types: Vec<TaskPluginRegistration>, output: Output) -> anyhow::Result<()> {
        let mut rows = Vec::new();
        for role in Role::ALL {
            rows.extend(self.members(role).await?.into_iter().map(|member| (role, member)));
        }
        rows.sort_by(|(a, left), (b, right)| (&left.member, a).cmp(&(&right.member, b)));
        let remote = self.remote(types).await;
        let mut out = std::io::stdout();
        match output {
            Output::Json => {
                let row = |(role, member): &(Role, MemberView)| {
                    json!({
                        "instance": member.member,
                        "role": role,
                        "state": member.state,
                        "leads": member.leads,
                        "drained": member.drained,
                        "parts": member.tasks,
                        "releasing": member.releasing,
                    })
                };
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
                writeln!(out, "{}", Value::Array(rows.iter().map(row).chain(of_remote).collect()))?;
            }
            Output::Text => {
                writeln!(out, "{}", table(&rows))?;
                if !remote.is_empty() {
                    writeln!(out, "\n{}", table_of_remote(&remote))?;
                }
            }
        }
        Ok(())
    }

    /// Drains the process in every role that it has.
    async fn drain(&self, name: &str, undo: bool, output: Output) -> anyhow::Result<()> {
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
            roles.push(role);
        }
        if roles.is_empty() {
            let why = format!(
                "no process {name:?} is in the cluster {}; `dtf worker list` lists them",
                self.config.cluster
            );
            return Err(Usage(why).into());
        }
        match output {
            Output::Json => writeln!(
                std::io::stdout(),
                "{}",
                json!({ "instance": name, "drained": !undo, "roles": roles })
            )?,
            Output::Text if undo => say(&format!("{name} is to have work again")),
            Output::Text => say(&format!("{name} is to be emptied; `dtf worker list` shows how far it is")),
        }
        Ok(())
    }
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

fn table(rows: &[(Role, MemberView)]) -> String {
    let mut table = Listing::new(["instance", "role", "state", "parts", "releasing", ""]);
    for (role, member) in rows {
        let marks =
            [(member.leads, "leads"), (member.drained, "drained"), (member.successor, "has a successor")];
        let marks: Vec<_> = marks.iter().filter(|(is, _)| *is).map(|(_, mark)| *mark).collect();
        let state = serde_json::to_value(member.state).ok();
        table.row([
            member.member.to_string(),
            role.to_string(),
            state.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned(),
            member.tasks.to_string(),
            member.releasing.to_string(),
            marks.join(", "),
        ]);
    }
    table.to_string()
}
