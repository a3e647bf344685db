//! The manager's decision about a task: a pure function of what is seen of it.
//!
//! # The problem
//! A task's row in `tbl_task` says what it is and what is wanted of it; its queues say how far it is. Both change under
//! the manager's eyes, calls fail half-way, and managers die. So nothing is remembered: each time, the row and the queues
//! are read, [`decide`] names the next step from these two alone, the step is taken as a conditional write, and both are
//! read again. Any crash between two steps leaves a state that this table knows.
//!
//! | row | queues of its run | next |
//! |---|---|---|
//! | terminal | not ended: made too late | close them |
//! | terminal | otherwise | nothing |
//! | to end | none | end it, with empty books |
//! | paused before its start, waiting for other tasks, or not yet due | none | wait |
//! | otherwise | none: never made, half made, lost, or of another creation | begin the next run |
//! | any | completed, or closed | end it, with these books |
//! | not to end | asks to be stopped, or its time is up, or that to wait for its turn | abort it |
//! | any | want something else than the row | tell them |
//! | to end | nothing runs, or the grace is over | close them |

use std::time::Duration;

use crate::ids::RunEpoch;
use crate::plugin::{TaskConf, TaskResult};
use crate::queue::{Ending, TaskState};
use crate::status::{Control, Counts, TaskStatus};
use crate::table::TaskRow;

/// The run of a task for which nothing was lost yet.
const FIRST_RUN: RunEpoch = RunEpoch(1);

/// The next step for a task.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Nothing, ever.
    Rest,
    /// Nothing before this time (milliseconds since the Unix epoch), or a hint.
    Wait {
        /// The time of the next look; `None` to look on a hint only.
        until: Option<u64>,
    },
    /// Raise the run in the row, then make the queues for it.
    BeginRun,
    /// Write to the row that the task is to be aborted.
    Abort {
        /// Why.
        reason: String,
    },
    /// Tell the queues what the row wants.
    SetControl(Control),
    /// Close the queues.
    Close,
    /// End the task.
    Finish {
        /// The terminal status.
        status: TaskStatus,
        /// The books.
        counts: Counts,
        /// The collector's result of the task.
        result: Option<TaskResult>,
    },
}

/// Names the next step. `queues` is what the store has under the task's id, of whichever run.
pub fn decide(now: u64, row: &TaskRow, queues: Option<&TaskState>, conf: &TaskConf) -> Step {
    let queues = queues.filter(|queues| queues.is_of(row));
    if row.status.is_terminal() {
        let late = queues.is_some_and(|queues| queues.ending.is_none());
        return if late { Step::Close } else { Step::Rest };
    }
    match queues {
        None => without_queues(now, row),
        Some(queues) => with_queues(now, row, queues, conf),
    }
}

fn without_queues(now: u64, row: &TaskRow) -> Step {
    if row.control.ends() {
        return Step::Finish { status: end_of(row.control), counts: Counts::default(), result: None };
    }
    if row.waits || row.control == Control::Pause {
        return Step::Wait { until: None };
    }
    match row.param.start_at {
        Some(start) if start > now => Step::Wait { until: Some(start) },
        _ => Step::BeginRun,
    }
}

fn with_queues(now: u64, row: &TaskRow, queues: &TaskState, conf: &TaskConf) -> Step {
    match &queues.ending {
        Some(Ending::Completed(result)) => {
            // Everything was counted before the task could be closed; what its end reached was counted as cancelled.
            let was_reached = row.control.ends() && queues.counts.cancelled > 0;
            let status = if was_reached { end_of(row.control) } else { TaskStatus::Completed };
            return Step::Finish { status, counts: queues.counts, result: Some(result.clone()) };
        }
        Some(Ending::Closed) => {
            return Step::Finish { status: end_of(row.control), counts: queues.counts, result: None };
        }
        None => {}
    }
    let deadline = deadline(now, row, queues, conf);
    if !row.control.ends() {
        if let Some(reason) = &queues.stop {
            return Step::Abort { reason: reason.clone() };
        }
        if let Some(deadline) = deadline.as_ref().filter(|deadline| deadline.at <= now) {
            return Step::Abort { reason: deadline.reason() };
        }
    }
    if queues.control != row.control {
        return Step::SetControl(row.control);
    }
    if !row.control.ends() {
        return Step::Wait { until: deadline.map(|deadline| deadline.at) };
    }
    let patience = row.cancelled_at.unwrap_or(now).saturating_add(millis(conf.cancel_grace));
    if queues.running == 0 || patience <= now {
        return Step::Close;
    }
    Step::Wait { until: Some(patience) }
}

