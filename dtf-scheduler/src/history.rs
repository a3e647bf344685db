//! Deletes the rows of tasks that ended long ago, with their failures.
//!
//! # The problem
//! Every task leaves a row, and up to a thousand failures with their bodies. Nothing else ever takes them away, and lists, backups and
//! indexes grow with them. Which tasks may go is a matter of their group and type, so there are rules; the first one that fits a
//! group and type is theirs.
//!
//! One process deletes, the holder of the first watch bucket, in small batches, and at most half of the time.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use dtf_model::table::{HistoryOf, Keep, TaskTable};
use dtf_model::{StoreError, TaskTypeId};
use lrmf_core::Clock;
use lrmf_core::config::text;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// The period of looks through the history of all groups and types.
const PERIOD: Duration = Duration::from_secs(600);
/// The most tasks that are deleted at a time.
const BATCH: u32 = 200;
/// The shortest pause between two batches.
const PAUSE: Duration = Duration::from_millis(10);

/// A rule that cannot be read, in one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the rule of history {rule:?} {why}; allowed is, as in \"group=billing type=7 age=720h number=100000\": group and type (where they \
         are not given, all), age (how long ago a task may have ended to be kept) and number (how many are kept at most)"
)]
pub struct BadRule {
    rule: String,
    why: String,
}

/// The part of the history of some groups and types that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HistoryRule {
    /// The group that it is for; none for all.
    pub group: Option<String>,
    /// The type that it is for; none for all.
    pub task_type: Option<TaskTypeId>,
    /// Tasks that ended longer ago go; none for no limit.
    pub age: Option<Duration>,
    /// The number of tasks of a group and type that are kept; none for no limit.
    pub number: Option<u64>,
}

impl HistoryRule {
    /// A rule for everything that keeps what ended within this span.
    pub const fn within(age: Duration) -> Self {
        Self { group: None, task_type: None, age: Some(age), number: None }
    }

    fn is_for(&self, of: &HistoryOf) -> bool {
        self.group.as_ref().is_none_or(|group| *group == of.group)
            && self.task_type.is_none_or(|task_type| task_type == of.task_type)
    }
}

impl FromStr for HistoryRule {
    type Err = BadRule;

    fn from_str(rule: &str) -> Result<Self, BadRule> {
        let bad = |why: String| BadRule { rule: rule.to_owned(), why };
        let mut read = Self { group: None, task_type: None, age: None, number: None };
        for part in rule.split_whitespace() {
            let (name, value) = part.split_once('=').ok_or_else(|| bad(format!("has {part:?} in it")))?;
            let wrong = || bad(format!("has {value:?} as its {name}"));
            match name {
                "group" => read.group = Some(value.to_owned()),
                "type" => read.task_type = Some(TaskTypeId(value.parse().map_err(|_| wrong())?)),
                "age" => read.age = Some(text::parse(value).map_err(|_| wrong())?),
                "number" => {
                    let number = value.parse().ok().filter(|number| *number > 0);
                    read.number = Some(number.ok_or_else(wrong)?);
                }
                _ => return Err(bad(format!("has a {name}"))),
            }
        }
        Ok(read)
    }
}

impl TryFrom<String> for HistoryRule {
    type Error = BadRule;

    fn try_from(rule: String) -> Result<Self, BadRule> {
        rule.parse()
    }
}

impl From<HistoryRule> for String {
    fn from(rule: HistoryRule) -> Self {
        let parts = [
            rule.group.map(|group| format!("group={group}")),
            rule.task_type.map(|task_type| format!("type={}", task_type.0)),
            rule.age.map(|age| format!("age={}", text::show(age))),
            rule.number.map(|number| format!("number={number}")),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }
}

/// The rules of which the first one that fits counts. What none fits is kept for ever.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HistoryPolicy(pub Vec<HistoryRule>);

/// Thirty days of everything.
impl Default for HistoryPolicy {
    fn default() -> Self {
        Self(vec![HistoryRule::within(Duration::from_secs(30 * 24 * 3600))])
    }
}

impl HistoryPolicy {
    /// The part of a history that is kept at this time, in milliseconds since the Unix epoch; none for all of it.
    pub fn keep(&self, of: &HistoryOf, now: u64) -> Option<Keep> {
        let rule = self.0.iter().find(|rule| rule.is_for(of))?;
        let since = |age: Duration| now.saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        let keep = Keep { ended_since: rule.age.map(since), newest: rule.number };
        Some(keep).filter(|keep| *keep != Keep::default())
    }
}

/// Deletes what the policy does not keep.
pub(crate) struct History {
    policy: HistoryPolicy,
    table: Arc<dyn TaskTable>,
    clock: Arc<dyn Clock>,
}

impl History {
    pub(crate) fn new(policy: HistoryPolicy, table: Arc<dyn TaskTable>, clock: Arc<dyn Clock>) -> Self {
        Self { policy, table, clock }
    }

    /// Deletes again and again until told to stop, for the holder of the first bucket.
    pub(crate) async fn run(&self, bucket: u32, stop: &CancellationToken) {
        if bucket != 0 {
            return;
        }
        let mut period = tokio::time::interval(PERIOD);
        period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let deleting = async {
            loop {
                period.tick().await;
                match self.delete().await {
                    Ok(0) => {}
                    Ok(tasks) => info!(tasks, "history deleted"),
                    Err(error) => warn!(%error, "history not deleted"),
                }
            }
        };
        // A statement that is dropped was done or not, and is as good either way.
        stop.run_until_cancelled(deleting).await;
    }

