//! The multi-level feedback queue of one resource group.
//!
//! A task begins at the highest level, P0, and is known to be longer the longer it runs: when it has used up its *slices* at
//! a level it sinks to the next, P1 and then the round-robin level. What waits at a higher level goes first; every two
//! minutes ten tasks are lifted back from P1, and every four minutes ten from the round-robin level, those that have waited
//! longest, so nobody starves.
//!
//! | level | slice | slices before it sinks | order |
//! |---|---|---|---|
//! | P0 | 1 s | 40 × bonus | newcomers, and the others by their share |
//! | P1 | 2 s | 40 × bonus | by their share |
//! | round robin | 5 s | no end | each the same, one after the other |
//!
//! The bonus is the priority's: low 1, medium 8, high 256. It is the share too: at P0 and P1 a task that has run for a slice
//! moves back by the slice divided by its bonus, and of equals whoever came first goes first. So tasks of all priorities
//! that came together sink together, and within a level the urgent get more and nobody gets nothing.
//!
//! *Newcomers* are tasks of P0 that have run for less than a tenth of a second. They go ahead of the others, the most urgent first, so
//! that a short task starts at once however many long ones there are; where newcomers never end, the others get half, and every
//! eighth newcomer's turn is that of whoever came first.
//!
//! A share can be small: one task of low priority beside two hundred of high priority has a 51,000th. So whom its share did
//! not reach in ten minutes at P0 has the next turn, ten tasks every ten minutes.
//!
//! A task with nothing pending is *quiet*: it is in no queue and keeps its level and its slices, for ten minutes; after
//! that it comes back as a newcomer.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dtf_model::{Priority, TaskId};
use lrmf_core::Timestamp;

use super::moved;

/// The number of slices that a task of the lowest priority has at a level before it sinks.
const BASE_SLICES: u64 = 40;
/// The number of tasks that are lifted at a time.
const LIFTED: usize = 10;
/// Every how many newcomers' turns the one that came first has its turn, whoever is more urgent.
const OLDEST_EVERY: u32 = 8;
/// The time for which a task is a newcomer.
const NEW: Duration = Duration::from_millis(100);
/// The time for which a quiet task keeps its level and its slices.
const QUIET_AT_MOST: Duration = Duration::from_secs(600);

/// Returns the weight of a priority: low 1, medium 8, high 256, and between them the values that lie between.
pub fn bonus_of(priority: Priority) -> u32 {
    let (low, medium, high) = (Priority::LOW.0, Priority::MEDIUM.0, Priority::HIGH.0);
    let between = |from: u32, to: u32, least: u32, most: u32| {
        least + (most - least) * (priority.0.clamp(from, to) - from) / (to - from)
    };
    if priority.0 <= medium { between(low, medium, 1, 8) } else { between(medium, high, 8, 256) }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    P0,
    P1,
    RoundRobin,
}

impl Level {
    const ALL: [Level; 3] = [Self::P0, Self::P1, Self::RoundRobin];

    fn slice(self) -> Duration {
        Duration::from_secs(match self {
            Self::P0 => 1,
            Self::P1 => 2,
            Self::RoundRobin => 5,
        })
    }

    /// The level below, for a task that has used so many slices here.
    fn below(self, slices: u64, bonus: u32) -> Self {
        match self {
            _ if slices < BASE_SLICES * u64::from(bonus) => self,
            Self::P0 => Self::P1,
            Self::P1 | Self::RoundRobin => Self::RoundRobin,
        }
    }

    /// Returns the period at which tasks are lifted from here.
    fn boost(self) -> Option<Duration> {
        match self {
            Self::P0 => Some(Duration::from_secs(600)),
            Self::P1 => Some(Duration::from_secs(120)),
            Self::RoundRobin => Some(Duration::from_secs(240)),
        }
    }
}

#[derive(Debug)]
struct Member {
    priority: Priority,
    level: Level,
    /// True if it is a newcomer.
    new: bool,
    /// Its position in its level's order.
    pass: u128,
    /// The time at which it came to its place in the order: smaller is earlier.
    since: u64,
    /// The charge in its present slice, in nanoseconds.
    used: i128,
    /// Slices used up at its level.
    slices: u64,
    pending: bool,
    quiet_since: Option<Timestamp>,
}

impl Member {
    fn bonus(&self) -> u32 {
        bonus_of(self.priority)
    }

    /// Its weight in the order of its level.
    fn weight(&self) -> u32 {
        if self.level == Level::RoundRobin { 1 } else { self.bonus() }
    }

    /// Ends the slices that are used up.
    fn end_slices(&mut self) {
        let slice = self.level.slice().as_nanos() as i128;
        let ended = (self.used / slice).max(0);
        self.used -= ended * slice;
        self.pass = moved(self.pass, ended * slice, self.weight());
        self.slices = self.slices.saturating_add(u64::try_from(ended).unwrap_or(u64::MAX));
    }
}