/// A time by which something has to have happened.
struct Deadline {
    /// In milliseconds since the Unix epoch.
    at: u64,
    limit: Duration,
    /// True if it is the deadline for the first subtask to run, and not that of the task's end.
    in_queue: bool,
}

impl Deadline {
    fn reason(&self) -> String {
        match self.in_queue {
            true => format!("nothing of it was run within {:?}", self.limit),
            false => format!("timed out after {:?}", self.limit),
        }
    }
}

/// Returns the end of the task's time; `None` while it is paused.
fn deadline(now: u64, row: &TaskRow, queues: &TaskState, conf: &TaskConf) -> Option<Deadline> {
    if row.paused_at.is_some() {
        return None;
    }
    let begun = row.started_at.unwrap_or(now).saturating_add(row.paused_for);
    let by = |limit, in_queue| Deadline { at: begun.saturating_add(millis(limit)), limit, in_queue };
    let end = by(row.param.timeout.min(conf.task_type_timeout), false);
    let waits = row.run == FIRST_RUN && !queues.has_begun();
    let turn = conf.queue_timeout.filter(|_| waits).map(|limit| by(limit, true));
    match turn {
        Some(turn) if turn.at < end.at => Some(turn),
        _ => Some(end),
    }
}

fn end_of(control: Control) -> TaskStatus {
    if control == Control::Cancel { TaskStatus::Cancelled } else { TaskStatus::Exceptional }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::ids::{TaskId, TaskTypeId};
    use crate::param::TaskParam;

    const START: u64 = 1_000_000;

    fn row(status: TaskStatus, control: Control, run: u32) -> TaskRow {
        TaskRow {
            id: TaskId(7),
            request: Uuid::from_u128(7),
            task_type: TaskTypeId(1),
            param: TaskParam { timeout: Duration::from_secs(60), ..TaskParam::default() },
            status,
            control,
            run: RunEpoch(run),
            created_at: START,
            started_at: (run > 0).then_some(START),
            finished_at: None,
            paused_at: None,
            paused_for: 0,
            cancelled_at: control.ends().then_some(START + 5_000),
            counts: Counts::default(),
            reason: String::new(),
            result: None,
            waits: false,
            flow: None,
            has_dependents: false,
            hooks: Vec::new(),
            hook_at: None,
        }
    }

    fn queues(row: &TaskRow) -> TaskState {
        TaskState { control: row.control, ..TaskState::begun(row.spec()) }
    }

    fn next(now: u64, row: &TaskRow, queues: Option<&TaskState>) -> Step {
        decide(now, row, queues, &TaskConf::default())
    }

    #[test]
    fn queues_of_another_creation_are_none() {
        let mut row = row(TaskStatus::Running, Control::Run, 1);
        let theirs = queues(&row);
        row.request = Uuid::from_u128(8);
        assert_eq!(next(START, &row, Some(&theirs)), Step::BeginRun);
        row.status = TaskStatus::Completed;
        assert_eq!(next(START, &row, Some(&theirs)), Step::Rest);
        // What the previous version made does not say whose it is.
        let mut unnamed = theirs;
        unnamed.spec.request = Uuid::nil();
        assert_eq!(next(START, &row, Some(&unnamed)), Step::Close);
    }

    #[test]
    fn a_created_task_begins_when_it_is_due() {
        let mut row = row(TaskStatus::Created, Control::Run, 0);
        assert_eq!(next(START, &row, None), Step::BeginRun);
        row.param.start_at = Some(START + 10);
        assert_eq!(next(START, &row, None), Step::Wait { until: Some(START + 10) });
        assert_eq!(next(START + 10, &row, None), Step::BeginRun);
    }

    #[test]
    fn a_task_that_waits_for_others_begins_when_it_waits_no_more() {
        let mut row = row(TaskStatus::Created, Control::Run, 0);
        row.waits = true;
        assert_eq!(next(START, &row, None), Step::Wait { until: None });
        row.waits = false;
        assert_eq!(next(START, &row, None), Step::BeginRun);
    }

    #[test]
    fn a_half_made_or_lost_run_begins_again() {
        let running = row(TaskStatus::Running, Control::Run, 2);
        assert_eq!(next(START, &running, None), Step::BeginRun);
        let mut earlier = queues(&running);
        earlier.spec.run = RunEpoch(1);
        assert_eq!(next(START, &running, Some(&earlier)), Step::BeginRun);
    }

    #[test]
    fn a_task_cancelled_before_its_start_ends_at_once() {
        let row = row(TaskStatus::Created, Control::Cancel, 0);
        let expected =
            Step::Finish { status: TaskStatus::Cancelled, counts: Counts::default(), result: None };
        assert_eq!(next(START, &row, None), expected);
    }

    #[test]
    fn queues_that_are_made_after_the_task_has_ended_are_closed() {
        let ended = row(TaskStatus::Cancelled, Control::Cancel, 1);
        let mut late = queues(&row(TaskStatus::Running, Control::Run, 1));
        assert_eq!(next(START, &ended, None), Step::Rest);
        assert_eq!(next(START, &ended, Some(&late)), Step::Close);
        late.ending = Some(Ending::Closed);
        assert_eq!(next(START, &ended, Some(&late)), Step::Rest);
    }

    #[test]
    fn a_running_task_waits_for_its_deadline_then_is_aborted() {
        let running = row(TaskStatus::Running, Control::Run, 1);
        let state = queues(&running);
        let deadline = START + 60_000;
        assert_eq!(next(START, &running, Some(&state)), Step::Wait { until: Some(deadline) });
        let Step::Abort { reason } = next(deadline, &running, Some(&state)) else { panic!() };
        assert_eq!(reason, "timed out after 60s");
    }

    #[test]
    fn paused_time_does_not_count() {
        let mut paused = row(TaskStatus::Paused, Control::Pause, 1);
        paused.paused_at = Some(START + 1_000);
        let state = queues(&paused);
        assert_eq!(next(START + 90_000, &paused, Some(&state)), Step::Wait { until: None });
        let mut resumed = row(TaskStatus::Running, Control::Run, 1);
        resumed.paused_for = 50_000;
        let state = queues(&resumed);
        let until = Some(START + 110_000);
        assert_eq!(next(START + 90_000, &resumed, Some(&state)), Step::Wait { until });
    }

    #[test]
    fn the_tighter_of_the_task_s_and_its_type_s_time_holds() {
        let running = row(TaskStatus::Running, Control::Run, 1);
        let state = queues(&running);
        let conf = TaskConf { task_type_timeout: Duration::from_secs(20), ..TaskConf::default() };
        let Step::Abort { reason } = decide(START + 20_000, &running, Some(&state), &conf) else { panic!() };
        assert_eq!(reason, "timed out after 20s");
        let conf = TaskConf { task_type_timeout: Duration::from_secs(100), ..conf };
        let until = Some(START + 60_000);
        assert_eq!(decide(START + 20_000, &running, Some(&state), &conf), Step::Wait { until });
    }

    #[test]
    fn a_task_waits_for_its_turn_no_longer_than_its_type_says() {
        let conf = TaskConf { queue_timeout: Some(Duration::from_secs(10)), ..TaskConf::default() };
        let mut running = row(TaskStatus::Running, Control::Run, 1);
        running.paused_for = 5_000;
        let waiting = queues(&running);
        let at = |now, row: &TaskRow, state: &TaskState| decide(now, row, Some(state), &conf);
        assert_eq!(at(START, &running, &waiting), Step::Wait { until: Some(START + 15_000) });
        let Step::Abort { reason } = at(START + 15_000, &running, &waiting) else { panic!() };
        assert_eq!(reason, "nothing of it was run within 10s");

        let to_its_end = Step::Wait { until: Some(START + 65_000) };
        let runs = TaskState { running: 1, ..waiting.clone() };
        assert_eq!(at(START + 15_000, &running, &runs), to_its_end);
        let ran = TaskState { used: Duration::from_nanos(1), ..waiting.clone() };
        assert_eq!(at(START + 15_000, &running, &ran), to_its_end);
        let counts = Counts { created: 1, cancelled: 1, ..Counts::default() };
        let counted = TaskState { counts, ..waiting.clone() };
        assert_eq!(at(START + 15_000, &running, &counted), to_its_end);

        // Of an earlier run nothing is known here, and it may well have run.
        let mut again = row(TaskStatus::Running, Control::Run, 2);
        again.paused_for = 5_000;
        assert_eq!(at(START + 15_000, &again, &queues(&again)), to_its_end);
        // Nor does it wait while it is paused.
        running.paused_at = Some(START + 1_000);
        assert_eq!(at(START + 90_000, &running, &waiting), Step::Wait { until: None });
    }

    #[test]
    fn the_queues_are_told_what_the_row_wants() {
        let running = row(TaskStatus::Running, Control::Run, 1);
        let mut state = queues(&running);
        state.control = Control::Pause;
        assert_eq!(next(START, &running, Some(&state)), Step::SetControl(Control::Run));
    }

    #[test]
    fn a_cancelled_task_is_closed_when_nothing_runs_or_the_grace_is_over() {
        let cancelled = row(TaskStatus::Running, Control::Cancel, 1);
        let mut state = queues(&cancelled);
        assert_eq!(next(START + 5_000, &cancelled, Some(&state)), Step::Close);
        state.running = 3;
        let grace_ends = START + 15_000;
        assert_eq!(next(START + 5_000, &cancelled, Some(&state)), Step::Wait { until: Some(grace_ends) });
        assert_eq!(next(grace_ends, &cancelled, Some(&state)), Step::Close);
    }

    #[test]
    fn what_a_role_says_stops_the_task_and_it_ends_as_exceptional() {
        let running = row(TaskStatus::Running, Control::Run, 1);
        let mut state = queues(&running);
        state.stop = Some("no".to_owned());
        assert_eq!(next(START, &running, Some(&state)), Step::Abort { reason: "no".to_owned() });
        let aborted = row(TaskStatus::Running, Control::Abort, 1);
        let mut state = queues(&aborted);
        state.ending = Some(Ending::Closed);
        let Step::Finish { status, .. } = next(START, &aborted, Some(&state)) else { panic!() };
        assert_eq!(status, TaskStatus::Exceptional);
    }

    #[test]
    fn a_completed_task_ends_even_when_its_cancel_came_too_late() {
        let cancelled = row(TaskStatus::Running, Control::Cancel, 1);
        let mut state = queues(&cancelled);
        state.ending = Some(Ending::Completed(TaskResult::default()));
        let Step::Finish { status, .. } = next(START, &cancelled, Some(&state)) else { panic!() };
        assert_eq!(status, TaskStatus::Completed);
    }

    #[test]
    fn a_task_whose_cancel_reached_its_last_subtasks_was_cancelled() {
        for (control, end) in
            [(Control::Cancel, TaskStatus::Cancelled), (Control::Abort, TaskStatus::Exceptional)]
        {
            let cancelled = row(TaskStatus::Running, control, 1);
            let mut state = queues(&cancelled);
            state.counts = Counts { created: 3, succeeded: 2, cancelled: 1, ..Counts::default() };
            state.ending = Some(Ending::Completed(TaskResult::default()));
            let Step::Finish { status, result, .. } = next(START, &cancelled, Some(&state)) else { panic!() };
            assert_eq!((status, result.is_some()), (end, true));
        }
    }

    #[test]
    fn every_finish_is_allowed_by_the_lifecycle() {
        for status in TaskStatus::ALL.into_iter().filter(|status| !status.is_terminal()) {
            for control in [Control::Run, Control::Pause, Control::Cancel, Control::Abort] {
                for ending in [None, Some(Ending::Closed), Some(Ending::Completed(TaskResult::default()))] {
                    let row = row(status, control, u32::from(status != TaskStatus::Created));
                    let state = TaskState { ending, ..queues(&row) };
                    for queues in [None, Some(&state)] {
                        if let Step::Finish { status: end, .. } = next(START, &row, queues) {
                            assert!(end.is_terminal());
                            let started = status != TaskStatus::Created;
                            assert!(status.may_become(end) || !started, "{status} to {end}");
                        }
                    }
                }
            }
        }
    }
}
