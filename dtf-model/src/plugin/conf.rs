//! The configuration of a type of task.

use std::time::Duration;

use crate::error::InvalidInput;
use crate::limits::Limits;
use crate::queue::PARCEL_WORK;

/// The highest value of [`TaskConf::max_executor_losses`].
pub const MAX_EXECUTOR_LOSSES: u32 = 7;
/// The permission of a collector to add subtasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IterationMode {
    /// It may not: all subtasks come from the generator.
    #[default]
    No,
    /// It may.
    Yes,
}

/// The consequence of failed subtasks for their task.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum OnFailure {
    /// Go on; the task completes with a count of failures.
    #[default]
    GoOn,
    /// Stop the task; it ends as exceptional.
    StopAtFirst,
    /// Stop the task when more than this share of the subtasks counted so far, and at least 10, have failed.
    StopAbove(f64),
}

/// The fate of a subtask that runs when its executor loses the session under which it was given it, for instance because the
/// coordination store stands still for longer than the session's TTL. The subtask is run again elsewhere in either case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLostSession {
    /// It is broken off before the session can end. For subtasks that must not run twice at the same time.
    Stop,
    /// It may come to its end. If it succeeds before the other execution, its success is the one that counts; otherwise it is passed
    /// over, so counting stays exact. Those with an [ordered key](crate::ShardKey) stop nevertheless, and so does one that
    /// may have taken an executor down.
    #[default]
    Finish,
}

/// The wait of a failed subtask before its next attempt: `first`, doubled with each attempt, at most `most`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// After the first failure.
    pub first: Duration,
    /// At the most.
    pub most: Duration,
}

impl Backoff {
    /// The wait after so many failed attempts. `share`, from 0 to 1, is the jitter: between half of the wait and all of it.
    pub fn wait(&self, failed: u32, share: f64) -> Duration {
        let doubled = self.first.saturating_mul(1 << failed.saturating_sub(1).min(20));
        doubled.min(self.most).mul_f64(0.5 + 0.5 * share.clamp(0.0, 1.0))
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_secs(1), most: Duration::from_secs(60) }
    }
}

/// The longest [`TaskConf::parcel_work`].
pub const MAX_PARCEL_WORK: Duration = Duration::from_secs(1);

/// The longest subtask timeout that a kind of task may have, unless the process is configured otherwise.
pub const MAX_SUBTASK_TIMEOUT: Duration = Duration::from_secs(1800);

/// The configuration of a type of task.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskConf {
    /// The version of the plugin, which members say with the type. A task that was created with some version goes only to processes
    /// with that or a later one. Raise it when a generator, executor or collector of before could not work on what is
    /// created now. Default 0: the type has no versions.
    pub version: u32,
    /// The permission of the collector to add subtasks.
    pub iteration: IterationMode,
    /// The longest that a task of this kind may run, pauses left out, whatever its own timeout says. Default one day.
    pub task_type_timeout: Duration,
    /// The longest wait of a task of this type for its turn: when this has passed since its start, pauses left out, and
    /// nothing
    /// of it runs or has run, it ends as exceptional. Default: as long as it has to. A task that is run again, as what was
    /// known of it was lost, has had its turn.
    pub queue_timeout: Option<Duration>,
    /// The longest that one execution of a subtask may take, until its future is dropped and its
    /// [token](super::ExecuteContext::cancelled) fires. Default 300 s, at most [`MAX_SUBTASK_TIMEOUT`] unless the process is
    /// configured otherwise (setting `plugins.max_subtask_timeout`). What waits is not executed, so no pause counts.
    pub subtask_timeout: Duration,
    /// The number of attempts before a subtask has failed for good, the first included; at least 1.
    pub max_attempts: u32,
    /// The number of executors that a subtask may take down, or be with when they are lost, before it is not run again and
    /// has failed;
    /// 2 to 7. A lost executor uses up no attempt. One that was killed from outside counts as well, as nobody can tell who ended it:
    /// raise this where executors are killed often while subtasks run for long.
    pub max_executor_losses: u32,
    /// The fate of a running subtask whose executor loses its session. Default: it may come to its end.
    pub on_lost_session: OnLostSession,
    /// The wait between attempts.
    pub backoff: Backoff,
    /// The number of attempts that the generator and the collector of a task have: a call that fails, panics or takes too long is made
    /// again, by a new one that begins at what was saved last, until this many have failed with nothing saved, and no empty batch
    /// given, in between; then the task ends as exceptional. At least 1. Default 5.
    pub call_attempts: u32,
    /// The wait before such a call is made again.
    pub call_backoff: Backoff,
    /// The consequence of failed subtasks for their task.
    pub on_failure: OnFailure,
    /// The number of subtasks of one task that may wait for dispatch before generating pauses; fewer where the budgets of
    /// the cluster
    /// and of its group leave less (settings `generator.backlog` and `generator.group_backlog`).
    pub backlog: u64,
    /// The size of these subtasks, in bytes; less where the budgets of the cluster and of its group leave less (settings
    /// `generator.backlog_bytes` and `generator.group_backlog_bytes`). Default 64 MiB.
    pub backlog_bytes: u64,
    /// The time that a parcel is to take: it has as many subtasks as are run within that, as far as is known. Their results come together,
    /// and calls of the stores are shared by them. Default [`PARCEL_WORK`], at most one second.
    pub parcel_work: Duration,
    /// The time that a cancelled subtask has to stop.
    pub cancel_grace: Duration,
    /// The limits on the running subtasks of one task, whatever its group's share.
    pub limits: Limits,
}