/// The tasks of a level that have something pending, but for newcomers.
#[derive(Debug, Default)]
struct Queue {
    /// Pass, time of coming, task.
    order: BTreeSet<(u128, u64, TaskId)>,
    /// By the time of coming.
    waiting: BTreeSet<(u64, TaskId)>,
    /// The pass at which a task was served last.
    served: u128,
    /// The time at which tasks are lifted next.
    boost_at: Option<Timestamp>,
    /// Whoever came before has waited since the last time.
    came_before: u64,
}

impl Queue {
    /// Returns the position at which a newcomer begins.
    fn entry(&self) -> u128 {
        self.order.first().map_or(self.served, |(pass, _, _)| *pass)
    }

    fn insert(&mut self, task: TaskId, member: &Member) {
        self.order.insert((member.pass, member.since, task));
        self.waiting.insert((member.since, task));
    }

    fn remove(&mut self, task: TaskId, member: &Member) {
        self.order.remove(&(member.pass, member.since, task));
        self.waiting.remove(&(member.since, task));
        if self.order.is_empty() {
            self.boost_at = None;
        }
    }
}

/// The tasks of a group.
#[derive(Debug, Default)]
pub struct Levels {
    members: BTreeMap<TaskId, Member>,
    /// The most urgent first, of equals whoever came first.
    newcomers: BTreeSet<(Reverse<Priority>, u64, TaskId)>,
    newcomers_by_age: BTreeSet<(u64, TaskId)>,
    newcomers_asked: u32,
    queues: [Queue; 3],
    /// At P0: what newcomers have had, and what the others have had, in nanoseconds.
    newcomers_had: i128,
    others_had: i128,
    came: u64,
}

impl Levels {
    /// Returns true if nothing is pending.
    pub fn is_empty(&self) -> bool {
        self.newcomers.is_empty() && self.queues.iter().all(|queue| queue.order.is_empty())
    }

    /// The number of tasks with something pending.
    pub fn pending_tasks(&self) -> usize {
        self.newcomers.len() + self.queues.iter().map(|queue| queue.order.len()).sum::<usize>()
    }

    /// Returns true if the task has pending subtasks, as far as the policy was told.
    pub fn is_pending(&self, task: TaskId) -> bool {
        self.members.get(&task).is_some_and(|member| member.pending)
    }

    /// Makes a task known, with nothing pending. A known one only gets the new priority.
    pub fn add(&mut self, task: TaskId, priority: Priority) {
        if self.members.contains_key(&task) {
            return self.update(task, |member, _| member.priority = priority);
        }
        let (level, pass) = (Level::P0, 0);
        let member = Member {
            priority,
            level,
            new: true,
            pass,
            since: 0,
            used: 0,
            slices: 0,
            pending: false,
            quiet_since: None,
        };
        self.members.insert(task, member);
    }

    /// Forgets a task.
    pub fn remove(&mut self, task: TaskId) {
        self.update(task, |member, _| member.pending = false);
        self.members.remove(&task);
    }

    /// The task has something pending.
    pub fn pending(&mut self, task: TaskId, now: Timestamp) {
        if self.is_pending(task) {
            return;
        }
        let (entry, came) = (self.queues.each_ref().map(Queue::entry), self.next_coming());
        self.update(task, |member, _| {
            let quiet = member.quiet_since.take().map(|since| now.since(since));
            if quiet.is_some_and(|quiet| quiet > QUIET_AT_MOST) {
                (member.level, member.new, member.used, member.slices) = (Level::P0, true, 0, 0);
            }
            member.pass = member.pass.max(entry[member.level as usize]);
            member.since = came;
            member.pending = true;
        });
        self.plan_boosts(now);
    }

    /// The task has nothing pending.
    pub fn quiet(&mut self, task: TaskId, now: Timestamp) {
        if self.is_pending(task) {
            self.update(task, |member, _| {
                member.pending = false;
                member.quiet_since = Some(now);
            });
        }
    }

    /// The task whose turn it is.
    pub fn next(&mut self, now: Timestamp) -> Option<TaskId> {
        self.boost(now);
        let first = |queue: &Queue| queue.order.first().map(|(_, _, task)| *task);
        let newcomer = self.next_newcomer();
        match (newcomer, first(&self.queues[0])) {
            (Some(newcomer), Some(other)) => {
                Some(if self.newcomers_had <= self.others_had { newcomer } else { other })
            }
            (newcomer, other) => newcomer.or(other).or_else(|| self.queues[1..].iter().find_map(first)),
        }
    }

