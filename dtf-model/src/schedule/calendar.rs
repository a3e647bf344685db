//! The due times of a schedule: a pure function of its expression and its time zone.
//!
//! # The problem
//! A cron expression speaks of the clock on the wall. That clock skips an hour when summer time begins and shows one twice when it
//! ends, at a time that depends on the zone, and users want neither a lost nor a doubled run. So the expression is matched
//! against wall-clock times alone, and each match is one instant: a time that the clock shows twice is the first of the two, and
//! a time that it skips is the end of the gap. The matches of a gap are then one instant, which is due once.
//!
//! An interval (`@every 90s`) knows no wall clock: its due times are a whole number of intervals from its start.

use std::cmp::Ordering;
use std::time::Duration;

use croner::Cron;
use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};
use croner::time::{CivilDate, CivilDateTime, CivilTime, CronDateTime, Resolution, Weekday};
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use crate::error::InvalidInput;

/// The zone of a schedule that names none.
pub const DEFAULT_ZONE: &str = "UTC";
/// The shortest interval between two due times.
pub const MIN_INTERVAL: Duration = Duration::from_secs(1);
/// The longest interval.
pub const MAX_INTERVAL: Duration = Duration::from_secs(366 * 24 * 3600);
/// The longest expression, in characters.
pub const MAX_EXPRESSION_CHARS: usize = 128;

/// The beginning of an expression that is an interval.
const EVERY: &str = "@every ";
/// The names of common expressions.
const NAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];
/// 2000-01-01: an expression without an occurrence after it has none.
const EPOCH_OF_SEARCH: (i16, i8, i8) = (2000, 1, 1);

/// The due times of an expression in a time zone.
///
/// ```
/// use dtf_model::schedule::Calendar;
///
/// let calendar = Calendar::parse("30 2 * * *", "Europe/Berlin")?;
/// // 2026-03-28 12:00 UTC; the next night has no half past two, so it is due when the clock has gone forward to three.
/// assert_eq!(calendar.next(1_774_699_200_000, 0), Some(1_774_746_000_000));
/// assert!(Calendar::parse("0 0 30 2 *", "UTC").is_err(), "there is no 30th of February");
/// # Ok::<(), dtf_model::InvalidInput>(())
/// ```
#[derive(Clone, Debug)]
pub struct Calendar {
    rule: Rule,
    zone: TimeZone,
}

#[derive(Clone, Debug)]
enum Rule {
    Cron(Box<Cron>),
    /// An interval, in milliseconds.
    Every(u64),
}

impl Calendar {
    /// Reads an expression and the name of a time zone.
    ///
    /// # Errors
    /// [`InvalidInput::Schedule`], in one line: what is wrong, and what is allowed.
    pub fn parse(expression: &str, zone: &str) -> Result<Self, InvalidInput> {
        let zone = TimeZone::get(zone).map_err(|_| {
            InvalidInput::Schedule(format!(
                "the time zone {zone:?} is unknown; write a name of the IANA database, such as Europe/Berlin or UTC"
            ))
        })?;
        let expression = expression.trim();
        let rule = match expression.strip_prefix(EVERY) {
            Some(interval) => Rule::Every(interval_of(expression, interval.trim())?),
            None => Rule::Cron(Box::new(cron_of(expression)?)),
        };
        Ok(Self { rule, zone })
    }

    /// Returns the first due time later than `after`; `None` where there is none before the year 5000. Intervals are counted from
    /// `anchor`. All times are milliseconds since the Unix epoch.
    pub fn next(&self, after: u64, anchor: u64) -> Option<u64> {
        match &self.rule {
            Rule::Every(interval) => {
                let intervals = after.checked_sub(anchor).map_or(0, |past| past / interval + 1);
                anchor.checked_add(interval.checked_mul(intervals)?)
            }
            Rule::Cron(cron) => self.next_of_cron(cron, after),
        }
    }

    fn next_of_cron(&self, cron: &Cron, after: u64) -> Option<u64> {
        let start = Timestamp::from_millisecond(i64::try_from(after).ok()?).ok()?;
        let mut civil = WallClock(self.zone.to_datetime(start));
        loop {
            civil = cron.find_next_occurrence(&civil, false).ok()?;
            let due = self.instant(civil.0)?;
            // The clock showed this time before it was set back.
            if due > after {
                return Some(due);
            }
        }
    }

    /// The instant at which the clock on the wall first shows a time, or has skipped it.
    fn instant(&self, civil: DateTime) -> Option<u64> {
        let ambiguous = self.zone.to_ambiguous_timestamp(civil);
        let at = match ambiguous.offset() {
            AmbiguousOffset::Gap { .. } => {
                // As the offset behind the gap has it, the time is before the gap.
                let before = ambiguous.earlier().ok()?;
                self.zone.following(before).next()?.timestamp()
            }
            AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => ambiguous.earlier().ok()?,
        };
        u64::try_from(at.as_millisecond()).ok()
    }

    /// Returns the rule in words, such as "At 09:30, on weekdays".
    pub fn words(&self) -> String {
        match &self.rule {
            Rule::Every(interval) => every(*interval),
            Rule::Cron(cron) => cron.describe().trim_end_matches('.').to_owned(),
        }
    }

    /// Formats a time as RFC 3339 with the offset of the zone, as `2026-03-29T03:00:00+02:00`.
    pub fn rfc3339(&self, millis: u64) -> String {
        let at = i64::try_from(millis).ok().and_then(|millis| Timestamp::from_millisecond(millis).ok());
        at.map_or_else(
            || millis.to_string(),
            |at| at.display_with_offset(self.zone.to_offset(at)).to_string(),
        )
    }
}