impl Default for TaskConf {
    fn default() -> Self {
        Self {
            version: 0,
            iteration: IterationMode::No,
            task_type_timeout: Duration::from_secs(24 * 3600),
            queue_timeout: None,
            subtask_timeout: Duration::from_secs(300),
            max_attempts: 3,
            max_executor_losses: 3,
            on_lost_session: OnLostSession::default(),
            backoff: Backoff::default(),
            call_attempts: 5,
            call_backoff: Backoff::default(),
            on_failure: OnFailure::GoOn,
            backlog: 10_000,
            backlog_bytes: 64 << 20,
            parcel_work: PARCEL_WORK,
            cancel_grace: Duration::from_secs(10),
            limits: Limits::NONE,
        }
    }
}

impl TaskConf {
    /// Checks the ranges.
    ///
    /// # Errors
    /// The first value that is out of range.
    pub fn check(&self) -> Result<(), InvalidInput> {
        let positive = |what, span: Duration| match span {
            Duration::ZERO => {
                Err(InvalidInput::OutOfRange { what, got: "0".to_owned(), allowed: "more than 0".to_owned() })
            }
            _ => Ok(()),
        };
        positive("the task type's timeout", self.task_type_timeout)?;
        positive("the subtask timeout", self.subtask_timeout)?;
        positive("the time in queue", self.queue_timeout.unwrap_or(Duration::MAX))?;
        let at_least_one = |what, number: u64| match number {
            0 => {
                Err(InvalidInput::OutOfRange { what, got: "0".to_owned(), allowed: "at least 1".to_owned() })
            }
            _ => Ok(()),
        };
        at_least_one("the number of attempts", u64::from(self.max_attempts))?;
        at_least_one("the number of attempts of generator and collector", u64::from(self.call_attempts))?;
        at_least_one("the backlog", self.backlog)?;
        at_least_one("the size of the backlog", self.backlog_bytes)?;
        positive("the time of a parcel", self.parcel_work)?;
        if self.parcel_work > MAX_PARCEL_WORK {
            let (got, allowed) = (format!("{:?}", self.parcel_work), format!("at most {MAX_PARCEL_WORK:?}"));
            return Err(InvalidInput::OutOfRange { what: "the time of a parcel", got, allowed });
        }
        if !(2..=MAX_EXECUTOR_LOSSES).contains(&self.max_executor_losses) {
            let (got, allowed) =
                (self.max_executor_losses.to_string(), format!("2 to {MAX_EXECUTOR_LOSSES}"));
            return Err(InvalidInput::OutOfRange { what: "the number of executors lost", got, allowed });
        }
        self.limits.check()
    }

    /// Checks the subtask timeout against the longest that is allowed here.
    ///
    /// # Errors
    /// It is longer.
    pub fn check_subtask_timeout(&self, most: Duration) -> Result<(), InvalidInput> {
        if self.subtask_timeout <= most {
            return Ok(());
        }
        Err(InvalidInput::OutOfRange {
            what: "the subtask timeout",
            got: format!("{:?}", self.subtask_timeout),
            allowed: format!("at most {most:?}, the setting plugins.max_subtask_timeout"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_its_most() {
        let backoff = Backoff { first: Duration::from_secs(1), most: Duration::from_secs(5) };
        let waits: Vec<_> = (1..5).map(|failed| backoff.wait(failed, 1.0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 5]);
        assert_eq!(backoff.wait(40, 0.0), Duration::from_millis(2500));
    }

    #[test]
    fn zeroes_are_refused() {
        assert!(TaskConf::default().check().is_ok());
        assert!(TaskConf { max_executor_losses: 8, ..TaskConf::default() }.check().is_err());
        assert!(TaskConf { max_attempts: 0, ..TaskConf::default() }.check().is_err());
        assert!(TaskConf { call_attempts: 0, ..TaskConf::default() }.check().is_err());
        assert!(TaskConf { backlog_bytes: 0, ..TaskConf::default() }.check().is_err());
        assert!(TaskConf { subtask_timeout: Duration::ZERO, ..TaskConf::default() }.check().is_err());
        assert!(TaskConf { parcel_work: Duration::ZERO, ..TaskConf::default() }.check().is_err());
        assert!(
            TaskConf { parcel_work: Duration::from_millis(1001), ..TaskConf::default() }.check().is_err()
        );
        assert!(TaskConf { task_type_timeout: Duration::ZERO, ..TaskConf::default() }.check().is_err());
        assert!(TaskConf { queue_timeout: Some(Duration::ZERO), ..TaskConf::default() }.check().is_err());
    }

    #[test]
    fn a_subtask_timeout_above_the_one_configured_is_refused() {
        let conf = |subtask_timeout| TaskConf { subtask_timeout, ..TaskConf::default() };
        assert_eq!(conf(MAX_SUBTASK_TIMEOUT).check_subtask_timeout(MAX_SUBTASK_TIMEOUT), Ok(()));
        let longer = conf(MAX_SUBTASK_TIMEOUT + Duration::from_secs(1));
        assert_eq!(
            longer.check_subtask_timeout(MAX_SUBTASK_TIMEOUT).map_err(|error| error.to_string()),
            Err("the subtask timeout is 1801s; allowed is at most 1800s, the setting plugins.max_subtask_timeout".to_owned())
        );
        assert_eq!(longer.check_subtask_timeout(Duration::MAX), Ok(()));
    }
}