    /// The most urgent newcomer; now and then the one that came first, so that urgent ones who never end keep nobody out.
    fn next_newcomer(&mut self) -> Option<TaskId> {
        self.newcomers_asked = (self.newcomers_asked + 1) % OLDEST_EVERY;
        let oldest = self.newcomers_by_age.first().map(|(_, task)| *task);
        let urgent = self.newcomers.first().map(|(_, _, task)| *task);
        if self.newcomers_asked == 0 { oldest } else { urgent }
    }

    /// Charges a task with this many nanoseconds of slot-time.
    pub fn charge(&mut self, task: TaskId, nanos: i128) {
        let Some(member) = self.members.get(&task) else { return };
        if member.level == Level::P0 {
            let had = if member.new { &mut self.newcomers_had } else { &mut self.others_had };
            *had += nanos;
        }
        if member.pending && !member.new {
            let queue = &mut self.queues[member.level as usize];
            queue.served = queue.served.max(member.pass);
        }
        let slice = member.level.slice().as_nanos() as i128;
        let used = member.used + nanos;
        let stays_new = member.new && used < NEW.as_nanos() as i128;
        if used < slice && stays_new == member.new {
            // What was charged too much is given back, as far as the slice before.
            let used = used.max(-slice);
            if let Some(member) = self.members.get_mut(&task) {
                member.used = used;
            }
            return;
        }
        let came = self.next_coming();
        self.update(task, |member, queues| {
            member.used = used;
            if member.new {
                // Behind those whose turn it is, by a slice as it is to this task: whoever comes later is not before it for ever.
                let entry = queues[Level::P0 as usize].entry();
                (member.new, member.pass) = (false, moved(entry, slice, member.bonus()));
            }
            member.end_slices();
            member.since = came;
            let below = member.level.below(member.slices, member.bonus());
            if below != member.level {
                (member.level, member.slices, member.used) = (below, 0, 0);
                member.pass = queues[below as usize].entry();
            }
        });
    }

    /// Lifts tasks that have waited long back to P0, where it is time to.
    fn boost(&mut self, now: Timestamp) {
        for level in Level::ALL {
            let queue = &self.queues[level as usize];
            if queue.boost_at.is_none_or(|at| at > now) {
                continue;
            }
            // At P0 everybody has a share; only whom it did not reach in a whole period is lifted.
            let long = |since: u64| level != Level::P0 || since < queue.came_before;
            let waited = queue.waiting.iter().take_while(|(since, _)| long(*since));
            let lifted: Vec<_> = waited.take(LIFTED).map(|(_, task)| *task).collect();
            let came = self.came;
            let queue = &mut self.queues[level as usize];
            (queue.boost_at, queue.came_before) = (None, came);
            for task in lifted {
                let came = self.next_coming();
                self.update(task, |member, queues| {
                    if level != Level::P0 {
                        (member.level, member.slices, member.used) = (Level::P0, 0, 0);
                    }
                    member.pass = queues[Level::P0 as usize].entry();
                    member.since = came;
                });
            }
        }
        self.plan_boosts(now);
    }

    /// Sets the time of the next lifting where somebody waits and none is set.
    fn plan_boosts(&mut self, now: Timestamp) {
        for level in Level::ALL {
            let queue = &mut self.queues[level as usize];
            let Some(period) = level.boost() else { continue };
            if queue.order.is_empty() {
                queue.boost_at = None;
            } else if queue.boost_at.is_none() {
                queue.boost_at = Some(now + period);
            }
        }
    }

    fn next_coming(&mut self) -> u64 {
        self.came += 1;
        self.came
    }

    /// Changes a task, and keeps it where it belongs. Where newcomers or others were not there before, they saved nothing up.
    fn update(&mut self, task: TaskId, change: impl FnOnce(&mut Member, &[Queue; 3])) {
        let Some(mut member) = self.members.remove(&task) else { return };
        if member.pending {
            if member.new {
                self.newcomers.remove(&(Reverse(member.priority), member.since, task));
                self.newcomers_by_age.remove(&(member.since, task));
            } else {
                self.queues[member.level as usize].remove(task, &member);
            }
        }
        change(&mut member, &self.queues);
        if member.pending && member.new {
            if self.newcomers.is_empty() {
                self.newcomers_had = self.newcomers_had.max(self.others_had);
            }
            self.newcomers.insert((Reverse(member.priority), member.since, task));
            self.newcomers_by_age.insert((member.since, task));
        } else if member.pending {
            let queue = &mut self.queues[member.level as usize];
            if member.level == Level::P0 && queue.order.is_empty() {
                self.others_had = self.others_had.max(self.newcomers_had);
            }
            queue.insert(task, &member);
        }
        self.members.insert(task, member);
    }
}
