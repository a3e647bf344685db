//! A schedule as its user describes it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::Calendar;
use crate::error::InvalidInput;
use crate::flow::{FlowDefinition, FlowTask, NewFlow, NewMember, define};
use crate::ids::TaskTypeId;
use crate::param::TaskParam;
use crate::text::{MAX_DESCRIPTION_CHARS, MAX_NAME_CHARS, check_length};

/// The catch-up window of a schedule that names none.
pub const DEFAULT_CATCH_UP: Duration = Duration::from_secs(3600);
/// The longest catch-up window.
pub const MAX_CATCH_UP: Duration = Duration::from_secs(366 * 24 * 3600);
/// The longest jitter.
pub const MAX_JITTER: Duration = Duration::from_secs(24 * 3600);

/// Stands for the due time in texts of a template's parameter: RFC 3339, with the offset of the schedule's zone.
const DUE: &str = "{{due}}";
/// Stands for the due time in milliseconds since the Unix epoch; a text that is nothing else becomes a number.
const DUE_MS: &str = "{{due_ms}}";

/// The treatment of a due time while a task of the schedule has not ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// No task is created.
    #[default]
    Skip,
    /// One due time waits for the end of the task; further ones are skipped.
    QueueOne,
    /// A task is created beside the other ones.
    Allow,
    /// The task is cancelled. The due time waits for its end, and is replaced by a later one that comes meanwhile.
    CancelOther,
}

impl Overlap {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Skip, Self::QueueOne, Self::Allow, Self::CancelOther];

    /// The name, as users write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::QueueOne => "queue_one",
            Self::Allow => "allow",
            Self::CancelOther => "cancel_other",
        }
    }
}

/// The most tasks of a flow that a schedule creates.
pub const MAX_TEMPLATE_TASKS: usize = 200;

/// The description of what a due time creates. In the texts of parameters of types, `{{due}}` and `{{due_ms}}` stand for the due time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Template {
    /// A task.
    Task {
        /// The type.
        task_type: TaskTypeId,
        /// The parameters.
        param: Box<TaskParam>,
    },
    /// A flow.
    Flow {
        /// The name for people.
        name: String,
        /// The tasks by their local names.
        tasks: FlowDefinition,
    },
}

impl Template {
    /// Returns the creation for a due time: a flow, or a single task that is in none. The task that stands for it is its first one.
    ///
    /// # Errors
    /// The tasks of the flow cannot be put in order; [`ScheduleSpec::check`] has said so before.
    pub fn creation(
        &self,
        request: Uuid,
        calendar: &Calendar,
        due: u64,
        now: u64,
    ) -> Result<NewFlow, InvalidInput> {
        let text = calendar.rfc3339(due);
        let fill = |param: &TaskParam| TaskParam {
            type_param: filled(&param.type_param, &text, due),
            ..param.clone()
        };
        let (name, members) = match self {
            Self::Task { task_type, param } => {
                let (task_type, param) = (*task_type, fill(param));
                (None, vec![NewMember { name: String::new(), task_type, param, after: Vec::new() }])
            }
            Self::Flow { name, tasks } => {
                let fill = |(name, task): (&String, &FlowTask)| {
                    (name.clone(), FlowTask { param: fill(&task.param), ..task.clone() })
                };
                (Some(name.clone()), define(tasks.iter().map(fill).collect())?)
            }
        };
        Ok(NewFlow { request, name, retry_of: None, members, now })
    }

    /// Returns the types and parameters of its tasks.
    pub fn params(&mut self) -> Vec<(&mut TaskTypeId, &mut TaskParam)> {
        match self {
            Self::Task { task_type, param } => vec![(task_type, &mut **param)],
            Self::Flow { tasks, .. } => {
                tasks.values_mut().map(|task| (&mut task.task_type, &mut task.param)).collect()
            }
        }
    }

    fn check(&self, calendar: &Calendar) -> Result<(), InvalidInput> {
        let creation = self.creation(Uuid::nil(), calendar, 0, 0)?;
        if creation.members.len() > MAX_TEMPLATE_TASKS {
            let number = creation.members.len();
            let why = format!("the flow of a schedule has {number} tasks; allowed are {MAX_TEMPLATE_TASKS}");
            return Err(InvalidInput::Schedule(why));
        }
        if creation.members.iter().any(|member| member.param.start_at.is_some()) {
            let why = "a task of a schedule has a start time; leave it out, the schedule says when it starts";
            return Err(InvalidInput::Schedule(why.to_owned()));
        }
        creation.check()
    }
}

/// A parameter with the due time in its texts.
fn filled(value: &Value, due: &str, millis: u64) -> Value {
    match value {
        Value::String(text) if text == DUE_MS => Value::from(millis),
        Value::String(text) => Value::from(text.replace(DUE, due).replace(DUE_MS, &millis.to_string())),
        Value::Array(items) => items.iter().map(|item| filled(item, due, millis)).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(name, field)| (name.clone(), filled(field, due, millis))).collect()
        }
        other => other.clone(),
    }
}