    /// Looks through all groups and types once. Returns the number of tasks deleted.
    async fn delete(&self) -> Result<u64, StoreError> {
        let (mut deleted, mut after) = (0, None);
        while let Some(of) = self.table.next_history(after.as_ref()).await? {
            while let Some(keep) = self.policy.keep(&of, self.clock.unix_millis()) {
                let begun = Instant::now();
                let batch = self.table.forget(&of, keep, BATCH).await?;
                deleted += batch;
                if batch < u64::from(BATCH) {
                    break;
                }
                tokio::time::sleep(begun.elapsed().max(PAUSE)).await;
            }
            after = Some(of);
        }
        Ok(deleted)
    }
}

#[cfg(test)]
mod tests {
    use dtf_memory::MemoryTable;
    use dtf_model::table::{Finish, NewTask};
    use dtf_model::{Counts, RunEpoch, TaskParam, TaskStatus};
    use lrmf_core::clock::RuntimeClock;
    use uuid::Uuid;

    use super::*;

    async fn ended(table: &MemoryTable, task_type: u32) {
        let task = NewTask {
            request: Uuid::new_v4(),
            task_type: TaskTypeId(task_type),
            param: TaskParam::default(),
            now: 0,
        };
        let id = table.insert(&task).await.expect("a new task");
        let finish = Finish {
            run: RunEpoch(0),
            status: TaskStatus::Cancelled,
            counts: Counts::default(),
            reason: String::new(),
            result: None,
            now: u64::from(task_type) * 1000,
        };
        assert!(table.finish(id, &finish).await.expect("the table is there"));
        table.purged(id).await.expect("the table is there");
    }

    #[tokio::test(start_paused = true)]
    async fn the_holder_of_the_first_bucket_deletes_what_has_come_of_age() {
        let table = Arc::new(MemoryTable::new());
        for task_type in 1..=3 {
            for _ in 0..BATCH + 1 {
                ended(&table, task_type).await;
            }
        }
        let policy =
            HistoryPolicy(["type=2 number=1000", "age=1s"].map(|rule| rule.parse().expect(rule)).to_vec());
        let history = History::new(policy, table.clone(), Arc::new(RuntimeClock::new()));
        let left = async || {
            let rows = table.list(&dtf_model::table::TaskFilter::default(), None, 10_000).await;
            let rows = rows.expect("the table is there");
            (1..=3).map(|kind| rows.iter().filter(|row| row.task_type.0 == kind).count()).collect::<Vec<_>>()
        };
        let all = BATCH as usize + 1;
        let stop = CancellationToken::new();
        tokio::time::sleep(PERIOD).await;
        history.run(1, &stop).await;
        assert_eq!(left().await, [all; 3]);
        tokio::select! {
            () = history.run(0, &stop) => {}
            () = tokio::time::sleep(PERIOD / 2) => {}
        }
        assert_eq!(left().await, [0, all, 0]);
    }

    fn of(group: &str, task_type: u32) -> HistoryOf {
        HistoryOf { group: group.to_owned(), task_type: TaskTypeId(task_type) }
    }

    #[test]
    fn the_first_rule_that_fits_counts() {
        let rules = ["group=a type=7 number=10", "group=a", "type=7 age=1h", "age=2h number=5"];
        let policy = HistoryPolicy(rules.iter().map(|rule| rule.parse().expect(rule)).collect());
        let hour = 3_600_000;
        let keep = |ended_since: Option<u64>, newest| Some(Keep { ended_since, newest });
        assert_eq!(policy.keep(&of("a", 7), 5 * hour), keep(None, Some(10)));
        assert_eq!(policy.keep(&of("a", 8), 5 * hour), None);
        assert_eq!(policy.keep(&of("b", 7), 5 * hour), keep(Some(4 * hour), None));
        assert_eq!(policy.keep(&of("b", 8), 5 * hour), keep(Some(3 * hour), Some(5)));
        assert_eq!(policy.keep(&of("b", 8), hour), keep(Some(0), Some(5)));
        assert_eq!(HistoryPolicy(Vec::new()).keep(&of("a", 1), hour), None);
    }

    #[test]
    fn thirty_days_are_kept_by_default() {
        let (day, now) = (24 * 3_600_000, 1_800_000_000_000);
        let keep = HistoryPolicy::default().keep(&of("a", 1), now);
        assert_eq!(keep, Some(Keep { ended_since: Some(now - 30 * day), newest: None }));
    }

    #[test]
    fn a_rule_is_written_as_it_is_read() {
        for (rule, written) in [
            ("group=a type=7 age=720h number=10", "group=a type=7 age=2592000s number=10"),
            ("age=90s", "age=90s"),
            ("", ""),
        ] {
            let read = rule.parse::<HistoryRule>().expect(rule);
            assert_eq!(String::from(read.clone()), written);
            assert_eq!(written.parse::<HistoryRule>().expect(written), read);
        }
        for rule in ["group", "type=x", "age=1", "number=0", "color=red"] {
            let refused = rule.parse::<HistoryRule>().expect_err(rule).to_string();
            assert!(refused.contains(rule) && refused.contains("allowed is"), "{refused}");
        }
    }
}
