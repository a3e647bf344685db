//! The decisions on deliveries.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Answer, Hook};
use crate::flow::End;
use crate::ids::TaskId;

/// The waits behind the attempts: what Standard Webhooks recommends, about three days in all.
const WAITS: [Duration; 9] = {
    const fn minutes(minutes: u64) -> Duration {
        Duration::from_secs(minutes * 60)
    }
    [
        Duration::from_secs(5),
        minutes(5),
        minutes(30),
        minutes(2 * 60),
        minutes(5 * 60),
        minutes(10 * 60),
        minutes(14 * 60),
        minutes(20 * 60),
        minutes(24 * 60),
    ]
};
/// The most attempts.
pub const ATTEMPTS: u32 = WAITS.len() as u32 + 1;
/// The time for one attempt. Whoever claimed one and has not noted its answer by then is taken for dead.
pub const LEASE: Duration = Duration::from_secs(60);
/// The longest error that is kept, in characters.
const MAX_ERROR_CHARS: usize = 500;

/// The progress of a hook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookState {
    /// The task has not ended, or nobody has looked since.
    #[default]
    Waiting,
    /// The message is to be delivered.
    Pending,
    /// The receiver has it.
    Delivered,
    /// It was given up: the receiver refused it, or all attempts are spent.
    Failed,
    /// The task ended otherwise than the receiver is told of.
    Unneeded,
}

impl HookState {
    /// Returns true if nothing more is to be done.
    pub fn is_settled(self) -> bool {
        matches!(self, Self::Delivered | Self::Failed | Self::Unneeded)
    }

    /// The name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Unneeded => "unneeded",
        }
    }
}

/// A hook of a task and the progress of its delivery. Times are milliseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookRecord {
    /// The hook.
    pub hook: Hook,
    /// How far it is.
    #[serde(default)]
    pub state: HookState,
    /// The number of attempts that were begun.
    #[serde(default)]
    pub attempts: u32,
    /// The time of the last attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<u64>,
    /// The time of the next attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<u64>,
    /// Why the last attempt failed; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
}

/// The records of a new task's hooks.
pub fn waiting(hooks: &[Hook]) -> Vec<HookRecord> {
    let record = |hook: &Hook| HookRecord {
        hook: hook.clone(),
        state: HookState::Waiting,
        attempts: 0,
        at: None,
        next_at: None,
        error: String::new(),
    };
    hooks.iter().map(record).collect()
}

/// The work that is done in one go for a task that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Round {
    /// The records as they are to be written first.
    pub records: Vec<HookRecord>,
    /// The places of the hooks to be attempted once that is written.
    pub attempts: Vec<usize>,
}

/// Decides which hooks of a task that has ended are to be attempted now. `room` says of a hook when its receiver can be asked: `None` for
/// at once, or a later time, to which it is put off without costing it an attempt.
pub fn claim(
    records: &[HookRecord],
    end: End,
    now: u64,
    mut room: impl FnMut(&Hook) -> Option<u64>,
) -> Round {
    let (mut records, mut attempts) = (records.to_vec(), Vec::new());
    for (place, record) in records.iter_mut().enumerate() {
        if record.state == HookState::Waiting {
            let is_told = record.hook.when.is_met_by(end);
            record.state = if is_told { HookState::Pending } else { HookState::Unneeded };
        }
        if record.state != HookState::Pending || record.next_at.is_some_and(|at| at > now) {
            continue;
        }
        match room(&record.hook) {
            Some(later) => record.next_at = Some(later.max(now + 1)),
            None => {
                record.attempts = record.attempts.saturating_add(1);
                record.at = Some(now);
                record.next_at = Some(now.saturating_add(millis(LEASE)));
                attempts.push(place);
            }
        }
    }
    Round { records, attempts }
}

/// Notes the answers to attempts.
pub fn settle(
    records: &[HookRecord],
    answers: &[(usize, Answer)],
    task: TaskId,
    now: u64,
) -> Vec<HookRecord> {
    let mut records = records.to_vec();
    for (place, answer) in answers {
        let Some(record) = records.get_mut(*place) else { continue };
        record.next_at = None;
        match answer {
            Answer::Delivered => (record.state, record.error) = (HookState::Delivered, String::new()),
            Answer::Refused { error } => (record.state, record.error) = (HookState::Failed, cut(error)),
            Answer::Later { error, after } => {
                record.error = cut(error);
                match WAITS.get(record.attempts.saturating_sub(1) as usize) {
                    None => record.state = HookState::Failed,
                    Some(wait) => {
                        let wait = spread(*wait, task, record.attempts).max(after.unwrap_or_default());
                        record.next_at = Some(now.saturating_add(millis(wait)));
                    }
                }
            }
        }
    }
    records
}

/// The records with one hook to be delivered again, with all attempts before it; `None` where there is no such hook, or it is not
/// settled yet.
pub fn again(records: &[HookRecord], place: usize, now: u64) -> Option<Vec<HookRecord>> {
    let mut records = records.to_vec();
    let record = records.get_mut(place).filter(|record| record.state.is_settled())?;
    (record.state, record.attempts, record.next_at) = (HookState::Pending, 0, Some(now));
    Some(records)
}

