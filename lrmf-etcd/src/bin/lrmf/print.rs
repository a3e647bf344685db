//! Tables for people, JSON for scripts.

use std::io::Write;

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use lrmf_core::GroupMode;
use lrmf_core::admin::{Change, Explanation, GroupState, MemberView, TaskView};
use lrmf_core::text::one_line;
use serde::Serialize;
use serde_json::{Value, json};

use crate::failure::Failure;

/// Writes a line to standard output.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

/// Says something to people, in one line of standard error. Where nobody can be told, the exit code has to do.
pub(crate) fn say(words: &str) {
    let words = words.replace('\n', " ");
    writeln!(std::io::stderr(), "lrmf: {}", one_line(&words)).unwrap_or_default();
}

/// Writes one JSON value on one line.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    line(&serde_json::to_string(value).map_err(Failure::failed)?)
}

/// The group in a few words.
pub(crate) fn summary(state: &GroupState) -> Value {
    json!({
        "revision": state.revision.0,
        "generation": state.generation,
        "leader": state.leader.as_ref().map(|leader| &leader.instance),
        "assignor": state.leader.as_ref().map(|leader| &leader.assignor),
        "mode": state.mode,
        "frozen": state.freeze.is_some(),
        "troubles": state.leader.as_ref().map(|leader| &leader.troubles).filter(|troubles| !troubles.is_empty()),
    })
}

/// The same for people.
pub(crate) fn headline(state: &GroupState, what: &str) -> String {
    let leader = match &state.leader {
        Some(leader) => format!("led by {} with {}", leader.instance, leader.assignor),
        None => "without a leader now".to_owned(),
    };
    let generation = state.generation.map(|generation| generation.to_string());
    let mode = match state.mode {
        GroupMode::Exclusive => String::new(),
        mode => format!(", mode {mode}"),
    };
    let frozen = if state.freeze.is_some() { ", frozen" } else { "" };
    let head =
        format!("{what}; generation {}, {leader}{mode}{frozen}", generation.as_deref().unwrap_or("none"));
    let troubles = state.leader.as_ref().map(|leader| leader.troubles.clone()).unwrap_or_default();
    let lines = [
        troubles
            .provider
            .map(|why| format!("the provider fails, and its last good list is in effect: {why}")),
        troubles
            .assignor
            .map(|why| format!("the assignor fails, and its last good plan is in effect: {why}")),
    ];
    let lines = lines.into_iter().flatten().map(|line| format!("\n{}", one_line(&line)));
    head + &lines.collect::<String>()
}

fn table(head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(head.iter().copied());
    for row in rows {
        table.add_row(row.iter().map(|cell| one_line(cell).into_owned()));
    }
    table.trim_fmt()
}

/// A value in lower case, as it is in JSON.
pub(crate) fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(text)) => text,
        Ok(Value::Null) | Err(_) => String::new(),
        Ok(other) => other.to_string(),
    }
}

/// A list of members.
pub(crate) fn members(members: &[MemberView]) -> String {
    let head = ["MEMBER", "STATE", "TASKS", "RELEASING", "FAILED", "CAPACITY", "ZONE", "NOTES"];
    table(
        &head,
        members.iter().map(|member| {
            let notes = [
                (member.leads, "leads"),
                (member.drained, "drained"),
                (member.evicted, "evicted"),
                (member.successor, "has a successor"),
                (member.silent, "out of contact"),
            ];
            let mut notes: Vec<_> = notes.into_iter().filter_map(|(is, note)| is.then_some(note)).collect();
            let barred = member.barred.map(|barred| format!("no tasks: {barred}"));
            notes.extend(barred.as_deref());
            vec![
                member.member.to_string(),
                word(&member.state),
                member.tasks.to_string(),
                member.releasing.to_string(),
                member.failed.to_string(),
                member.capacity.to_string(),
                member.zone.as_deref().unwrap_or_default().to_owned(),
                notes.join(", "),
            ]
        }),
    )
}

/// A list of tasks.
pub(crate) fn tasks(tasks: &[TaskView]) -> String {
    let head = ["TASK", "MEMBER", "STATE", "SINCE GENERATION", "WHY", "PINNED TO"];
    table(
        &head,
        tasks.iter().map(|task| {
            vec![
                task.key.to_string(),
                task.member.to_string(),
                word(&task.state),
                task.token.to_string(),
                word(&task.cause),
                task.pinned_to.as_ref().map(ToString::to_string).unwrap_or_default(),
            ]
        }),
    )
}

/// One task, a property a line.
pub(crate) fn task(task: &TaskView) -> String {
    let properties = serde_json::to_value(task).ok();
    let properties = properties.as_ref().and_then(Value::as_object).into_iter().flatten();
    let shown = properties
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| vec![name.replace('_', " "), word(value)]);
    let mut table = Table::new();
    table.load_style(NOTHING);
    for row in shown {
        table.add_row(row.iter().map(|cell| one_line(cell).into_owned()));
    }
    table.trim_fmt()
}

/// Why a task is where it is.
pub(crate) fn explanation(explanation: &Explanation) -> String {
    let head = match &explanation.task {
        Some(task) => format!("{}: {} at {}, token {}", task.key, word(&task.state), task.member, task.token),
        None => format!("{}: nowhere", explanation.key),
    };
    let reasons = explanation.reasons.iter().map(|reason| format!("\n  - {}", one_line(&reason.to_string())));
    std::iter::once(one_line(&head).into_owned()).chain(reasons).collect()
}

/// A change in one line.
pub(crate) fn change(change: &Change) -> String {
    match change {
        Change::Leader { member: Some(member) } => format!("leader {member}"),
        Change::Leader { member: None } => "leader gone".to_owned(),
        Change::Member { member, state, .. } => format!("member {member} {}", word(state)),
        Change::Task { key, member: None, from, .. } => {
            let from = from.as_ref().map(|from| format!(" from {from}")).unwrap_or_default();
            format!("task {key} out of all records{from}")
        }
        Change::Task { key, member: Some(member), from, token, state, cause, .. } => {
            let from = from.as_ref().map(|from| format!(" from {from}")).unwrap_or_default();
            let token = token.map(|token| token.to_string()).unwrap_or_default();
            format!("task {key} {} at {member}{from}, token {token} ({})", word(state), word(cause))
        }
        Change::Control { control, about, wanted } => {
            let about = about.as_ref().map(|about| format!(" {about}")).unwrap_or_default();
            format!("operator {control}{about}{}", if *wanted { "" } else { " taken back" })
        }
    }
}
