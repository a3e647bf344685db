//! The sample of the original framework's README, step by step. It runs on every backend.
//!
//! ```console
//! cargo run --example sample                                   # everything in this process, no server
//! cargo run --features full --example sample -- migrate        # on servers: this is the `dtf` command with one type more
//! cargo run --features full --example sample -- serve --role all
//! cargo run --features full --example sample -- task submit sample --param '{"count": 1000}' --watch
//! ```
//! On servers the settings come from `dtf.toml`, the environment and flags, as those of `dtf` do.

use std::process::ExitCode;

use dtf::plugin::TaskPluginRegistration;
use dtf::prelude::*;
use serde::{Deserialize, Serialize};

/// The parameter of a task of this type: its `type_param`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SampleParam {
    /// The number of greetings.
    count: u32,
}

/// The task type.
pub(crate) fn sample() -> TaskType<SampleParam, u32, String, u64> {
    // 1. Implement a task plugin.
    TaskType::named("sample")
        .description("a sample task type")
        .number(101)
        .task_timeout(Duration::from_secs(3600))
        // The generator splits the task: a subtask a number.
        .input(|SampleParam { count }| 0..count)
        // The scheduler's callback is asked before a subtask is dispatched.
        .dispatch_when(|_id, _number| Ok(Dispatch::Now))
        // The executor executes a subtask, in whatever process.
        .execute(|number: u32, ctx| async move {
            anyhow::ensure!(!ctx.cancelled.is_cancelled(), "cancelled");
            Ok(format!("hello {number}"))
        })
        // The collector's callback is told the results. Its state is saved with every commit, so that a successor goes on from
        // there.
        .fold(0, |greetings, greeting| greetings + u64::from(greeting.starts_with("hello ")))
        .summary(|greetings, _counts| format!("{greetings} greetings"))
        .build()
}

pub(crate) fn registration() -> TaskPluginRegistration {
    sample().into()
}

fn main() -> ExitCode {
    if std::env::args().len() > 1 {
        return dtf::cli::main(vec![registration()]);
    }
    match in_this_process() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sample: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn in_this_process() -> anyhow::Result<()> {
    // 2. Register the task type. 3. Invoke the services: here all of them, in one process.
    let dtf = Dtf::embedded().jobs(2).register(registration()).start().await?;

    // 4. Create a task.
    let task = create_task(&dtf).await?;
    let output = task.output().await?;
    println!("{}: {:?} greetings", output.status, output.value);

    // 5. Wait for the services to exit.
    tokio::join!(dtf.notify_stop(Duration::from_millis(10)), dtf.join());
    Ok(())
}

pub(crate) async fn create_task(dtf: &Dtf) -> anyhow::Result<RunningTask<u64>> {
    let sample = dtf.new_task("sample", SampleParam { count: 1000 });
    Ok(sample.name("greetings").priority(Priority::HIGH).submit().await?)
}
