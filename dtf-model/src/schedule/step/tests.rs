use std::collections::BTreeSet;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::ids::{ScheduleId, TaskTypeId};
use crate::param::TaskParam;
use crate::schedule::{Backfill, ScheduleSpec, Template};

/// 2026-01-01 00:00 UTC.
const BEGIN: u64 = 1_767_225_600_000;
const MINUTE: u64 = 60_000;

fn row(when: &str, overlap: Overlap) -> ScheduleRow {
    let spec = ScheduleSpec {
        name: "s".to_owned(),
        description: String::new(),
        when: when.to_owned(),
        zone: "UTC".to_owned(),
        template: Template::Task { task_type: TaskTypeId(1), param: Box::default() },
        overlap,
        catch_up: Duration::from_secs(3600),
        jitter: Duration::ZERO,
        start_at: None,
        end_at: None,
    };
    let state = ScheduleState::beginning(&spec, &spec.check().unwrap(), BEGIN);
    assert_eq!(TaskParam::default().start_at, None);
    ScheduleRow {
        id: ScheduleId(1),
        request: Uuid::from_u128(7),
        spec,
        state,
        next_at: None,
        revision: 0,
        created_at: BEGIN,
    }
}

/// A schedule under test, whose tasks have the numbers of their due minutes.
struct Bench {
    row: ScheduleRow,
    calendar: Calendar,
    ended: BTreeSet<TaskId>,
    cancelled: Vec<TaskId>,
}

impl Bench {
    fn new(row: ScheduleRow) -> Self {
        let calendar = row.spec.calendar().unwrap();
        Self { row, calendar, ended: BTreeSet::new(), cancelled: Vec::new() }
    }

    /// Steps at a time, and returns the minutes of the due times whose tasks are created then.
    fn at(&mut self, minute: u64) -> Vec<u64> {
        let now = BEGIN + minute * MINUTE;
        let Step { state, cancel, next_at } =
            step(Plan { row: &self.row, calendar: &self.calendar, now }, |task| self.ended.contains(&task));
        assert!(next_at.is_none_or(|at| at >= now || state.next_due.is_some_and(|due| due < now)));
        self.cancelled.extend(cancel);
        self.row.state = state;
        let made: Vec<_> = self
            .row
            .state
            .creating
            .iter()
            .map(|creation| (creation.clone(), Ok(number(creation.due))))
            .collect();
        let (state, next_at) = Plan { row: &self.row, calendar: &self.calendar, now }.settle(&made);
        (self.row.state, self.row.next_at) = (state, next_at);
        made.iter().map(|(creation, _)| (creation.due - BEGIN) / MINUTE).collect()
    }

    fn end(&mut self, minute: u64) {
        self.ended.insert(TaskId(minute));
    }
}

fn number(due: u64) -> TaskId {
    TaskId((due - BEGIN) / MINUTE)
}

#[test]
fn a_due_time_that_overlaps_is_skipped() {
    let mut bench = Bench::new(row("*/10 * * * *", Overlap::Skip));
    assert!(bench.at(9).is_empty());
    assert_eq!(bench.at(10), [10]);
    assert!(bench.at(20).is_empty());
    bench.end(10);
    assert_eq!(bench.at(30), [30]);
    let totals = bench.row.state.totals;
    assert_eq!((totals.created, totals.skipped, totals.missed), (2, 1, 0));
}

#[test]
fn one_due_time_waits_for_the_end_of_the_task() {
    let mut bench = Bench::new(row("*/10 * * * *", Overlap::QueueOne));
    assert_eq!(bench.at(10), [10]);
    assert_eq!((bench.at(20), bench.row.state.queued), (vec![], Some(BEGIN + 20 * MINUTE)));
    assert_eq!(bench.row.next_at, Some(BEGIN + 20 * MINUTE + 1000), "it is looked at again");
    assert!(bench.at(30).is_empty());
    bench.end(10);
    assert_eq!(bench.at(31), [20]);
    bench.end(20);
    assert_eq!(bench.at(40), [40]);
    assert_eq!(bench.row.state.totals.skipped, 1);
}

