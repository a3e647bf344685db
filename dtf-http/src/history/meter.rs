//! The difference between two looks at the tasks.

use std::collections::{BTreeMap, HashMap, HashSet};

use dtf_api as api;

/// The most groups that a point tells apart; the others are missing in shares.
const GROUPS: usize = 50;

/// The numbers of one group in a step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Numbers {
    /// Subtasks per second.
    pub(super) succeeded: f64,
    /// Subtasks per second that ended otherwise.
    pub(super) failed: f64,
    /// Subtasks that run.
    pub(super) running: f64,
    /// Subtasks that wait.
    pub(super) waiting: f64,
    /// The share of the quotas of the groups that have something to run.
    pub(super) quota_share: f64,
}

impl Numbers {
    pub(super) fn add(&mut self, other: &Self, factor: f64) {
        self.succeeded += other.succeeded * factor;
        self.failed += other.failed * factor;
        self.running += other.running * factor;
        self.waiting += other.waiting * factor;
        self.quota_share += other.quota_share * factor;
    }
}

/// A step of the past.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Point {
    /// The time at its end, in milliseconds since the Unix epoch.
    pub(super) at: u64,
    pub(super) groups: BTreeMap<String, Numbers>,
}

/// Measures from look to look.
#[derive(Debug, Default)]
pub(super) struct Meter {
    /// The time of the last look; none before the first.
    at: Option<u64>,
    /// The numbers of the tasks that were active then.
    active: HashMap<u64, api::Counts>,
    /// The tasks whose end is in the numbers.
    ended: HashSet<u64>,
}

fn failed(counts: &api::Counts) -> u64 {
    counts.failed + counts.timed_out + counts.cancelled
}

impl Meter {
    /// Returns the tasks that were active at the last look and are no more.
    pub(super) fn gone(&self, active: &[api::Task]) -> Vec<u64> {
        let there: HashSet<u64> = active.iter().map(|task| task.id).collect();
        let mut gone: Vec<_> = self.active.keys().copied().filter(|id| !there.contains(id)).collect();
        gone.sort_unstable();
        gone
    }

    /// Returns what has changed since the last look; none at the first one. `ended` may have tasks whose end is known already. `quotas` are
    /// those of the groups.
    pub(super) fn note(
        &mut self,
        now: u64,
        active: &[api::Task],
        ended: &[api::Task],
        quotas: &HashMap<String, u32>,
    ) -> Option<Point> {
        let elapsed = self.at.map(|at| now.saturating_sub(at)).filter(|elapsed| *elapsed > 0);
        let mut groups: BTreeMap<String, Numbers> = BTreeMap::new();
        if let Some(elapsed) = elapsed {
            let seconds = elapsed as f64 / 1000.0;
            // What ended between the look and the reading of its end comes with the next step.
            let there: HashSet<u64> = active.iter().map(|task| task.id).collect();
            let news =
                ended.iter().filter(|task| !self.ended.contains(&task.id) && !there.contains(&task.id));
            for task in active.iter().chain(news) {
                let Some(progress) = task.progress else { continue };
                let before = self.active.get(&task.id).copied().unwrap_or_default();
                // The books of a run that is started again begin anew.
                let new = |now: u64, before: u64| now.checked_sub(before).unwrap_or(now) as f64 / seconds;
                groups.entry(task.group.clone()).or_default().add(
                    &Numbers {
                        succeeded: new(progress.counts.succeeded, before.succeeded),
                        failed: new(failed(&progress.counts), failed(&before)),
                        running: progress.running as f64,
                        waiting: (progress.pending + progress.delayed) as f64,
                        quota_share: 0.0,
                    },
                    1.0,
                );
            }
        }
        self.at = Some(now);
        self.active = active.iter().filter_map(|task| Some((task.id, task.progress?.counts))).collect();
        self.ended = ended.iter().map(|task| task.id).collect();
        share_quotas(&mut groups, quotas);
        elapsed.map(|_| Point { at: now, groups: largest(groups) })
    }
}

