//! `dtf map`: a source, a function and a sink, in one line; in this process, or on a cluster.

mod gateway;
mod text;

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use dtf::model::plugin::{MAX_SUBTASK_TIMEOUT, TaskPluginRegistration};
use dtf::model::{Priority, TaskParam, param};
use dtf_types::{DigestKind, FailedSink, Function, HttpCall, MapParam, Sink, Source};

use super::args::{Output, duration};
use super::jobs::Jobs;
use super::oneshot::{self, Kind, Plan};
use super::progress::Display;
use super::{Usage, display};

pub(crate) use self::gateway::{Gateway, Serving, connections, print_kept};

/// The items that run at once where nothing else is said: remote workers have them, and this process waits.
const JOBS: usize = 1000;

#[derive(Debug, Args)]
pub(crate) struct MapArgs {
    /// The items: list:A,B or list:JSON, range:TO or range:FROM..TO, lines:FILE, jsonl:FILE, csv:FILE; or the source as
    /// JSON. Files that end with .gz or .zst are decompressed
    #[arg(long, value_name = "SOURCE", value_parser = text::source)]
    source: Source,
    #[command(flatten)]
    function: FunctionArgs,
    /// The results: count, keep, jsonl:FILE, csv:FILE, webhook:URL; or the sink as JSON. What is kept is written to standard output at the end, a JSON value a
    /// line
    #[arg(long, value_name = "SINK", value_parser = text::sink, default_value = "count")]
    sink: Sink,
    /// The items that failed for good, with their errors: jsonl:FILE
    #[arg(long, value_name = "SINK", value_parser = text::failed)]
    failed: Option<FailedSink>,
    /// The number of attempts at an item
    #[arg(long, value_name = "N", default_value_t = 3)]
    attempts: u32,
    /// The longest time that each item may take, as in 90s
    #[arg(long, value_parser = duration, value_name = "TIME", default_value = "5m")]
    each: Duration,
    /// The name of the task
    #[arg(long, default_value = "")]
    name: String,
    /// The resource group that the task is charged to
    #[arg(long, default_value = "default")]
    group: String,
    /// The task's urgency: 2000 (low) to 9000 (high)
    #[arg(long, default_value_t = 6000, value_name = "NUMBER")]
    priority: u32,
    /// The longest time that the task may run, as in 90s, 30m or 2h [default: as long as it takes]
    #[arg(long, value_parser = duration, value_name = "TIME")]
    timeout: Option<Duration>,
    /// With --http: send so many items in a request, at most, as {"session", "items": [{"ticket", "body", ...}]}; the answer is
    /// {"reports": [{"ticket", "result"}]}
    #[arg(long, value_name = "N", requires = "http")]
    batch: Option<u32>,
    /// The number of items that run at once: a number, or N%, +N or -N of the number of processors
    /// [default: 1000, and 100% with a command or checksums]
    #[arg(short, long, value_name = "N", allow_hyphen_values = true)]
    jobs: Option<Jobs>,
    /// The loopback address that remote workers call; port 0 for any that is free
    #[arg(long, default_value = "127.0.0.1:7070", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Keep the task's record in this SQLite file [default: in memory]
    #[arg(long, value_name = "FILE")]
    db: Option<PathBuf>,
    /// The databases of a source or function sql: a TOML file with lines of NAME = "URL"
    #[cfg(feature = "full")]
    #[arg(long, value_name = "FILE")]
    connections: Option<PathBuf>,
    /// The reader of the summary: people (on standard error) or scripts (one JSON object on standard output)
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// No progress, and no summary for people; what goes wrong is said all the same
    #[arg(short, long)]
    quiet: bool,
    #[cfg(feature = "full")]
    #[command(flatten)]
    on_cluster: OnCluster,
}

/// The function, of which there is one.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct FunctionArgs {
    /// The function that remote workers offer under this name
    #[arg(long, value_name = "NAME")]
    worker: Option<String>,
    /// The command that the executors of the cluster allow under this name
    #[arg(long, value_name = "NAME")]
    exec: Option<String>,
    /// The address that each item is sent to, as JSON; `{}` in its path and query stands for the item, `{name}` for a field of it
    #[arg(long, value_name = "URL")]
    http: Option<String>,
    /// The digest of the file or object that each item names (sha256, sha512), as with --source files:DIR
    #[arg(long, value_name = "KIND", value_parser = text::digest)]
    checksum: Option<DigestKind>,
    /// The function as JSON, as in {"sql": {"connection": "shop", "statement": "DELETE FROM carts WHERE id = ?", "values": ["/id"]}}
    #[arg(long, value_name = "JSON", value_parser = text::function)]
    function: Option<Function>,
    /// A command of this machine; `{}` stands for the item, `{name}` for a field of it
    #[arg(last = true, value_name = "CMD")]
    command: Vec<String>,
}

/// The cluster that the task runs on.
#[cfg(feature = "full")]
#[derive(Debug, Args)]
struct OnCluster {
    /// Run it on the cluster that the settings name, instead of in this process. Its files must be there in the cluster's processes
    #[arg(long, conflicts_with_all = ["jobs", "db", "listen"])]
    on_cluster: bool,
    #[command(flatten)]
    settings: super::settings::Settings,
}