#[test]
fn the_task_before_is_cancelled_and_the_latest_due_time_follows_its_end() {
    let mut bench = Bench::new(row("*/10 * * * *", Overlap::CancelOther));
    assert_eq!(bench.at(10), [10]);
    assert_eq!((bench.at(20), bench.at(30)), (vec![], vec![]));
    assert_eq!(bench.cancelled, [TaskId(10), TaskId(10)]);
    bench.end(10);
    assert_eq!(bench.at(31), [30]);
    // Several that come at once: only the last one is created.
    bench.end(30);
    assert_eq!(bench.at(65), [60]);
    assert_eq!(bench.row.state.totals.skipped, 3);
}

#[test]
fn tasks_may_overlap_where_that_is_allowed() {
    let mut bench = Bench::new(row("*/10 * * * *", Overlap::Allow));
    assert_eq!(bench.at(35), [10, 20, 30]);
    assert!(bench.row.state.running.is_empty(), "nobody asks for them");
}

#[test]
fn due_times_outside_the_catch_up_window_are_missed() {
    let mut bench = Bench::new(row("*/10 * * * *", Overlap::Allow));
    assert_eq!(
        bench.at(24 * 60 + 5),
        [23 * 60 + 10, 23 * 60 + 20, 23 * 60 + 30, 23 * 60 + 40, 23 * 60 + 50, 24 * 60]
    );
    assert_eq!(bench.row.state.totals.missed, 1, "one entry for all of them");
    let mut bench = Bench::new(row("* * * * * *", Overlap::Allow));
    bench.row.spec.catch_up = Duration::ZERO;
    assert_eq!(bench.at(600_000).len(), 1, "a year of seconds is passed over at once");
}

#[test]
fn many_due_times_are_created_in_parts() {
    let mut bench = Bench::new(row("* * * * * *", Overlap::Allow));
    assert_eq!(bench.at(10).len(), MAX_CREATED);
    assert!(bench.row.next_at <= Some(BEGIN + 10 * MINUTE), "the rest follows at once");
    let rest: usize = (0..5).map(|_| bench.at(10).len()).sum();
    assert_eq!(rest + MAX_CREATED, 600);
}

#[test]
fn a_pause_passes_over_due_times() {
    let mut bench = Bench::new(row("*/10 * * * *", Overlap::Skip));
    bench.row.state.paused = true;
    assert_eq!((bench.at(35), bench.row.next_at), (vec![], None));
    bench.row.state = Plan { row: &bench.row, calendar: &bench.calendar, now: BEGIN + 36 * MINUTE }.resumed();
    assert!(bench.at(39).is_empty());
    assert_eq!(bench.at(40), [40]);
    assert_eq!(bench.row.state.totals.created, 1);
}

#[test]
fn nothing_is_due_before_the_start_or_behind_the_end() {
    let mut row = row("*/10 * * * *", Overlap::Allow);
    (row.spec.start_at, row.spec.end_at) = (Some(BEGIN + 20 * MINUTE), Some(BEGIN + 30 * MINUTE));
    row.state = ScheduleState::beginning(&row.spec, &row.spec.check().unwrap(), BEGIN);
    let mut bench = Bench::new(row);
    assert!(bench.at(10).is_empty());
    assert_eq!(bench.at(55), [20, 30]);
    assert_eq!((bench.row.next_at, bench.row.state.next_due), (None, None));
}

#[test]
fn jitter_puts_off_and_depends_on_schedule_and_due_time_only() {
    let mut row = row("*/10 * * * *", Overlap::Allow);
    row.spec.jitter = Duration::from_secs(300);
    let calendar = row.spec.calendar().unwrap();
    let spread = |row: &ScheduleRow, due| Plan { row, calendar: &calendar, now: 0 }.fire_at(due) - due;
    let offsets: BTreeSet<_> = (1..100).map(|n| spread(&row, BEGIN + n * 10 * MINUTE)).collect();
    assert!(offsets.len() > 90 && offsets.iter().all(|offset| *offset < 300_000));
    let one = spread(&row, BEGIN);
    assert_eq!(spread(&row, BEGIN), one);
    row.request = Uuid::from_u128(8);
    assert_ne!(spread(&row, BEGIN), one);
}

