//! Small tasks aggregated to groups: the provider that builds the groups, and the runner that works on one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use async_trait::async_trait;
use lrmf_core::task::MAX_VALUE_BYTES;
use lrmf_core::{Held, RunTask, Task, TaskProvider, Token};
use tokio::time::MissedTickBehavior;

use crate::hash::bucket_of;

/// The groups that these small tasks form: a task for each group that is not empty, its value the list of its small tasks
/// and its weight their number. A small task's group depends on its name alone, so that one small task more changes
/// one group and no other.
///
/// # Errors
/// A name that is there twice; a group whose list does not fit into a task's value.
pub(crate) fn aggregate<'a>(
    names: impl IntoIterator<Item = &'a str>,
    groups: u32,
) -> anyhow::Result<Vec<Task>> {
    let mut lists: BTreeMap<u32, BTreeSet<&str>> = BTreeMap::new();
    for name in names {
        let new = lists.entry(bucket_of(name, groups)).or_default().insert(name);
        ensure!(new, "the small task {name:?} is there twice");
    }
    let group = |(number, list): (u32, BTreeSet<&str>)| {
        let value = serde_json::to_string(&list)?;
        let bytes = value.len();
        ensure!(
            bytes <= MAX_VALUE_BYTES,
            "the list of group {number} has {bytes} bytes, above {MAX_VALUE_BYTES}: use more groups than {groups}"
        );
        let weight = u32::try_from(list.len()).unwrap_or(u32::MAX);
        Ok(Task::new(format!("group-{number:05}"), value).with_weight(weight))
    };
    lists.into_iter().map(group).collect()
}

/// The small tasks of a group, from the value that [`aggregate`] gave it.
///
/// # Errors
/// The value is another's.
pub(crate) fn members_of(group: &Task) -> anyhow::Result<Vec<String>> {
    serde_json::from_str(&group.value).context("no group of this example")
}

/// Reads the small tasks from a file with a name a line, anew each time it is asked.
#[derive(Clone, Debug)]
pub(crate) struct ListedTasks {
    /// The file.
    pub(crate) path: PathBuf,
    /// The number of groups that they form. All members need the same number.
    pub(crate) groups: u32,
}

#[async_trait]
impl TaskProvider for ListedTasks {
    async fn tasks(&self) -> anyhow::Result<Vec<Task>> {
        let text = tokio::fs::read_to_string(&self.path).await;
        let text = text.with_context(|| format!("cannot read {}", self.path.display()))?;
        aggregate(text.lines().map(str::trim).filter(|name| !name.is_empty()), self.groups)
    }
}

/// Works on the small tasks of each held group, one after the other and round after round, in one tokio task a group.
pub(crate) struct GroupRunner<W> {
    /// The time between the beginnings of two rounds.
    pub(crate) period: Duration,
    /// What is done for a small task. An error is the small task's own: the others go on, and its next turn comes.
    pub(crate) work: W,
}

/// What is done for a small task each time that its turn comes.
#[async_trait]
pub(crate) trait Work: Send + Sync + 'static {
    /// Does it. The token is that of the group: give it to the stores that are written to.
    ///
    /// # Errors
    /// Whatever keeps it from doing so; it is reported and tried again in the next round.
    async fn work(&self, name: &str, token: Token) -> anyhow::Result<()>;
}

#[async_trait]
impl<W: Work> RunTask for GroupRunner<W> {
    async fn run(&self, held: Held) -> anyhow::Result<()> {
        let names = members_of(&held.task)?;
        let mut rounds = tokio::time::interval(self.period);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while held.stop.run_until_cancelled(rounds.tick()).await.is_some() {
            for name in &names {
                if !held.may_work() {
                    break;
                }
                if let Err(error) = self.work.work(name, held.token).await {
                    eprintln!("{name} failed, and is tried again: {error:#}");
                }
            }
        }
        Ok(())
    }
}
