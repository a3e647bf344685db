//! `dtf task`: tasks of a cluster.

mod bulk;
mod failures;
mod feed;
mod over_http;
mod show;
mod submit;
mod watch;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use dtf::config::Config;
use dtf::model::plugin::TaskPluginRegistration;
use dtf::model::table::TaskRow;
use dtf::model::{InvalidInput, TaskId, TaskParam, TaskTypeId};
use dtf::{Client, ClientError, Dtf, DtfConfig};
use dtf_types::MapParts;
use tokio::runtime::Handle;
use uuid::Uuid;

use self::failures::{FailuresArgs, RetryArgs};
use self::feed::FeedArgs;
use self::show::ListArgs;
use self::submit::SubmitArgs;
pub(super) use self::submit::json_of;
use super::Usage;
use super::args::Output;
use super::oneshot::refused;
use super::remote::{self, Remote};
use super::say;
use super::settings::{Head, Settings};

#[derive(Debug, Args)]
pub(crate) struct TaskArgs {
    #[command(flatten)]
    head: Head,
    #[command(flatten)]
    remote: Remote,
    /// No progress
    #[arg(short, long, global = true)]
    quiet: bool,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Create a task; with --watch, follow it to its end
    Submit(SubmitArgs),
    /// List tasks, newest first
    List(ListArgs),
    /// Show one task
    Get {
        /// The task's id
        id: TaskId,
    },
    /// Follow a task to its end
    ///
    /// Exit code 0: completed, nothing failed. 1: something failed. 130: cancelled, or Ctrl-C ended the watching.
    Watch {
        /// The task's id
        id: TaskId,
    },
    /// Print what the task's collector made of it, as JSON
    Result {
        /// The task's id
        id: TaskId,
    },
    /// List the subtasks that failed for good, with their errors
    Failures(FailuresArgs),
    /// Run what failed of an ended task again, as a new task
    Retry(RetryArgs),
    /// Have the message of a settled hook delivered again
    Deliver {
        /// The task's id
        id: TaskId,
        /// The number of the hook, as `dtf task get` shows it
        hook: usize,
    },
    /// Feed the lines of standard input, each one JSON value, into a task whose source is items
    Feed(FeedArgs),
    /// Say that no more items are fed: tasks end when those that were fed are done
    Close(Ids),
    /// Pause, resume, cancel or retry all tasks that fit, through the HTTP API (--server)
    Bulk(bulk::BulkArgs),
    /// Stop generating and dispatching; what runs may finish
    Pause(Ids),
    /// Go on with paused tasks
    Resume(Ids),
    /// End tasks before they are done
    Cancel(Ids),
}

#[derive(Debug, Args)]
struct Ids {
    /// The tasks' ids
    #[arg(required = true)]
    ids: Vec<TaskId>,
}

/// The tools that all of these commands work with.
struct Desk {
    client: Client,
    output: Output,
    quiet: bool,
}

impl Desk {
    /// The name of a task's type; its number where this program does not know it.
    fn name(&self, row: &TaskRow) -> String {
        self.client.types().name_of(row.task_type, &row.param)
    }

    /// The type with this name or number.
    async fn task_type(&self, name: &str) -> anyhow::Result<TaskTypeId> {
        match name.parse() {
            Ok(number) => Ok(number),
            Err(_) => self.client.number_of_type(name).await.map_err(|error| unknown(name, error)),
        }
    }

    /// Returns what a task of the type with this name or number is created with.
    async fn prepare(&self, name: &str, param: TaskParam) -> anyhow::Result<(TaskTypeId, TaskParam)> {
        match name.parse() {
            Ok(number) => Ok((number, param)),
            Err(_) => self.client.prepare(name, param).await.map_err(|error| unknown(name, error)),
        }
    }
}

/// The error for a type that is not there has the way to those that are.
fn unknown(name: &str, error: ClientError) -> anyhow::Error {
    match error {
        ClientError::Invalid(InvalidInput::UnknownType(..)) => {
            Usage(format!("task type {name:?} is unknown; `dtf type list` has those that are known")).into()
        }
        error => refused(error),
    }
}

pub(crate) fn run(args: TaskArgs, types: Vec<TaskPluginRegistration>) -> anyhow::Result<ExitCode> {
    if let Some(client) = args.remote.client()? {
        let desk = over_http::Desk { client, output: args.head.output, quiet: args.quiet };
        return remote::ask(async || over_http::perform(&desk, args.what).await);
    }
    let config = args.head.settings.load()?.config;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let done = runtime.block_on(async {
        let client = client(&config, types).await?;
        let desk = Desk { client, output: args.head.output, quiet: args.quiet };
        perform(&desk, args.what).await
    });
    runtime.shutdown_background();
    done
}

