//! The steps that are kept: an hour of them, and a day by the means of many.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use dtf_api as api;
use dtf_api::{History, HistoryQuery, Span};

use super::STEP;
use super::meter::{Numbers, Point};

/// The steps of an hour.
const HOUR: usize = 720;
/// The steps of which a mean is made for the day.
const MEAN: usize = 60;
/// The means of a day.
const DAY: usize = 288;
/// The most groups whose shares are told.
const GROUPS: usize = 8;

/// The steps that are kept.
#[derive(Debug, Default)]
pub(super) struct Rings {
    hour: VecDeque<Point>,
    day: VecDeque<Point>,
    /// The steps since the last mean.
    since: usize,
}

fn keep(ring: &mut VecDeque<Point>, point: Point, most: usize) {
    if ring.len() == most {
        ring.pop_front();
    }
    ring.push_back(point);
}

/// The mean of some steps, as of the end of the last one.
fn mean<'a>(points: impl Iterator<Item = &'a Point> + Clone) -> Point {
    let factor = 1.0 / points.clone().count().max(1) as f64;
    let mut mean = Point::default();
    for point in points {
        mean.at = point.at;
        for (group, numbers) in &point.groups {
            mean.groups.entry(group.clone()).or_default().add(numbers, factor);
        }
    }
    mean
}

impl Rings {
    pub(super) fn push(&mut self, point: Point) {
        keep(&mut self.hour, point, HOUR);
        self.since += 1;
        if self.since == MEAN {
            self.since = 0;
            let mean = mean(self.hour.iter().rev().take(MEAN).rev());
            keep(&mut self.day, mean, DAY);
        }
    }

    /// Returns what was recorded of the groups that may be seen.
    pub(super) fn history(&self, query: &HistoryQuery, sees: impl Fn(&str) -> bool) -> History {
        let sees = |group: &str| sees(group) && query.group.as_deref().is_none_or(|only| only == group);
        let step = u64::try_from(STEP.as_millis()).unwrap_or(u64::MAX);
        let (ring, step_ms) = match query.span {
            Span::Hour => (&self.hour, step),
            Span::Day => (&self.day, step * MEAN as u64),
        };
        let mut history = History { step_ms, ..History::default() };
        let points = ring.iter().filter(|point| query.since.is_none_or(|since| point.at > since));
        let points: Vec<_> = points.collect();
        for point in &points {
            let mut total = Numbers::default();
            point.groups.iter().filter(|(group, _)| sees(group)).for_each(|(_, of)| total.add(of, 1.0));
            history.at.push(point.at);
            history.succeeded.push(total.succeeded as f32);
            history.failed.push(total.failed as f32);
            history.running.push(total.running as f32);
            history.waiting.push(total.waiting as f32);
            history.wait_ms.push(latency(total.waiting, &total));
            history.run_ms.push(latency(total.running, &total));
        }
        // Chosen by the whole ring, so that those who ask for a part of it are told of the same ones.
        for group in largest(ring, sees) {
            let share = points.iter().map(|point| share(point, group)).collect();
            let quota_share =
                points.iter().map(|point| point.groups.get(group).map_or(0.0, |of| of.quota_share as f32));
            let quota_share = quota_share.collect();
            history.groups.push(api::GroupHistory { group: group.to_owned(), share, quota_share });
        }
        history
    }
}

/// The mean time that a subtask was among so many, by Little's law, in milliseconds; none where none ended.
fn latency(among: f64, of: &Numbers) -> Option<f32> {
    let ended = of.succeeded + of.failed;
    (ended > 0.0).then(|| (1000.0 * among / ended) as f32)
}

/// The share of a group of all that ran.
fn share(point: &Point, group: &str) -> f32 {
    let all: f64 = point.groups.values().map(|numbers| numbers.running).sum();
    let own = point.groups.get(group).map_or(0.0, |numbers| numbers.running);
    if all > 0.0 { (own / all) as f32 } else { 0.0 }
}

/// The groups with the most that ran, by name.
fn largest(ring: &VecDeque<Point>, sees: impl Fn(&str) -> bool) -> BTreeSet<&str> {
    let mut ran: BTreeMap<&str, f64> = BTreeMap::new();
    for (group, numbers) in ring.iter().flat_map(|point| &point.groups).filter(|(group, _)| sees(group)) {
        *ran.entry(group).or_default() += numbers.running;
    }
    let mut ran: Vec<_> = ran.into_iter().filter(|(_, ran)| *ran > 0.0).collect();
    ran.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    ran.into_iter().take(GROUPS).map(|(group, _)| group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(at: u64, groups: &[(&str, f64)]) -> Point {
        let of = |running: f64| Numbers { succeeded: running * 2.0, running, ..Numbers::default() };
        Point {
            at,
            groups: groups.iter().map(|(group, running)| ((*group).to_owned(), of(*running))).collect(),
        }
    }

    fn hour(since: Option<u64>) -> HistoryQuery {
        HistoryQuery { span: Span::Hour, since, group: None }
    }

    #[test]
    fn an_hour_and_a_day_are_kept_and_no_more() {
        let mut rings = Rings::default();
        for number in 1..=(MEAN * (DAY + 5)) as u64 {
            rings.push(point(number * 5000, &[("a", (number % 2) as f64)]));
        }
        let (hours, days) = (
            rings.history(&hour(None), |_| true),
            HistoryQuery { span: Span::Day, ..HistoryQuery::default() },
        );
        let days = rings.history(&days, |_| true);
        assert_eq!((hours.at.len(), hours.step_ms), (HOUR, 5000));
        assert_eq!((days.at.len(), days.step_ms), (DAY, 300_000));
        assert_eq!(days.at.last(), hours.at.last());
        assert!(days.running.iter().all(|running| (running - 0.5).abs() < 1e-6), "means: {:?}", days.running);
        let last = hours.at[HOUR - 3];
        assert_eq!(rings.history(&hour(Some(last)), |_| true).at, hours.at[HOUR - 2..]);
    }

    #[test]
    fn shares_are_of_all_that_runs_and_only_visible_groups_are_told() {
        let mut rings = Rings::default();
        rings.push(point(5000, &[("a", 1.0), ("b", 3.0), ("idle", 0.0)]));
        let all = rings.history(&hour(None), |_| true);
        let told = |history: &History| {
            history.groups.iter().map(|of| (of.group.clone(), of.share.clone())).collect::<Vec<_>>()
        };
        assert_eq!(told(&all), [("a".to_owned(), vec![0.25]), ("b".to_owned(), vec![0.75])]);
        assert_eq!((&all.running, &all.succeeded), (&vec![4.0], &vec![8.0]));
        assert_eq!((all.run_ms, all.wait_ms), (vec![Some(500.0)], vec![Some(0.0)]));
        let one = HistoryQuery { group: Some("a".to_owned()), ..hour(None) };
        let one = rings.history(&one, |_| true);
        assert_eq!((told(&one), one.running), (vec![("a".to_owned(), vec![0.25])], vec![1.0]));
        let some = rings.history(&hour(None), |group| group == "b");
        assert_eq!((told(&some), some.running), (vec![("b".to_owned(), vec![0.75])], vec![3.0]));
        let many: Vec<_> = (0..20).map(|n| (format!("g{n:02}"), f64::from(n))).collect();
        rings.push(point(10_000, &many.iter().map(|(group, n)| (group.as_str(), *n)).collect::<Vec<_>>()));
        assert_eq!(rings.history(&hour(None), |_| true).groups.len(), GROUPS);
    }
}
