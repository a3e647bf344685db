//! The framework's types as the API has them, and back.

use std::time::Duration;

use dtf_api as api;
use dtf_api::Code;
use dtf_control::{FailureKind, Pace, Progress, TaskStatusView};
use dtf_model::audit::{AuditEntry, AuditOutcome};
use dtf_model::defined_type::DefinedType;
use dtf_model::failure::Failure;
use dtf_model::group::ResourceGroup;
use dtf_model::limits::Limits;
use dtf_model::param::Creator;
use dtf_model::plugin::{PluginRegistry, TaskConf, TaskPluginRegistration, TaskResult};
use dtf_model::table::{BucketMapping, TaskRow};
use dtf_model::token::{ApiToken, TokenRole};
use dtf_model::unique::{Unique, UniqueWhile};
use dtf_model::{ClusterShape, Control, Counts, Priority, Role, TaskParam, TaskStatus, TaskTypeId};
use lrmf_core::admin::{MemberPhase, MemberView, TaskPhase};
use serde_json::value::RawValue;

use crate::hooks;
use crate::problem::Failed;

pub(crate) fn status(status: TaskStatus) -> api::TaskStatus {
    match status {
        TaskStatus::Created => api::TaskStatus::Created,
        TaskStatus::Running => api::TaskStatus::Running,
        TaskStatus::Paused => api::TaskStatus::Paused,
        TaskStatus::Cancelled => api::TaskStatus::Cancelled,
        TaskStatus::Completed => api::TaskStatus::Completed,
        TaskStatus::Exceptional => api::TaskStatus::Exceptional,
        TaskStatus::Skipped => api::TaskStatus::Skipped,
    }
}

/// The status of a task, as the framework has it.
pub fn model_status(status: api::TaskStatus) -> TaskStatus {
    match status {
        api::TaskStatus::Created => TaskStatus::Created,
        api::TaskStatus::Running => TaskStatus::Running,
        api::TaskStatus::Paused => TaskStatus::Paused,
        api::TaskStatus::Cancelled => TaskStatus::Cancelled,
        api::TaskStatus::Completed => TaskStatus::Completed,
        api::TaskStatus::Exceptional => TaskStatus::Exceptional,
        api::TaskStatus::Skipped => TaskStatus::Skipped,
    }
}

fn control(control: Control) -> api::TaskControl {
    match control {
        Control::Run => api::TaskControl::Run,
        Control::Pause => api::TaskControl::Pause,
        Control::Cancel => api::TaskControl::Cancel,
        Control::Abort => api::TaskControl::Abort,
    }
}

pub(crate) fn model_token_role(role: api::TokenRole) -> TokenRole {
    match role {
        api::TokenRole::Worker => TokenRole::Worker,
        api::TokenRole::Reader => TokenRole::Reader,
        api::TokenRole::Operator => TokenRole::Operator,
        api::TokenRole::Admin => TokenRole::Admin,
    }
}

fn token_role(role: TokenRole) -> api::TokenRole {
    match role {
        TokenRole::Worker => api::TokenRole::Worker,
        TokenRole::Reader => api::TokenRole::Reader,
        TokenRole::Operator => api::TokenRole::Operator,
        TokenRole::Admin => api::TokenRole::Admin,
    }
}

pub(crate) fn token(token: ApiToken) -> api::Token {
    let ApiToken { id, name, role, groups, types, created_at, created_by, expires_at, last_used, .. } = token;
    let role = token_role(role);
    api::Token { id, name, role, groups, types, created_at, created_by, expires_at, last_used }
}

pub(crate) fn audit_entry(entry: AuditEntry) -> api::AuditEntry {
    let AuditEntry { id, at, actor, address, action, target, detail, outcome, request } = entry;
    let outcome = match outcome {
        AuditOutcome::Intended => api::AuditOutcome::Intended,
        AuditOutcome::Done => api::AuditOutcome::Done,
        AuditOutcome::Refused => api::AuditOutcome::Refused,
        AuditOutcome::Unknown => api::AuditOutcome::Unknown,
    };
    api::AuditEntry { id, at, actor, address, action, target, detail, outcome, request }
}

fn limits(limits: Limits) -> api::Limits {
    api::Limits { running: limits.running, rate: limits.rate }
}

pub(crate) fn model_limits(limits: api::Limits) -> Limits {
    Limits { running: limits.running, rate: limits.rate }
}

fn counts(counts: Counts) -> api::Counts {
    let Counts { created, succeeded, failed, cancelled, timed_out } = counts;
    api::Counts { created, succeeded, failed, cancelled, timed_out }
}

fn progress(progress: &Progress, pace: Pace) -> api::Progress {
    api::Progress {
        counts: api::Counts {
            created: progress.created,
            succeeded: progress.succeeded,
            failed: progress.failed,
            cancelled: progress.cancelled,
            timed_out: progress.timed_out,
        },
        pending: progress.pending,
        delayed: progress.delayed,
        running: progress.running,
        generated: progress.generated,
        generator_share: progress.generator,
        rate: pace.rate,
        eta_ms: pace.eta_ms,
    }
}