/// Does something with a client of the cluster that the settings name.
pub(super) fn with_client(
    settings: &Settings,
    types: Vec<TaskPluginRegistration>,
    perform: impl AsyncFnOnce(Client) -> anyhow::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    let config = settings.load()?.config;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let done = runtime.block_on(async { perform(client(&config, types).await?).await });
    runtime.shutdown_background();
    done
}

/// Creates a task of type `map`, and follows it to its end. With `keeps`, writes the results that are kept to standard output then.
pub(super) fn create_and_watch(
    settings: &Settings,
    types: Vec<TaskPluginRegistration>,
    param: &TaskParam,
    keeps: bool,
    output: Output,
    quiet: bool,
) -> anyhow::Result<ExitCode> {
    with_client(settings, types, async |client| {
        let desk = Desk { client, output, quiet };
        let (task_type, request) = (desk.task_type("map").await?, Uuid::new_v4());
        let create = async || desk.client.create_task_once(request, task_type, param.clone()).await;
        let task = submit::until_created(request, create).await?;
        if !quiet {
            say(&format!("task {} was created", task.id()));
        }
        let id = task.id();
        let code = watch::watch(&desk, task).await?;
        if keeps {
            super::map::print_kept(&desk.client, id).await?;
        }
        Ok(code)
    })
}

/// A client of the cluster.
pub(super) async fn client(config: &Config, types: Vec<TaskPluginRegistration>) -> anyhow::Result<Client> {
    let (ports, shape) = crate::serve::client_ports(config).await.map_err(super::connecting)?;
    let config = DtfConfig { shape, ..config.dtf() };
    let mut builder = Dtf::builder(ports).config(config).plugins_on(Handle::current());
    for registration in types.into_iter().chain([dtf_types::registration(MapParts::default())]) {
        builder = builder.register_task_type(registration)?;
    }
    Ok(builder.build()?.client())
}

async fn perform(desk: &Desk, what: What) -> anyhow::Result<ExitCode> {
    let client = &desk.client;
    match what {
        What::Submit(args) => submit::submit(desk, args).await,
        What::List(args) => show::list(desk, args).await,
        What::Get { id } => show::get(desk, id).await,
        What::Watch { id } => watch::watch(desk, client.task(id)).await,
        What::Result { id } => show::result(desk, id).await,
        What::Failures(args) => failures::failures(desk, args).await,
        What::Retry(args) => failures::retry(desk, args).await,
        What::Deliver { id, hook } => {
            client.deliver_again(id, hook).await.map_err(refused)?;
            show::get(desk, id).await
        }
        What::Feed(args) => feed::feed(&feed::Feeder::Stores(client), args, desk.output, desk.quiet).await,
        What::Bulk(_) => {
            let why = "an action on many tasks is worked off by the servers of the HTTP API; name one with --server";
            Err(Usage(why.to_owned()).into())
        }
        What::Close(Ids { ids }) => {
            each(desk.output, desk.quiet, ids, "closed", async |id| {
                client.close_items(id).await.map_err(refused)
            })
            .await
        }
        What::Pause(Ids { ids }) => {
            each(desk.output, desk.quiet, ids, "paused", async |id| {
                client.pause_task(id).await.map_err(refused)
            })
            .await
        }
        What::Resume(Ids { ids }) => {
            each(desk.output, desk.quiet, ids, "resumed", async |id| {
                client.resume_task(id).await.map_err(refused)
            })
            .await
        }
        What::Cancel(Ids { ids }) => {
            each(desk.output, desk.quiet, ids, "cancelled", async |id| {
                client.cancel_task(id).await.map_err(refused)
            })
            .await
        }
    }
}

/// Asks the same of each task, and says so; ends at the first that refuses.
async fn each(
    output: Output,
    quiet: bool,
    ids: Vec<TaskId>,
    asked: &str,
    ask: impl AsyncFn(TaskId) -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    for id in &ids {
        ask(*id).await?;
        if output == Output::Text && !quiet {
            say(&format!("task {id} is to be {asked}"));
        }
    }
    if output == Output::Json {
        show::print(&serde_json::json!({ "asked": asked, "tasks": ids }))?;
    }
    Ok(ExitCode::SUCCESS)
}