/// An interval in words, such as "Every 90 minutes".
fn every(millis: u64) -> String {
    let units = [(86_400_000, "day"), (3_600_000, "hour"), (60_000, "minute"), (1000, "second")];
    match units.into_iter().find(|(unit, _)| millis > 0 && millis.is_multiple_of(*unit)) {
        Some((unit, name)) if unit == millis => format!("Every {name}"),
        Some((unit, name)) => format!("Every {} {name}s", millis / unit),
        None => format!("Every {}", lrmf_core::config::text::show(Duration::from_millis(millis))),
    }
}

/// Reads a time that a user gives: milliseconds since the Unix epoch, or RFC 3339 such as `2026-03-29T03:00:00+02:00`.
///
/// # Errors
/// [`InvalidInput::Schedule`] with the form that is allowed.
pub fn parse_time(text: &str) -> Result<u64, InvalidInput> {
    let wrong = || {
        InvalidInput::Schedule(format!(
            "the time {text:?} cannot be read; write it as 2026-03-29T03:00:00Z or in milliseconds since 1970"
        ))
    };
    match text.parse::<u64>() {
        Ok(millis) => Ok(millis),
        Err(_) => {
            let at: Timestamp = text.parse().map_err(|_| wrong())?;
            u64::try_from(at.as_millisecond()).map_err(|_| wrong())
        }
    }
}

fn interval_of(expression: &str, interval: &str) -> Result<u64, InvalidInput> {
    let wrong = |why: String| InvalidInput::Schedule(format!("the schedule {expression:?} {why}"));
    let span = lrmf_core::config::text::parse(interval)
        .map_err(|error| wrong(format!("has no interval ({error}); write it as in \"@every 90s\"")))?;
    if !(MIN_INTERVAL..=MAX_INTERVAL).contains(&span) || span.subsec_millis() != 0 {
        return Err(wrong(
            "has an interval that is not allowed; allowed are whole seconds, 1s to 366 days".to_owned(),
        ));
    }
    // A year of milliseconds fits.
    Ok(span.as_millis() as u64)
}

fn cron_of(expression: &str) -> Result<Cron, InvalidInput> {
    let wrong = |why: &str| {
        InvalidInput::Schedule(format!(
            "the schedule {expression:?} {why}; write five fields (minute hour day-of-month month day-of-week), six with the second \
             first, @hourly, @daily, @weekly, @monthly, @yearly, or an interval as in \"@every 90s\""
        ))
    };
    let fields = match NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(expression)) {
        Some((_, fields)) => *fields,
        None if expression.starts_with('@') => return Err(wrong("is no name that is known")),
        None if expression.chars().count() > MAX_EXPRESSION_CHARS => return Err(wrong("is too long")),
        None => expression,
    };
    let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
    let cron = parser.parse(fields).map_err(|error| wrong(&format!("cannot be read ({})", said(&error))))?;
    let (year, month, day) = EPOCH_OF_SEARCH;
    let from = WallClock(DateTime::constant(year, month, day, 0, 0, 0, 0));
    if cron.find_next_occurrence(&from, true).is_err() {
        return Err(InvalidInput::Schedule(format!(
            "the schedule {expression:?} is never due: no date fits; correct the day of the month or the month"
        )));
    }
    Ok(cron)
}

/// The error without the kind that it begins with, in one line.
fn said(error: &CronError) -> String {
    let text = error.to_string();
    text.split_once(": ").map_or(text.as_str(), |(_, said)| said).trim_end_matches('.').to_owned()
}

/// A wall-clock time without a zone, in which expressions are matched.
#[derive(Clone, Copy)]
struct WallClock(DateTime);

impl CronDateTime for WallClock {
    fn to_civil(&self) -> CivilDateTime {
        let Self(at) = self;
        let unsigned = |number: i8| u32::from(number.unsigned_abs());
        CivilDateTime::new(
            CivilDate::from_parts_unchecked(i32::from(at.year()), unsigned(at.month()), unsigned(at.day())),
            CivilTime::from_parts_unchecked(
                unsigned(at.hour()),
                unsigned(at.minute()),
                unsigned(at.second()),
            ),
        )
    }

    fn civil_weekday(&self) -> Weekday {
        Weekday::from_days_from_sunday(u32::from(self.0.weekday().to_sunday_zero_offset().unsigned_abs()))
    }

    fn resolve_civil(&self, civil: CivilDateTime) -> Result<Resolution<Self>, CronError> {
        let part = |number: u32| i8::try_from(number).map_err(|_| CronError::InvalidDate);
        let year = i16::try_from(civil.year()).map_err(|_| CronError::InvalidDate)?;
        let at = DateTime::new(
            year,
            part(civil.month())?,
            part(civil.day())?,
            part(civil.hour())?,
            part(civil.minute())?,
            part(civil.second())?,
            0,
        );
        at.map(|at| Resolution::Single(Self(at))).map_err(|_| CronError::InvalidDate)
    }

    fn checked_add_seconds(&self, seconds: i64) -> Option<Self> {
        self.0.checked_add(SignedDuration::from_secs(seconds)).ok().map(Self)
    }

    fn cmp_instant(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::every;

    #[test]
    fn an_interval_is_told_in_its_largest_unit() {
        for (millis, words) in [
            (3_600_000, "Every hour"),
            (7_200_000, "Every 2 hours"),
            (90_000, "Every 90 seconds"),
            (86_400_000, "Every day"),
            (5_400_000, "Every 90 minutes"),
            (1500, "Every 1500ms"),
        ] {
            assert_eq!(every(millis), words);
        }
    }
}