impl MapArgs {
    fn function(&self) -> Function {
        let FunctionArgs { worker, exec, http, checksum, function, .. } = &self.function;
        let named = [
            worker.clone().map(Function::Worker),
            exec.clone().map(Function::Exec),
            http.as_deref()
                .map(|url| Function::Http(HttpCall { batch: self.batch, ..HttpCall::posting(url) })),
            checksum.map(Function::Checksum),
            function.clone(),
        ];
        named.into_iter().flatten().next().unwrap_or_else(|| Function::Exec(self.command_name()))
    }

    /// Returns the name of the command of this machine: that of its program, where it can be the name of a function.
    fn command_name(&self) -> String {
        let program = self.function.command.first().map(Path::new).and_then(Path::file_name);
        let name =
            program.and_then(OsStr::to_str).filter(|name| dtf_types::check_function_name(name).is_ok());
        name.unwrap_or("command").to_owned()
    }

    /// Takes what the function needs in this process.
    fn gateway(&self) -> anyhow::Result<Gateway> {
        let command = &self.function.command;
        let gateway = match self.function() {
            Function::Exec(name) if command.is_empty() => {
                let why = "names a command that the executors of a cluster allow; add --on-cluster, or write the command behind --";
                return Err(Usage(format!("--exec {name} {why}")).into());
            }
            Function::Exec(name) => Gateway::running(name, command.clone())?,
            Function::Worker(_) => Gateway::bind(self.listen)?,
            Function::Http(_) | Function::Checksum(_) | Function::Sql(_) => Gateway::alone(),
        };
        let gateway = gateway.sending(self.jobs()?)?.using(self.objects());
        #[cfg(feature = "full")]
        let gateway = gateway.on_databases_in(self.connections.clone());
        Ok(gateway)
    }

    /// Returns the addresses of the objects that it reads and writes: whoever names them here may.
    fn objects(&self) -> Vec<String> {
        let source = match &self.source {
            Source::Lines(path) | Source::Jsonl(path) | Source::Files(path) => Some(path),
            Source::Csv(file) => Some(&file.path),
            Source::List(_) | Source::Range { .. } | Source::Sql(_) | Source::Items => None,
        };
        let sink = match &self.sink {
            Sink::Jsonl(path) => Some(path),
            Sink::Csv(out) => Some(&out.path),
            Sink::Count | Sink::Keep | Sink::Webhook(_) => None,
        };
        let text = |path: &PathBuf| path.to_str().filter(|text| text.contains("://")).map(str::to_owned);
        source.into_iter().chain(sink).filter_map(text).collect()
    }

    /// Returns the number of items that run at once.
    fn jobs(&self) -> Result<usize, Usage> {
        let processors = std::thread::available_parallelism().map_or(2, usize::from);
        // What this machine works on itself.
        let is_local = matches!(self.function(), Function::Exec(_) | Function::Checksum(_));
        let usual = if is_local { processors } else { JOBS };
        self.jobs.map_or(Ok(usual), |jobs| jobs.count(processors)).map_err(Usage)
    }

    /// Returns the task, checked.
    fn task_param(&self) -> anyhow::Result<TaskParam> {
        if self.each > MAX_SUBTASK_TIMEOUT {
            let why = format!("--each is {:?}; allowed is up to {MAX_SUBTASK_TIMEOUT:?}", self.each);
            return Err(Usage(why).into());
        }
        let map = MapParam {
            source: self.source.clone(),
            function: self.function(),
            sink: self.sink.clone(),
            failed: self.failed.clone(),
            attempts: self.attempts,
            timeout_ms: u64::try_from(self.each.as_millis()).unwrap_or(u64::MAX),
            key: None,
            defined: None,
        };
        let param = TaskParam {
            name: self.name.clone(),
            group: self.group.clone(),
            priority: Priority(self.priority),
            timeout: self.timeout.unwrap_or(param::MAX_TIMEOUT),
            type_param: serde_json::to_value(&map)?,
            ..TaskParam::default()
        };
        let wrong = |invalid: dtf::model::InvalidInput| Usage(invalid.to_string());
        param.check().map_err(wrong)?;
        MapParam::read(&param).map_err(wrong)?;
        Ok(param)
    }
}

pub(crate) fn run(args: &MapArgs, types: Vec<TaskPluginRegistration>) -> anyhow::Result<ExitCode> {
    let param = args.task_param()?;
    #[cfg(feature = "full")]
    if args.on_cluster.on_cluster {
        if !args.function.command.is_empty() {
            let why = "a cluster runs only commands that its executors allow; name one with --exec";
            return Err(Usage(why.to_owned()).into());
        }
        let keeps = args.sink == Sink::Keep && args.output == Output::Text;
        let settings = &args.on_cluster.settings;
        return super::task::create_and_watch(settings, types, &param, keeps, args.output, args.quiet);
    }
    // Only a cluster has types of its own.
    drop(types);
    if args.output == Output::Json && args.sink == Sink::Keep {
        let why = "what is kept and the JSON summary would both go to standard output; name a file with --sink jsonl:FILE";
        return Err(Usage(why.to_owned()).into());
    }
    let jobs = args.jobs()?;
    let screen = Display::new(args.quiet);
    let plan = Plan {
        kind: Kind::Map { gateway: args.gateway()?, prints: args.sink == Sink::Keep },
        param,
        jobs,
        db: args.db.clone(),
        exec: None,
    };
    let ended = oneshot::run(plan, &screen)?;
    screen.finish();
    display::summary(&ended, args.output, args.quiet)?;
    Ok(display::exit_code(&ended))
}
