//! The due times of schedules against a table that another implementation made (`data/due_times.py`).

use dtf_model::schedule::Calendar;
use proptest::prelude::*;
use serde::Deserialize;

/// The due times of an expression in a period.
#[derive(Debug, Deserialize)]
struct Row {
    zone: String,
    when: String,
    after: u64,
    until: u64,
    due: Vec<u64>,
}

fn table() -> Vec<Row> {
    serde_json::from_str(include_str!("data/due_times.json")).expect("the table is JSON")
}

fn calendar(row: &Row) -> Calendar {
    Calendar::parse(&row.when, &row.zone).unwrap_or_else(|error| panic!("{error}"))
}

fn due(row: &Row) -> Vec<u64> {
    let calendar = calendar(row);
    let next = |after: &u64| calendar.next(*after, 0).filter(|due| *due <= row.until);
    std::iter::successors(next(&row.after), next).collect()
}

#[test]
fn due_times_are_those_of_another_implementation() {
    let table = table();
    assert!(table.len() > 100 && table.iter().map(|row| row.due.len()).sum::<usize>() > 3000);
    for row in &table {
        assert_eq!(due(row), row.due, "{:?} in {}", row.when, row.zone);
    }
}

proptest! {
    /// From whichever time the search begins, the next due time is the table's.
    #[test]
    fn the_next_due_time_is_the_first_later_one(row in 0_usize..1000, at in 0.0_f64..1.0) {
        let table = table();
        let row = &table[row % table.len()];
        let after = row.after + ((row.until - row.after) as f64 * at) as u64;
        let expected = row.due.iter().copied().find(|due| *due > after);
        let found = calendar(row).next(after, 0).filter(|due| *due <= row.until);
        prop_assert_eq!(found, expected, "{:?} in {} after {}", row.when, row.zone, after);
    }

    /// An interval is due at whole numbers of it from the anchor.
    #[test]
    fn an_interval_is_due_at_whole_numbers_of_it(seconds in 1_u64..100_000, anchor in 0_u64..2_000_000_000_000, after in 0_u64..2_000_000_000_000) {
        let calendar = Calendar::parse(&format!("@every {seconds}s"), "Europe/Berlin").expect("an interval");
        let due = calendar.next(after, anchor).expect("there always is one");
        let interval = seconds * 1000;
        prop_assert!(due >= anchor && (due - anchor).is_multiple_of(interval));
        prop_assert!(due == anchor || (due > after && due - interval <= after.max(anchor)));
    }

    /// Whatever a user writes is read or refused in one line.
    #[test]
    fn any_text_is_read_or_refused_in_one_line(when in "[0-9*/,@A-Za-z# -]{0,30}", zone in "[A-Za-z/_]{0,12}") {
        if let Err(error) = Calendar::parse(&when, &zone) {
            prop_assert!(!error.to_string().contains('\n'));
        }
    }
}

#[test]
fn a_rule_is_told_in_words() {
    let words = |when: &str| Calendar::parse(when, "UTC").expect(when).words();
    assert_eq!(words("@every 90s"), "Every 90 seconds");
    assert!(words("30 9 * * 1-5").to_lowercase().contains("09:30"), "{}", words("30 9 * * 1-5"));
}