#[test]
fn a_backfill_keeps_to_its_concurrency_and_to_the_names_of_due_times() {
    let mut bench = Bench::new(row("*/10 * * * *", Overlap::Skip));
    bench.row.state.paused = true;
    let next = Plan { row: &bench.row, calendar: &bench.calendar, now: 0 }
        .first_of(BEGIN, BEGIN + 40 * MINUTE)
        .unwrap();
    bench.row.state.backfill =
        Some(Backfill { next: Some(next), until: BEGIN + 40 * MINUTE, concurrency: 2, running: Vec::new() });
    assert_eq!(bench.at(500), [0, 10]);
    assert!(bench.at(501).is_empty());
    bench.end(10);
    assert_eq!(bench.at(502), [20]);
    (0..=40).for_each(|minute| bench.end(minute));
    assert_eq!(bench.at(503), [30, 40]);
    assert!(bench.at(504).is_empty());
    assert_eq!((&bench.row.state.backfill, bench.row.next_at), (&None, None));
    let due = BEGIN + 10 * MINUTE;
    let creation = |cause| Creation::of(bench.row.request, due, cause).request;
    assert_eq!(
        creation(Cause::Due),
        creation(Cause::Backfill),
        "what was created when it was due is found again"
    );
}

#[test]
fn what_was_decided_is_created_before_anything_else_is_decided() {
    let mut bench = Bench::new(row("*/10 * * * *", Overlap::Skip));
    let plan = |row: &ScheduleRow, minute: u64| {
        let now = BEGIN + minute * MINUTE;
        step(Plan { row, calendar: &row.spec.calendar().unwrap(), now }, |_| false)
    };
    bench.row.state = plan(&bench.row, 10).state;
    let decided = bench.row.state.creating.clone();
    assert_eq!(decided.len(), 1);
    // The manager dies; the next one comes later, and finds the same decision.
    let later = plan(&bench.row, 45);
    assert_eq!((&later.state, later.next_at), (&bench.row.state, Some(BEGIN + 45 * MINUTE)));
    // A refusal is an outcome too.
    let now = BEGIN + 45 * MINUTE;
    let made = [(decided[0].clone(), Err("no such group".to_owned()))];
    let (state, _) = Plan { row: &bench.row, calendar: &bench.calendar, now }.settle(&made);
    assert_eq!((state.totals.refused, state.history[0].reason.as_str()), (1, "no such group"));
    assert!(state.creating.is_empty() && state.running.is_empty());
}

proptest! {
    /// Whenever managers look, however late, and whenever tasks end: each due time has one outcome, tasks overlap only where that is
    /// allowed, and the one that waits is created in the end.
    #[test]
    fn each_due_time_has_one_outcome(
        overlap in 0_usize..4,
        looks in prop::collection::vec((1_u64..40, any::<bool>()), 1..60),
    ) {
        let overlap = Overlap::ALL[overlap];
        let mut bench = Bench::new(row("*/10 * * * *", overlap));
        bench.row.spec.catch_up = Duration::from_secs(100 * 24 * 3600);
        let (mut minute, mut created) = (0, Vec::new());
        for (pause, ends) in looks {
            minute += pause;
            if ends {
                created.iter().for_each(|task| { bench.ended.insert(TaskId(*task)); });
            }
            let now = bench.at(minute);
            prop_assert!(overlap == Overlap::Allow || now.len() <= 1);
            created.extend(now);
            let totals = bench.row.state.totals;
            let waiting = u64::from(bench.row.state.queued.is_some());
            prop_assert_eq!(totals.created + totals.skipped + waiting, minute / 10, "{:?}", bench.row.state);
            prop_assert_eq!(totals.created, created.len() as u64);
        }
        let distinct: BTreeSet<_> = created.iter().collect();
        prop_assert_eq!(distinct.len(), created.len());
        created.iter().for_each(|task| { bench.ended.insert(TaskId(*task)); });
        let waits = bench.row.state.queued.is_some();
        prop_assert_eq!(bench.at(minute).len(), usize::from(waits));
    }
}
