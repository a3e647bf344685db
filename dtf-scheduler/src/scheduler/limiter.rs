//! The limits of all tasks and groups of a partition, and who waits for them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use dtf_model::table::BucketOf;
use dtf_model::{Limits, ResourceGroup, TaskId};
use lrmf_core::Timestamp;

use super::token_bucket::{Allowance, TokenBucket};

#[derive(Debug)]
struct Limited {
    group: Arc<str>,
    gate: TokenBucket,
    running: u64,
}

/// The permission of a task to dispatch now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Permit {
    /// So many subtasks; at least one.
    UpTo(u64),
    /// Nothing: its own limits are reached.
    TaskWaits(Option<Timestamp>),
    /// Nothing: those of its group are.
    GroupWaits,
}

/// Keeps the limits of the tasks and groups of one partition. Where there are several, each keeps its part of a group's.
#[derive(Debug)]
pub(super) struct Limiter {
    share: BucketOf,
    tasks: HashMap<TaskId, Limited>,
    groups: HashMap<Arc<str>, TokenBucket>,
    /// Groups that wait, and until when at most.
    waiting: BTreeMap<Arc<str>, Option<Timestamp>>,
}

impl Limiter {
    pub(super) fn new(share: BucketOf) -> Self {
        Self { share, tasks: HashMap::new(), groups: HashMap::new(), waiting: BTreeMap::new() }
    }

    /// A task is known from now on, with this much running.
    pub(super) fn open(&mut self, task: TaskId, group: &Arc<str>, limits: Limits, running: u64) {
        self.close(task);
        let limited = Limited { group: group.clone(), gate: TokenBucket::new(limits), running: 0 };
        self.tasks.insert(task, limited);
        self.note_running(task, running);
    }

    /// Nothing of a task runs any more.
    pub(super) fn close(&mut self, task: TaskId) {
        self.note_running(task, 0);
        self.tasks.remove(&task);
    }

    /// So much of a task runs now.
    pub(super) fn note_running(&mut self, task: TaskId, running: u64) {
        let Some(limited) = self.tasks.get_mut(&task) else { return };
        let more =
            i64::try_from(running).unwrap_or(i64::MAX) - i64::try_from(limited.running).unwrap_or(i64::MAX);
        limited.running = running;
        limited.gate.set_running(running);
        self.groups.entry(limited.group.clone()).or_default().add_running(more);
    }

    /// So many subtasks of a task were dispatched.
    pub(super) fn spend(&mut self, task: TaskId, subtasks: u64) {
        let Some(limited) = self.tasks.get_mut(&task) else { return };
        limited.gate.spend(subtasks);
        if let Some(gate) = self.groups.get_mut(&limited.group) {
            gate.spend(subtasks);
        }
    }

    /// The groups' limits, from now on.
    pub(super) fn limit_groups(&mut self, groups: &[ResourceGroup]) {
        for group in groups {
            let limits = match group.paused {
                true => Limits { running: Some(0), ..group.limits },
                false => group.limits.share_of(self.share.bucket, self.share.of),
            };
            self.groups.entry(group.name.as_str().into()).or_default().set_limits(limits);
        }
    }

    /// Returns the permission of a task to dispatch now. A group whose limits are reached waits until it is
    /// [released](Self::released).
    pub(super) fn permit(&mut self, task: TaskId, now: Timestamp) -> Permit {
        let Some(limited) = self.tasks.get_mut(&task) else { return Permit::UpTo(u64::MAX) };
        let group = self.groups.entry(limited.group.clone()).or_default();
        let most = match group.allowance(now) {
            Allowance::UpTo(most) => most,
            Allowance::Not(until) => {
                self.waiting.insert(limited.group.clone(), until);
                return Permit::GroupWaits;
            }
        };
        match limited.gate.allowance(now) {
            Allowance::UpTo(own) => Permit::UpTo(own.min(most)),
            Allowance::Not(until) => Permit::TaskWaits(until),
        }
    }

