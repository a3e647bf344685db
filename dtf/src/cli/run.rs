//! `dtf run`: one task, in this process, to its end.

use std::process::ExitCode;

use dtf::model::plugin::TaskPluginRegistration;
use dtf::model::{Priority, TaskParam, param};
use dtf::tasks::checksum::{Checksum, ChecksumParam};
use dtf::tasks::exec::{Exec, ExecHandle, ExecParam};
use dtf::tasks::noop::{Noop, NoopParam};

use super::args::{ChecksumArgs, Common, Output, RunArgs, What};
use super::oneshot::{self, Kind, Plan};
use super::progress::Display;
use super::{Usage, display, guard, say};

/// Runs it and says how it went, as an exit code.
pub(crate) fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    let RunArgs { common, what } = args;
    let screen = Display::new(common.quiet);
    let (registration, type_param, exec) = plugin(&common, what, &screen)?;
    let plan = Plan {
        param: task_param(&common, type_param)?,
        kind: Kind::Plain(registration),
        jobs: jobs(&common)?,
        db: common.db.clone(),
        exec,
    };
    let ended = oneshot::run(plan, &screen)?;
    screen.finish();
    display::summary(&ended, common.output, common.quiet)?;
    Ok(display::exit_code(&ended))
}

type Chosen = (TaskPluginRegistration, serde_json::Value, Option<ExecHandle>);

/// The plugin for a kind of task, its parameters, and its commands.
fn plugin(common: &Common, what: What, screen: &Display) -> anyhow::Result<Chosen> {
    let given = common.param.as_deref().map(json).transpose()?;
    let instead = |own: bool| match (own, &given) {
        (true, Some(_)) => {
            Err(Usage("give the type's parameters as arguments or with --param, not both".to_owned()))
        }
        _ => Ok(()),
    };
    match what {
        What::Checksum(args) => {
            instead(!args.paths.is_empty() || args.out.is_some())?;
            let param = match given {
                Some(param) => param,
                None => checksum_param(args, common.quiet)?.to_json(),
            };
            let to_stdout = param.get("out").is_none_or(serde_json::Value::is_null);
            if common.output == Output::Json && to_stdout {
                let why = "the manifest and the JSON summary would both go to standard output; name a file with --out";
                return Err(Usage(why.to_owned()).into());
            }
            Ok((Checksum::new(screen.console()).registration(), param, None))
        }
        What::Exec(args) => {
            instead(args.is_given())?;
            let (param, grace) = match given {
                Some(param) => (param, ExecParam::default().grace),
                None => {
                    let param = args.param()?;
                    (param.to_json(), param.grace)
                }
            };
            let exec = Exec::for_jobs(args.lines(common.quiet)?, screen.console(), jobs(common)?);
            let handle = exec.handle();
            if let Err(error) = guard::start(&handle.guarded(), grace) {
                say(&format!("no guard ({error}): if this process is killed, its commands run on"));
            }
            Ok((exec.registration(), param, Some(handle)))
        }
        What::Noop { count, sleep, failure_rate } => {
            instead(count.is_some() || sleep.is_some() || failure_rate.is_some())?;
            let param = given.unwrap_or_else(|| noop_param(count, sleep, failure_rate));
            Ok((Noop::registration(), param, None))
        }
    }
}

fn checksum_param(args: ChecksumArgs, quiet: bool) -> Result<ChecksumParam, Usage> {
    let ChecksumArgs { paths, out, check, digest, update, mut exclude, exclude_from } = args;
    for path in exclude_from {
        let patterns = std::fs::read_to_string(&path);
        let patterns = patterns.map_err(|error| Usage(format!("{}: {error}", path.display())))?;
        exclude.extend(patterns.lines().map(str::to_owned));
    }
    let (dirs, check) = if check { (Vec::new(), paths) } else { (paths, Vec::new()) };
    Ok(ChecksumParam { dirs, out, digest, exclude, update, check, quiet })
}

fn noop_param(
    count: Option<u64>,
    sleep: Option<std::time::Duration>,
    failure_rate: Option<f64>,
) -> serde_json::Value {
    let mut param = NoopParam::new(count.unwrap_or(0));
    param.sleep_ms = sleep.map_or(0, |sleep| u64::try_from(sleep.as_millis()).unwrap_or(u64::MAX));
    param.failure_rate = failure_rate.unwrap_or(0.0);
    param.to_json()
}

fn json(text: &str) -> Result<serde_json::Value, Usage> {
    serde_json::from_str(text).map_err(|error| {
        Usage(format!("--param is no valid JSON ({error}); write an object, as in '{{\"count\": 1000}}'"))
    })
}

fn task_param(common: &Common, type_param: serde_json::Value) -> Result<TaskParam, Usage> {
    let param = TaskParam {
        name: common.name.clone(),
        group: common.group.clone(),
        priority: Priority(common.priority),
        timeout: common.timeout.unwrap_or(param::MAX_TIMEOUT),
        type_param,
        ..TaskParam::default()
    };
    param.check().map_err(|invalid| Usage(invalid.to_string()))?;
    Ok(param)
}

fn jobs(common: &Common) -> Result<usize, Usage> {
    let processors = std::thread::available_parallelism().map_or(2, usize::from);
    common.jobs.map_or(Ok(processors), |jobs| jobs.count(processors)).map_err(Usage)
}