fn result(result: TaskResult) -> api::TaskResult {
    let TaskResult { code, reason, data } = result;
    api::TaskResult { code, reason, data }
}

/// A task, as its row has it.
pub(crate) fn row(types: &PluginRegistry, row: TaskRow) -> api::Task {
    let task_type = types.name_of(row.task_type, &row.param);
    let param = types.given(row.task_type, &row.param).clone();
    let counts = counts(row.counts);
    let ended = api::Progress { counts, generated: true, ..api::Progress::default() };
    let TaskParam { name, description, creator, group, priority, timeout, start_at, retry_of, .. } =
        row.param;
    api::Task {
        id: row.id.0,
        task_type,
        name,
        description,
        creator: api::Creator { uid: creator.uid, name: creator.name },
        group,
        priority: priority.0,
        timeout_ms: millis(timeout),
        limits: limits(row.param.limits),
        start_at,
        retry_of: retry_of.map(|task| task.0),
        status: status(row.status),
        control: control(row.control),
        reason: row.reason,
        run: row.run.0,
        created_at: row.created_at,
        started_at: row.started_at,
        finished_at: row.finished_at,
        param,
        result: row.result.map(result),
        progress: row.status.is_terminal().then_some(ended),
        waits: row.waits,
        flow: row.flow.as_ref().map(|member| member.flow.0),
        flow_task: row.flow.map(|member| member.name),
        blocked_on: Vec::new(),
        hooks: row.hooks.into_iter().map(hooks::delivery).collect(),
    }
}

/// A task, with its progress.
pub(crate) fn view(types: &PluginRegistry, view: TaskStatusView) -> api::Task {
    let progress = progress(&view.progress(), view.pace);
    let blocked_on = view.blocked_on_in_words(types);
    let task = row(types, view.row);
    api::Task { progress: Some(progress), blocked_on, ..task }
}

pub(crate) fn task_param(task: api::NewTask) -> Result<TaskParam, Failed> {
    Ok(TaskParam {
        name: task.name,
        description: task.description,
        creator: Creator { uid: task.creator.uid, name: task.creator.name },
        group: task.group,
        priority: Priority(task.priority),
        timeout: Duration::from_millis(task.timeout_ms),
        start_at: task.start_at,
        limits: model_limits(task.limits),
        hooks: hooks::hooks(task.hooks)?,
        type_param: task.param,
        ..TaskParam::default()
    })
}

/// A task of the API that a description makes; the reverse of [`task_param`].
pub(crate) fn new_task(types: &PluginRegistry, task_type: TaskTypeId, param: TaskParam) -> api::NewTask {
    api::NewTask {
        task_type: types.name_of(task_type, &param),
        param: types.given(task_type, &param).clone(),
        name: param.name,
        description: param.description,
        creator: api::Creator { uid: param.creator.uid, name: param.creator.name },
        group: param.group,
        priority: param.priority.0,
        timeout_ms: millis(param.timeout),
        start_at: param.start_at,
        limits: api::Limits { running: param.limits.running, rate: param.limits.rate },
        after: Vec::new(),
        unique: None,
        hooks: param.hooks.into_iter().map(hooks::api_hook).collect(),
    }
}

pub(crate) fn unique(unique: &api::Unique) -> Result<Unique, Failed> {
    let scope = match (unique.scope, unique.period_ms) {
        (api::UniqueWhile::Pending, None) => UniqueWhile::Pending,
        (api::UniqueWhile::Running, None) => UniqueWhile::Running,
        (api::UniqueWhile::Period, Some(period)) => UniqueWhile::Period(Duration::from_millis(period)),
        _ => {
            return Err(Failed::invalid(
                "`period_ms` goes with `\"while\": \"period\"`, and with nothing else",
            ));
        }
    };
    Ok(Unique { key: unique.key.clone(), scope })
}

pub(crate) fn failure(failure: Failure) -> api::Failure {
    let (text, digits) = match failure.body.map(|body| String::from_utf8(body.to_vec())) {
        None => (None, None),
        Some(Ok(text)) if is_readable(&text) => (Some(text), None),
        Some(Ok(text)) => (None, Some(hex(text.as_bytes()))),
        Some(Err(error)) => (None, Some(hex(error.as_bytes()))),
    };
    api::Failure {
        epoch: failure.key.epoch.0,
        seq: failure.key.seq.0,
        timed_out: failure.timed_out,
        error: failure.error,
        body: text,
        body_hex: digits,
    }
}

pub(crate) fn failure_kind(kind: FailureKind) -> api::FailureKind {
    let FailureKind { pattern, timed_out, count, example, first } = kind;
    api::FailureKind { pattern, timed_out, count, example, epoch: first.epoch.0, seq: first.seq.0 }
}