    /// The groups that waited and need not any more.
    pub(super) fn released(&mut self, now: Timestamp) -> Vec<Arc<str>> {
        let groups = &mut self.groups;
        let mut released = Vec::new();
        self.waiting.retain(|name, until| {
            match groups.get_mut(name).map_or(Allowance::UpTo(1), |gate| gate.allowance(now)) {
                Allowance::UpTo(_) => {
                    released.push(name.clone());
                    false
                }
                Allowance::Not(later) => {
                    *until = later;
                    true
                }
            }
        });
        released
    }

    /// Returns true if a group waits.
    pub(super) fn is_any_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Returns the latest time at which a group may go on that waits for its rate.
    pub(super) fn next_release(&self) -> Option<Timestamp> {
        self.waiting.values().flatten().min().copied()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ONE: TaskId = TaskId(1);
    const TWO: TaskId = TaskId(2);

    fn limits(running: Option<u32>, rate: Option<u32>) -> Limits {
        Limits { running, rate }
    }

    fn group(limits: Limits) -> ResourceGroup {
        ResourceGroup { limits, ..ResourceGroup::named("g") }
    }

    #[test]
    fn the_tighter_of_task_and_group_holds() {
        let (mut limiter, now) = (Limiter::new(BucketOf::ALL), Timestamp::default());
        limiter.limit_groups(&[group(limits(Some(5), None))]);
        limiter.open(ONE, &"g".into(), limits(Some(3), None), 0);
        limiter.open(TWO, &"g".into(), Limits::NONE, 0);
        assert_eq!(limiter.permit(ONE, now), Permit::UpTo(3));
        assert_eq!(limiter.permit(TWO, now), Permit::UpTo(5));
        limiter.note_running(ONE, 3);
        assert_eq!(limiter.permit(ONE, now), Permit::TaskWaits(None));
        assert_eq!(limiter.permit(TWO, now), Permit::UpTo(2));
        limiter.note_running(TWO, 2);
        assert_eq!(limiter.permit(TWO, now), Permit::GroupWaits);
        assert!(limiter.released(now).is_empty());
        assert_eq!(limiter.next_release(), None);
        // What has ended is taken off, whatever was said of it before.
        limiter.close(ONE);
        assert_eq!(limiter.released(now), ["g".into()]);
        assert_eq!(limiter.permit(TWO, now), Permit::UpTo(3));
    }

    #[test]
    fn nothing_of_a_paused_group_is_dispatched() {
        let (mut limiter, now) = (Limiter::new(BucketOf::ALL), Timestamp::default());
        limiter.open(ONE, &"g".into(), Limits::NONE, 0);
        limiter.limit_groups(&[ResourceGroup { paused: true, ..group(limits(None, Some(10))) }]);
        assert_eq!(limiter.permit(ONE, now), Permit::GroupWaits);
        assert!(limiter.released(now).is_empty());
        limiter.limit_groups(&[group(limits(None, None))]);
        assert_eq!(limiter.released(now), ["g".into()]);
        assert_eq!(limiter.permit(ONE, now), Permit::UpTo(u64::MAX));
    }

    #[test]
    fn a_group_that_waits_for_its_rate_is_released_in_time() {
        let (mut limiter, now) = (Limiter::new(BucketOf::ALL), Timestamp::default());
        limiter.limit_groups(&[group(limits(None, Some(10)))]);
        limiter.open(ONE, &"g".into(), Limits::NONE, 0);
        assert_eq!(limiter.permit(ONE, now), Permit::UpTo(1));
        limiter.spend(ONE, 1);
        assert_eq!(limiter.permit(ONE, now), Permit::GroupWaits);
        let Some(until) = limiter.next_release() else { panic!("it waits for ever") };
        assert!(until.since(now) <= Duration::from_millis(101));
        assert_eq!(limiter.released(until), ["g".into()]);
        assert_eq!(limiter.next_release(), None);
    }

    #[test]
    fn several_partitions_keep_a_part_each() {
        let now = Timestamp::default();
        let shares: Vec<_> = (0..4)
            .map(|bucket| {
                let mut limiter = Limiter::new(BucketOf { bucket, of: 4, ..BucketOf::ALL });
                limiter.limit_groups(&[group(limits(Some(10), None))]);
                limiter.open(ONE, &"g".into(), Limits::NONE, 0);
                limiter.permit(ONE, now)
            })
            .collect();
        assert_eq!(shares, [3, 3, 2, 2].map(Permit::UpTo));
    }
}
