//! `lrmf`: see and steer a group.

mod args;
mod connect;
mod failure;
mod print;

use std::process::ExitCode;

use clap::Parser;
use futures::StreamExt;
use lrmf_core::InstanceId;
use lrmf_core::admin::{Admin, AdminError, Change, GroupState};
use lrmf_core::text::one_line;
use serde_json::{Value, json};

use args::{Cli, Command, Output};
use failure::Failure;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if !error.use_stderr() => {
            // Help, or the version: what is left to do if nobody reads it?
            drop(error.print());
            return ExitCode::SUCCESS;
        }
        Err(error) => return Failure::arguments(&error).report(),
    };
    match run(&cli).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

async fn run(cli: &Cli) -> Result<(), Failure> {
    if matches!(cli.command, Command::Evict { dead: true, yes: false, .. }) {
        return Err(Failure::usage(
            "if the process lives, its tasks run twice until it hears that its session is gone; make sure that it is dead, or \
             that stores check tokens, and say --yes",
        ));
    }
    if matches!(cli.command, Command::DeleteGroup { yes: false }) {
        return Err(Failure::usage("all records of the group go, and do not come back; say --yes"));
    }
    if matches!(cli.command, Command::ForceRelease { yes: false, .. }) {
        return Err(Failure::usage(
            "a task whose run is not over may then run twice; make sure that it does not run, or that stores check its \
             token, and say --yes",
        ));
    }
    let admin = connect::admin(cli).await?;
    match &cli.command {
        Command::Members => members(cli, &read(&admin).await?),
        Command::Tasks { member } => tasks(cli, &read(&admin).await?, member.as_deref()),
        Command::Show { key } => show(cli, &read(&admin).await?, key),
        Command::Explain { key } => explain(cli, &read(&admin).await?, key),
        Command::Watch => watch(cli, &admin).await,
        request => ask(cli, &admin, request).await,
    }
}

/// Reads the group, and names what in it cannot be read.
async fn read(admin: &Admin) -> Result<GroupState, Failure> {
    let state = admin.read().await?;
    for error in state.unreadable.values() {
        print::say(&format!("not shown: {error}"));
    }
    Ok(state)
}

fn members(cli: &Cli, state: &GroupState) -> Result<(), Failure> {
    let members = state.member_views();
    match cli.output {
        Output::Table => {
            print::line(&print::members(&members))?;
            print::line(&print::headline(state, &format!("{} members", members.len())))
        }
        Output::Json => print::json(&with(print::summary(state), "members", json!(members))),
    }
}

fn tasks(cli: &Cli, state: &GroupState, member: Option<&str>) -> Result<(), Failure> {
    let mut tasks = state.task_views();
    tasks.retain(|task| member.is_none_or(|member| task.member.as_str() == member));
    match cli.output {
        Output::Table => {
            print::line(&print::tasks(&tasks))?;
            print::line(&print::headline(state, &format!("{} tasks", tasks.len())))
        }
        Output::Json => print::json(&with(print::summary(state), "tasks", json!(tasks))),
    }
}

fn show(cli: &Cli, state: &GroupState, key: &str) -> Result<(), Failure> {
    let place = state.place(key).ok_or_else(|| AdminError::NoTask { key: key.to_owned() })?;
    let task = state.task_view(place);
    match cli.output {
        Output::Table => print::line(&print::task(&task)),
        Output::Json => print::json(&task),
    }
}

fn explain(cli: &Cli, state: &GroupState, key: &str) -> Result<(), Failure> {
    let explanation = state.explain(key);
    match cli.output {
        Output::Table => print::line(&print::explanation(&explanation)),
        Output::Json => print::json(&explanation),
    }
}

async fn watch(cli: &Cli, admin: &Admin) -> Result<(), Failure> {
    let (state, mut changes) = admin.watch().await?;
    let (members, tasks) = (state.member_views().len(), state.places().count());
    match cli.output {
        Output::Table => {
            print::line(&print::headline(&state, &format!("{members} members, {tasks} tasks")))?;
        }
        Output::Json => {
            let begin = with(with(print::summary(&state), "members", json!(members)), "tasks", json!(tasks));
            print::json(&with(begin, "what", json!("group")))?;
        }
    }
    let print = |change: &Change| match cli.output {
        Output::Table => print::line(&one_line(&print::change(change))),
        Output::Json => print::json(change),
    };
    loop {
        tokio::select! {
            Some(batch) = changes.next() => {
                for change in &batch {
                    print(change)?;
                }
            }
            interrupted = tokio::signal::ctrl_c() => return Ok(interrupted?),
            else => return Ok(()),
        }
    }
}