/// Returns whether a text is one that people write: with no control characters but line breaks and tabs.
fn is_readable(text: &str) -> bool {
    !text.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn group(group: ResourceGroup) -> api::Group {
    let ResourceGroup { name, quota, limits: of, description, paused } = group;
    api::Group { name, quota, limits: limits(of), description, paused, measured: None }
}

/// A type that is compiled in.
pub fn task_type(registration: &TaskPluginRegistration, conf: &TaskConf) -> api::TaskType {
    api::TaskType {
        name: registration.name.clone(),
        number: registration.task_type.0,
        version: conf.version,
        description: registration.description.clone(),
        defined: false,
        max_attempts: conf.max_attempts,
        subtask_timeout_ms: millis(conf.subtask_timeout),
        schema: registration.plugin.schema(),
        definition: None,
    }
}

pub(crate) fn role(role: Role) -> api::Role {
    match role {
        Role::Manager => api::Role::Manager,
        Role::Generator => api::Role::Generator,
        Role::Scheduler => api::Role::Scheduler,
        Role::Executor => api::Role::Executor,
        Role::Collector => api::Role::Collector,
    }
}

pub(crate) fn model_role(role: api::Role) -> Role {
    match role {
        api::Role::Manager => Role::Manager,
        api::Role::Generator => Role::Generator,
        api::Role::Scheduler => Role::Scheduler,
        api::Role::Executor => Role::Executor,
        api::Role::Collector => Role::Collector,
    }
}

pub(crate) fn shape(shape: &ClusterShape) -> api::Shape {
    api::Shape {
        watch_buckets: shape.watch_buckets,
        generation_buckets: shape.generation_buckets,
        partitions: shape.partitions,
        shards: shape.shards,
        collection_buckets: shape.collection_buckets,
        by_remainder: shape.mapping == BucketMapping::Remainder,
    }
}

fn member_state(phase: MemberPhase) -> api::MemberState {
    match phase {
        MemberPhase::Active => api::MemberState::Active,
        MemberPhase::Draining => api::MemberState::Draining,
        MemberPhase::Restarting => api::MemberState::Restarting,
        MemberPhase::Gone => api::MemberState::Gone,
    }
}

/// A process as a member of a role's group.
pub fn member(of: Role, view: &MemberView) -> api::Member {
    api::Member {
        role: role(of),
        state: member_state(view.state),
        leads: view.leads,
        drained: view.drained,
        parts: view.tasks as u64,
        releasing: view.releasing as u64,
        successor: view.successor,
    }
}

/// A type that data defines.
///
/// # Errors
/// The program knows no type to define others by, or the name cannot be one.
pub fn defined_type(types: &PluginRegistry, defined: DefinedType) -> Result<api::TaskType, Failed> {
    let definable = types.definable()?;
    let number = types.number_of_defined(&defined.name)?;
    let like = task_type(definable, types.conf(definable.task_type)?);
    let DefinedType { name, version, description, schema, template, updated_at, updated_by } = defined;
    Ok(api::TaskType {
        name,
        number: number.0,
        version,
        description,
        defined: true,
        schema: Some(schema).filter(|schema| !schema.is_null()),
        definition: Some(api::Definition { template, updated_at, updated_by }),
        ..like
    })
}

pub(crate) fn holding_state(phase: TaskPhase) -> api::HoldingState {
    match phase {
        TaskPhase::Held => api::HoldingState::Held,
        TaskPhase::Failed => api::HoldingState::Failed,
        TaskPhase::Releasing => api::HoldingState::Releasing,
        TaskPhase::Stuck => api::HoldingState::Stuck,
        TaskPhase::Released => api::HoldingState::Released,
        TaskPhase::Waiting => api::HoldingState::Waiting,
        TaskPhase::Orphaned => api::HoldingState::Orphaned,
        TaskPhase::Unreached => api::HoldingState::Unreached,
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The JSON that an item or a result is, as it was written. `what` names it where it is something else.
pub(crate) fn json(body: &[u8], what: &str) -> Result<Box<RawValue>, Failed> {
    let read: Result<&RawValue, _> = serde_json::from_slice(body);
    read.map(ToOwned::to_owned)
        .map_err(|error| Failed::new(Code::Refused, format!("{what} is no JSON: {error}")))
}

/// A text with everything escaped that means something in a query.
pub(crate) fn percent(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use dtf_model::failure::FailureKey;
    use dtf_model::ids::{EmitEpoch, Seq};

    use super::*;

    #[test]
    fn a_body_is_shown_as_text_where_it_is_text() {
        let shown = |body: &'static [u8]| {
            let key = FailureKey { epoch: EmitEpoch(1), seq: Seq(2) };
            let shown = failure(Failure::new(key, false, "it broke", body.into()));
            (shown.body, shown.body_hex)
        };
        assert_eq!(shown("a\tb\nü".as_bytes()), (Some("a\tb\nü".to_owned()), None));
        assert_eq!(shown(&[0, 0x12]), (None, Some("0012".to_owned())));
        assert_eq!(shown(&[0xff]), (None, Some("ff".to_owned())));
    }
}