/// A schedule, as its user describes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScheduleSpec {
    /// The name; no two schedules have the same.
    pub name: String,
    /// The purpose, for people; may be empty.
    #[serde(default)]
    pub description: String,
    /// The expression: cron of 5 or 6 fields, a name such as `@daily`, or an interval such as `@every 90s`.
    pub when: String,
    /// The time zone in which the expression is read, by its name in the IANA database.
    pub zone: String,
    /// The description of what a due time creates.
    pub template: Template,
    /// The treatment of a due time while a task of the schedule has not ended.
    #[serde(default)]
    pub overlap: Overlap,
    /// The catch-up window: due times up to this long ago still create tasks. Older ones are missed.
    #[serde(with = "crate::millis")]
    pub catch_up: Duration,
    /// The spread: each due time is put off by a span below this one, which depends on schedule and due time only. Default none.
    #[serde(with = "crate::millis")]
    pub jitter: Duration,
    /// The beginning: no due time is earlier. Intervals are counted from it, else from the creation. In milliseconds since the
    /// Unix epoch.
    #[serde(default)]
    pub start_at: Option<u64>,
    /// The end: no due time is later. In milliseconds since the Unix epoch.
    #[serde(default)]
    pub end_at: Option<u64>,
}

impl ScheduleSpec {
    /// Checks everything that does not depend on the type of the task. Returns the due times.
    ///
    /// # Errors
    /// The first thing that is wrong, and what is allowed.
    pub fn check(&self) -> Result<Calendar, InvalidInput> {
        check_length("the schedule's name", &self.name, MAX_NAME_CHARS)?;
        check_length("the description", &self.description, MAX_DESCRIPTION_CHARS)?;
        if self.name.is_empty() {
            return Err(InvalidInput::Empty("the schedule's name"));
        }
        if self.name.trim() != self.name || self.name.contains(|c: char| c.is_control() || c == '/') {
            return Err(InvalidInput::OutOfRange {
                what: "the schedule's name",
                got: format!("{:?}", self.name),
                allowed: "a name without spaces at its ends, slashes and control characters".to_owned(),
            });
        }
        let within = |what, span: Duration, most: Duration, allowed: &str| match span > most {
            true => {
                Err(InvalidInput::OutOfRange { what, got: format!("{span:?}"), allowed: allowed.to_owned() })
            }
            false => Ok(()),
        };
        within("the catch-up window", self.catch_up, MAX_CATCH_UP, "up to 366 days")?;
        within("the jitter", self.jitter, MAX_JITTER, "up to 24 hours")?;
        if let (Some(start), Some(end)) = (self.start_at, self.end_at)
            && end < start
        {
            return Err(InvalidInput::Schedule(
                "the schedule ends before it begins; give it an end behind its start".to_owned(),
            ));
        }
        let calendar = self.calendar()?;
        self.template.check(&calendar)?;
        Ok(calendar)
    }

    /// Returns the due times.
    ///
    /// # Errors
    /// [`InvalidInput::Schedule`], as [`Calendar::parse`] says it.
    pub fn calendar(&self) -> Result<Calendar, InvalidInput> {
        Calendar::parse(&self.when, &self.zone)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(when: &str) -> ScheduleSpec {
        let param = TaskParam {
            type_param: json!({"day": "of {{due}}", "at": "{{due_ms}}", "n": [1, "x"]}),
            ..TaskParam::default()
        };
        ScheduleSpec {
            name: "nightly".to_owned(),
            description: String::new(),
            when: when.to_owned(),
            zone: "Europe/Berlin".to_owned(),
            template: Template::Task { task_type: TaskTypeId(1), param: Box::new(param) },
            overlap: Overlap::Skip,
            catch_up: DEFAULT_CATCH_UP,
            jitter: Duration::ZERO,
            start_at: None,
            end_at: None,
        }
    }

    #[test]
    fn the_due_time_is_filled_into_texts() {
        let spec = spec("@daily");
        let calendar = spec.check().unwrap();
        let creation = spec.template.creation(Uuid::nil(), &calendar, 1_774_746_000_000, 0).unwrap();
        let param = &creation.members[0].param;
        let expected =
            json!({"day": "of 2026-03-29T03:00:00+02:00", "at": 1_774_746_000_000_u64, "n": [1, "x"]});
        assert_eq!(param.type_param, expected);
    }

    #[test]
    fn what_is_wrong_is_said_in_one_line() {
        let said = |spec: &ScheduleSpec| spec.check().unwrap_err().to_string();
        let with = |change: &dyn Fn(&mut ScheduleSpec)| {
            let mut spec = spec("@daily");
            change(&mut spec);
            said(&spec)
        };
        assert!(with(&|spec| spec.when = "0 0 30 2 *".into()).contains("is never due"));
        assert!(with(&|spec| spec.when = "0 0 31 4,6,9,11 *".into()).contains("is never due"));
        assert!(with(&|spec| spec.zone = "Mars/Olympus".into()).contains("Mars/Olympus"));
        assert!(with(&|spec| spec.name = String::new()).contains("empty"));
        assert!(with(&|spec| spec.name = "a/b".into()).contains("slashes"));
        assert!(with(&|spec| spec.jitter = MAX_JITTER * 2).contains("24 hours"));
        assert!(with(&|spec| (spec.start_at, spec.end_at) = (Some(2), Some(1))).contains("before it begins"));
        for when in [
            "",
            "* * *",
            "61 * * * *",
            "@sometimes",
            "@every",
            "@every 0s",
            "@every 1ms",
            "@every x",
            "* * * * * * 2030",
            "every day",
        ] {
            let line = with(&|spec| spec.when = when.into());
            assert!(line.contains("@every 90s") || line.contains("1s to 366 days"), "{when}: {line}");
            assert!(!line.contains('\n'), "{line}");
        }
    }
}