/// Asks for something, and says that it was asked for: whether it is done, the other commands show.
async fn ask(cli: &Cli, admin: &Admin, request: &Command) -> Result<(), Failure> {
    let name = |member: &str| InstanceId::new(member);
    let unknown = unknown(admin, request).await?;
    let (text, document) = match request {
        Command::Drain { member } => {
            admin.drain(&name(member)?).await?;
            (
                format!("{member} is to be emptied, and gets nothing"),
                json!({"asked": "drain", "member": member}),
            )
        }
        Command::Undrain { member } => {
            let was = admin.undrain(&name(member)?).await?;
            (was_or_not(was, member, "drained"), json!({"asked": "undrain", "member": member, "was": was}))
        }
        Command::Pin { key, member } => {
            admin.pin(key, &name(member)?).await?;
            let text = format!("{key} is to be with {member} whenever {member} may have it");
            (text, json!({"asked": "pin", "task": key, "member": member}))
        }
        Command::Unpin { key } => {
            let was = admin.unpin(key).await?;
            (was_or_not(was, key, "pinned"), json!({"asked": "unpin", "task": key, "was": was}))
        }
        Command::Freeze => {
            admin.freeze().await?;
            ("what runs stays where it runs".to_owned(), json!({"asked": "freeze"}))
        }
        Command::Unfreeze => {
            let was = admin.unfreeze().await?;
            (was_or_not(was, "the group", "frozen"), json!({"asked": "unfreeze", "was": was}))
        }
        Command::Trigger => {
            admin.trigger().await?;
            ("the leader is to ask the provider and to plan anew".to_owned(), json!({"asked": "trigger"}))
        }
        Command::Evict { member, dead: true, .. } => {
            let incarnation = admin.declare_dead(&name(member)?).await?;
            let text = format!("session {incarnation} of {member} has ended, and its tasks go to others");
            (text, json!({"asked": "evict", "dead": true, "member": member, "incarnation": incarnation}))
        }
        Command::DeleteGroup { .. } => {
            let records = admin.delete_group().await?;
            (
                format!("the group is deleted: {records} records"),
                json!({"asked": "delete-group", "records": records}),
            )
        }
        Command::Evict { member, .. } => {
            let incarnation = admin.evict(&name(member)?).await?;
            let text = format!("{member} is to stop everything and to end session {incarnation}");
            (text, json!({"asked": "evict", "member": member, "incarnation": incarnation}))
        }
        Command::ForceRelease { key, .. } => {
            let released = admin.force_release(key).await?;
            let (member, token) = (&released.member, released.token);
            let text =
                format!("{key} (token {token}) counts as released by {member}, and goes to somebody else");
            let about = with(json!(released), "task", json!(key));
            (text, with(about, "asked", json!("force-release")))
        }
        Command::Members
        | Command::Tasks { .. }
        | Command::Show { .. }
        | Command::Explain { .. }
        | Command::Watch => return Ok(()),
    };
    for words in &unknown {
        print::say(words);
    }
    match cli.output {
        Output::Table => print::line(&one_line(&text)),
        Output::Json => print::json(&with(document, "unknown", json!(unknown))),
    }
}

/// What a request names that is not there now. It is asked for all the same, as it may be there later; a name with a slip in
/// it is seen by that.
async fn unknown(admin: &Admin, request: &Command) -> Result<Vec<String>, Failure> {
    let (member, key) = match request {
        Command::Drain { member } => (Some(member), None),
        Command::Pin { key, member } => (Some(member), Some(key)),
        _ => return Ok(Vec::new()),
    };
    let state = admin.read().await?;
    let members: Vec<String> = state.members().into_iter().map(ToString::to_string).collect();
    let mut unknown = Vec::new();
    if let Some(member) = member.filter(|member| !members.contains(member)) {
        unknown.push(format!("{member} is no member of the group now; members are: {}", members.join(", ")));
    }
    if let Some(key) = key.filter(|key| state.place(key).is_none()) {
        unknown.push(format!("nobody has a task {key:?} now; lrmf tasks lists them"));
    }
    Ok(unknown)
}

fn was_or_not(was: bool, what: &str, state: &str) -> String {
    if was { format!("{what} is no longer {state}") } else { format!("{what} was not {state}") }
}

fn with(mut document: Value, name: &str, value: Value) -> Value {
    document[name] = value;
    document
}