/// Says of each group with something to run what share of it its quota is.
fn share_quotas(groups: &mut BTreeMap<String, Numbers>, quotas: &HashMap<String, u32>) {
    let has_work = |numbers: &Numbers| numbers.running + numbers.waiting > 0.0;
    let quota = |group: &str| f64::from(quotas.get(group).copied().unwrap_or_default());
    let all: f64 =
        groups.iter().filter(|(_, numbers)| has_work(numbers)).map(|(group, _)| quota(group)).sum();
    for (group, numbers) in groups.iter_mut().filter(|(_, numbers)| has_work(numbers)) {
        numbers.quota_share = if all > 0.0 { quota(group) / all } else { 0.0 };
    }
}

/// The groups with the most that runs.
fn largest(groups: BTreeMap<String, Numbers>) -> BTreeMap<String, Numbers> {
    if groups.len() <= GROUPS {
        return groups;
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by(|(_, one), (_, other)| other.running.total_cmp(&one.running));
    groups.truncate(GROUPS);
    groups.into_iter().collect()
}

#[cfg(test)]
pub(super) mod tests {
    use dtf_model::table::{NewTask, TaskRow};
    use dtf_model::{TaskParam, TaskTypeId};
    use uuid::Uuid;

    use super::*;
    use crate::convert;

    pub(crate) fn task(id: u64, group: &str, succeeded: u64, failed: u64, running: u64) -> api::Task {
        let param = TaskParam { group: group.to_owned(), ..TaskParam::default() };
        let new = NewTask { request: Uuid::nil(), task_type: TaskTypeId(1), param, now: 0 };
        let row = TaskRow::created(dtf_model::TaskId(id), &new);
        let counts = api::Counts { created: 100, succeeded, failed, ..api::Counts::default() };
        let progress = Some(api::Progress { counts, running, ..api::Progress::default() });
        api::Task { progress, ..convert::row(&dtf_model::plugin::PluginRegistry::default(), row) }
    }

    #[test]
    fn a_step_has_what_was_done_since_the_one_before() {
        let (mut meter, none) = (Meter::default(), HashMap::new());
        assert_eq!(meter.note(10_000, &[task(1, "a", 50, 0, 3)], &[task(9, "a", 7, 0, 0)], &none), None);
        // Task 1 goes on, 2 is new, 3 began and ended, 9 had ended before.
        let active = [task(1, "a", 100, 10, 4), task(2, "b", 20, 0, 1)];
        assert!(meter.gone(&active).is_empty());
        let point = meter
            .note(
                15_000,
                &active,
                &[task(9, "a", 7, 0, 0), task(3, "b", 5, 5, 0)],
                &HashMap::from([("a".to_owned(), 30), ("b".to_owned(), 10)]),
            )
            .unwrap();
        let numbers = |succeeded, failed, running, quota_share| Numbers {
            succeeded,
            failed,
            running,
            waiting: 0.0,
            quota_share,
        };
        assert_eq!(point.at, 15_000);
        assert_eq!(point.groups["a"], numbers(10.0, 2.0, 4.0, 0.75));
        assert_eq!(point.groups["b"], numbers(5.0, 1.0, 1.0, 0.25));
        // Task 2 has ended, and 1 is run again from its beginning.
        let active = [task(1, "a", 5, 0, 4)];
        assert_eq!(meter.gone(&active), [2]);
        let point = meter.note(20_000, &active, &[task(2, "b", 30, 0, 0)], &none).unwrap();
        assert_eq!((point.groups["a"].succeeded, point.groups["b"].succeeded), (1.0, 2.0));
    }

    #[test]
    fn a_clock_that_is_put_back_makes_no_step() {
        let (mut meter, none) = (Meter::default(), HashMap::new());
        meter.note(10_000, &[], &[], &none);
        assert_eq!(meter.note(9_000, &[], &[], &none), None);
        assert!(meter.note(14_000, &[], &[], &none).is_some());
    }

    #[test]
    fn groups_without_end_take_no_memory_without_end() {
        let (mut meter, none) = (Meter::default(), HashMap::new());
        meter.note(1000, &[], &[], &none);
        let many: Vec<_> = (0..500).map(|n| task(n, &format!("group {n}"), 0, 0, n)).collect();
        let point = meter.note(2000, &many, &[], &none).unwrap();
        assert_eq!(point.groups.len(), GROUPS);
        assert!(point.groups.contains_key("group 499"));
    }
}