/// The time at which a task that has ended wants attention for its hooks; `None` once all are settled.
pub fn next_at(records: &[HookRecord]) -> Option<u64> {
    let open = records.iter().filter(|record| !record.state.is_settled());
    open.map(|record| record.next_at.unwrap_or(0)).min()
}

/// A wait, up to a tenth longer, so that what failed together does not come again together.
fn spread(wait: Duration, task: TaskId, attempts: u32) -> Duration {
    // The finalizer of splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
    let mut mixed = task.0 ^ (u64::from(attempts) << 56);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    wait + wait / 10 * u32::try_from(mixed % 1000).unwrap_or(0) / 1000
}

fn cut(error: &str) -> String {
    error.chars().take(MAX_ERROR_CHARS).collect()
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Condition;

    const NOW: u64 = 1_800_000_000_000;
    const TASK: TaskId = TaskId(7);

    fn later() -> Answer {
        Answer::Later { error: "503".to_owned(), after: None }
    }

    fn claimed(records: &[HookRecord], now: u64) -> Round {
        claim(records, End::Completed, now, |_| None)
    }

    #[test]
    fn receivers_are_told_of_the_ends_that_they_asked_for() {
        let hooks = Condition::ALL.map(|when| Hook::callback("a").when(when));
        for (end, told) in [
            (End::Completed, [true, true, false]),
            (End::Failed, [false, true, true]),
            (End::Other, [false, true, false]),
        ] {
            let round = claim(&waiting(&hooks), end, NOW, |_| None);
            let is_told = |place: &usize| round.attempts.contains(place);
            assert_eq!([0, 1, 2].map(|place| is_told(&place)), told, "{end:?}");
            assert!(round.records.iter().zip(told).all(|(record, told)| record.state.is_settled() != told));
        }
    }

    #[test]
    fn an_attempt_without_an_answer_is_made_again_when_its_lease_is_over() {
        let first = claimed(&waiting(&[Hook::callback("a")]), NOW);
        assert_eq!(next_at(&first.records), Some(NOW + 60_000));
        assert_eq!(claimed(&first.records, NOW + 59_999).attempts, [] as [usize; 0]);
        let second = claimed(&first.records, NOW + 60_000);
        assert_eq!((second.attempts, second.records[0].attempts), (vec![0], 2));
    }

    #[test]
    fn attempts_are_made_over_three_days_and_then_given_up() {
        let (mut records, mut now) = (waiting(&[Hook::callback("a")]), NOW);
        for attempt in 1..=ATTEMPTS {
            let round = claimed(&records, now);
            assert_eq!(round.attempts, [0]);
            records = settle(&round.records, &[(0, later())], TASK, now);
            assert_eq!(records[0].attempts, attempt);
            now = next_at(&records).unwrap_or(now);
        }
        assert_eq!((records[0].state, next_at(&records)), (HookState::Failed, None));
        assert_eq!(records[0].error, "503");
        let days = (now - NOW) as f64 / 86_400_000.0;
        assert!((3.1..3.5).contains(&days), "{days}");
    }

    #[test]
    fn a_receiver_is_not_asked_before_the_time_that_it_named() {
        let round = claimed(&waiting(&[Hook::callback("a")]), NOW);
        let after = Some(Duration::from_secs(100));
        let answer = Answer::Later { error: "429".to_owned(), after };
        let records = settle(&round.records, &[(0, answer)], TASK, NOW);
        assert_eq!(next_at(&records), Some(NOW + 100_000));
    }

    #[test]
    fn one_receiver_does_not_wait_for_another_and_is_not_told_twice() {
        let round = claimed(&waiting(&[Hook::callback("a"), Hook::callback("b")]), NOW);
        let records = settle(&round.records, &[(0, Answer::Delivered), (1, later())], TASK, NOW);
        assert_eq!(records[0].state, HookState::Delivered);
        let round = claimed(&records, NOW + 10_000);
        assert_eq!(round.attempts, [1]);
        let refused = Answer::Refused { error: "gone".to_owned() };
        let records = settle(&round.records, &[(1, refused)], TASK, NOW);
        assert_eq!((records[1].state, next_at(&records)), (HookState::Failed, None));
    }

    #[test]
    fn a_full_receiver_costs_no_attempt() {
        let round = claim(&waiting(&[Hook::callback("a")]), End::Other, NOW, |_| Some(NOW + 500));
        assert_eq!((round.attempts.len(), round.records[0].attempts), (0, 0));
        assert_eq!(next_at(&round.records), Some(NOW + 500));
    }

    #[test]
    fn what_is_settled_is_delivered_again_when_a_user_asks() {
        let round = claimed(&waiting(&[Hook::callback("a")]), NOW);
        assert_eq!(again(&round.records, 0, NOW), None, "it is under way");
        let records = settle(&round.records, &[(0, Answer::Delivered)], TASK, NOW);
        assert_eq!(again(&records, 1, NOW), None);
        let records = again(&records, 0, NOW + 1).unwrap();
        assert_eq!(claimed(&records, NOW + 1).attempts, [0]);
    }
}
