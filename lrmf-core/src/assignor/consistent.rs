//! Placement by hash.

use super::hash::{mix, stable_hash};
use super::{Assignor, MemberIx, Placement, PlanError, Problem};

/// The number of points that a member has on the ring.
const POINTS: u64 = 64;
/// The share above an even one that a member may hold, in percent.
const DEFAULT_SLACK_PERCENT: u32 = 25;

/// Consistent hashing with bounded loads.
///
/// # The problem
/// Find a placement that depends on the sets of tasks and members alone, not on history, such that few tasks move when
/// either changes, and no member holds more than ⌈c · T/N⌉ tasks.
///
/// # The algorithm
/// Members have 64 points each on a ring of hashes. Tasks, in the order of their hashes, each go to the first
/// point at or after their own hash whose member is not full (Mirrokni, Thorup, Zadimoghaddam: *Consistent Hashing with
/// Bounded Loads*, SODA 2018). Points of full members are skipped by path halving, so that a pass is nearly linear even
/// with little slack. O(T log T + 64 N log 64 N).
///
/// # Bounds
/// The load bound is hard. A change of one member moves O(1/ε²) times an even share in expectation, with c = 1 + ε;
/// there is no hard bound on moves. Use [`StickyBalanced`](super::StickyBalanced) for one.
#[derive(Clone, Copy, Debug)]
pub struct ConsistentHashing {
    slack_percent: u32,
}

impl Default for ConsistentHashing {
    fn default() -> Self {
        Self { slack_percent: DEFAULT_SLACK_PERCENT }
    }
}

impl ConsistentHashing {
    /// Members may hold this much more than an even share: 0 is even to the task, 25 is the default.
    pub fn with_slack_percent(slack_percent: u32) -> Self {
        Self { slack_percent }
    }

    /// The most tasks that one of `members` members may hold of `tasks` tasks.
    pub fn bound(&self, tasks: usize, members: usize) -> u64 {
        let scaled = tasks as u128 * u128::from(100 + u64::from(self.slack_percent));
        let bound = scaled.div_ceil(100 * members.max(1) as u128);
        u64::try_from(bound).unwrap_or(u64::MAX)
    }
}

impl Assignor for ConsistentHashing {
    fn plan(&self, problem: &Problem<'_>) -> Result<Vec<Placement>, PlanError> {
        if problem.members.is_empty() {
            return Ok(Vec::new());
        }
        let mut tasks: Vec<(u64, u32)> =
            problem.tasks.iter().map(|task| stable_hash(task.key.as_bytes())).zip(0..).collect();
        tasks.sort_unstable();
        let mut ring = Ring::new(problem, self.bound(problem.tasks.len(), problem.members.len()));
        let mut targets = vec![0; problem.tasks.len()];
        for (hash, task) in tasks {
            targets[task as usize] = ring.take(hash);
        }
        Ok(problem.moves_to(targets))
    }

    fn name(&self) -> &'static str {
        "consistent-hashing"
    }
}

/// The points of all members in the order of their hashes. Tasks must come in the order of theirs.
struct Ring {
    points: Vec<(u64, MemberIx)>,
    /// The next member to try when the member of a point is full: a forest whose roots have room.
    next: Vec<usize>,
    room: Vec<u64>,
    /// The first point at or after the last task's hash; one past the end wraps to the first.
    at: usize,
}

impl Ring {
    fn new(problem: &Problem<'_>, bound: u64) -> Self {
        let names = problem.members.iter().map(|member| stable_hash(member.instance.as_str().as_bytes()));
        let points = names.zip(0..).flat_map(|(hash, member)| {
            (0..POINTS).map(move |point| (mix(hash.wrapping_add(mix(point.wrapping_add(1)))), member))
        });
        let mut points: Vec<(u64, MemberIx)> = points.collect();
        points.sort_unstable();
        let next = (0..points.len()).collect();
        Self { points, next, room: vec![bound; problem.members.len()], at: 0 }
    }

    /// Places a task with this hash.
    fn take(&mut self, hash: u64) -> MemberIx {
        while self.points.get(self.at).is_some_and(|(point, _)| *point < hash) {
            self.at += 1;
        }
        let root = self.root(self.at % self.points.len());
        let member = self.points[root].1;
        self.room[member as usize] -= 1;
        member
    }

    /// The first point from here on whose member has room. There is one: the bounds add up to at least all tasks.
    fn root(&mut self, mut point: usize) -> usize {
        loop {
            let next = self.next[point];
            if next != point {
                self.next[point] = self.next[next];
                point = next;
            } else if self.room[self.points[point].1 as usize] > 0 {
                return point;
            } else {
                self.next[point] = (point + 1) % self.points.len();
            }
        }
    }
}
