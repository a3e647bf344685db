//! Values as the pages show them. Templates hand all of them over by reference.

use std::time::Duration;

use dtf_api::{BulkAction, Failure, Group, Hook, KnownType, Progress, Role, Slots, TaskStatus};
use serde_json::Value;

use crate::convert::percent;

/// The pages of the navigation: path and name.
pub(crate) const NAVIGATION: [(&str, &str); 12] = [
    ("/", "Overview"),
    ("/tasks", "Tasks"),
    ("/flows", "Flows"),
    ("/schedules", "Schedules"),
    ("/groups", "Groups"),
    ("/workers", "Workers"),
    ("/placement/executor", "Placement"),
    ("/cluster", "Cluster"),
    ("/types", "Types"),
    ("/audit", "Audit"),
    ("/login", "Access"),
    ("/docs", "API"),
];
pub(crate) const STATUSES: [TaskStatus; 7] = TaskStatus::ALL;
pub(crate) const ROLES: [Role; 5] = Role::ALL;
/// The width of a whole bar.
const WHOLE: u64 = 1000;

/// A part of a bar of progress, in thousandths of its width.
pub(crate) struct Part {
    pub(crate) class: &'static str,
    pub(crate) x: u64,
    pub(crate) width: u64,
}

pub(crate) fn bar(progress: &Progress) -> Vec<Part> {
    let counts = progress.counts;
    let parts = [
        ("succeeded", counts.succeeded),
        ("failed", counts.failed + counts.timed_out),
        ("cancelled", counts.cancelled),
        ("running", progress.running),
    ];
    let (mut bar, mut x, mut before) = (Vec::new(), 0, 0);
    for (class, number) in parts {
        before += number;
        let end = WHOLE * before.min(counts.created) / counts.created.max(1);
        bar.push(Part { class, x, width: end - x });
        x = end;
    }
    bar
}

/// Subtasks with an outcome.
pub(crate) fn counted(progress: &Progress) -> u64 {
    let counts = progress.counts;
    counts.succeeded + counts.failed + counts.timed_out + counts.cancelled
}

pub(crate) fn not_succeeded(progress: &Progress) -> u64 {
    progress.counts.failed + progress.counts.timed_out
}

pub(crate) fn has_failed(progress: &Progress) -> bool {
    not_succeeded(progress) > 0
}

/// The parts of a text between backticks, which are code, and the others.
pub(crate) fn marked(text: &str) -> impl Iterator<Item = (&str, bool)> {
    text.split('`').enumerate().map(|(number, part)| (part, number % 2 == 1))
}

/// The page of what an entry of the audit is about; none where it has no page.
pub(crate) fn link_of(target: &str) -> Option<String> {
    let (kind, name) = target.split_once(' ')?;
    match kind {
        "task" => Some(format!("/tasks/{name}")),
        "flow" => Some(format!("/flows/{name}")),
        "schedule" => Some(format!("/schedules/{}", percent(name))),
        "group" => Some(format!("/groups/{}", percent(name))),
        "bulk" => Some(format!("/bulk/{name}")),
        _ => None,
    }
}

pub(crate) fn rate(progress: &Progress) -> String {
    progress.rate.map_or_else(|| "–".to_owned(), |rate| format!("{rate:.1}"))
}

pub(crate) fn left(progress: &Progress) -> String {
    let Some(eta) = progress.eta_ms.map(Duration::from_millis) else { return "–".to_owned() };
    match eta.as_secs() {
        seconds @ 0..=119 => format!("{seconds} s"),
        seconds @ 120..=7199 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

pub(crate) fn limit(limit: &Option<u32>) -> String {
    limit.map_or_else(|| "–".to_owned(), |limit| limit.to_string())
}

pub(crate) fn share(quota: &u32, total: &u64) -> String {
    format!("{:.1} %", 100.0 * f64::from(*quota) / (*total).max(1) as f64)
}

/// A share that was measured, as in `12.5 %`.
pub(crate) fn percentage(share: Option<f64>) -> String {
    share.map_or_else(|| "–".to_owned(), |share| format!("{:.1} %", 100.0 * share))
}

/// The share of a group of what runs now.
pub(crate) fn measured(group: &Group) -> String {
    percentage(group.measured.and_then(|measured| measured.share))
}

pub(crate) fn text(text: &Option<String>) -> &str {
    text.as_deref().unwrap_or_default()
}

pub(crate) fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string())
}

pub(crate) fn body(failure: &Failure) -> String {
    const MOST: usize = 200;
    let (body, sign) = match (&failure.body, &failure.body_hex) {
        (Some(text), _) => (text.as_str(), ""),
        (None, Some(hex)) => (hex.as_str(), "0x"),
        (None, None) => return "not kept".to_owned(),
    };
    let short: String = body.chars().take(MOST).collect();
    let more = if short.len() < body.len() { "…" } else { "" };
    format!("{sign}{short}{more}")
}

/// A receiver for people.
pub(crate) fn receiver(hook: &Hook) -> String {
    match (&hook.url, &hook.callback) {
        (Some(url), _) => url.clone(),
        (None, callback) => format!("callback {}", text(callback)),
    }
}

pub(crate) fn words(action: &BulkAction) -> &'static str {
    match action {
        BulkAction::Pause => "Pause",
        BulkAction::Resume => "Resume",
        BulkAction::Cancel => "Cancel",
        BulkAction::Retry => "Retry failed subtasks",
    }
}

/// The actions that a task's status allows.
pub(crate) fn allowed(status: TaskStatus, failed: u64) -> Vec<BulkAction> {
    match status {
        TaskStatus::Created | TaskStatus::Running => vec![BulkAction::Pause, BulkAction::Cancel],
        TaskStatus::Paused => vec![BulkAction::Resume, BulkAction::Cancel],
        _ if failed > 0 => vec![BulkAction::Retry],
        _ => Vec::new(),
    }
}

/// A process that holds something, or that none does.
pub(crate) fn place(worker: &Option<String>) -> &str {
    worker.as_deref().unwrap_or("nobody")
}

/// The slots that have work, and all of them, as in `3 of 8`.
pub(crate) fn slots(slots: &Option<Slots>) -> String {
    let Some(Slots { total, used }) = slots else { return "–".to_owned() };
    used.map_or_else(|| format!("? of {total}"), |used| format!("{used} of {total}"))
}

/// Types with their versions, as in `noop, map 2`.
pub(crate) fn types(types: &[KnownType]) -> String {
    let named = |known: &KnownType| match known.version {
        0 => known.name.clone(),
        version => format!("{} {version}", known.name),
    };
    types.iter().map(named).collect::<Vec<_>>().join(", ")
}

/// A span of time, as in `12 ms`, `1.5 s` or `3 min`.
pub(crate) fn time(millis: f32) -> String {
    match millis {
        ..10.0 => format!("{millis:.1} ms"),
        10.0..1000.0 => format!("{millis:.0} ms"),
        1000.0..120_000.0 => format!("{:.1} s", millis / 1000.0),
        _ => format!("{:.0} min", millis / 60_000.0),
    }
}

/// Formats a time in UTC.
pub(crate) fn utc(millis: &u64) -> String {
    dtf_control::utc(*millis)
}

#[cfg(test)]
mod tests {
    use dtf_api::Counts;

    use super::*;

    #[test]
    fn times_are_shown_in_utc() {
        for (millis, shown) in [
            (0, "1970-01-01 00:00:00"),
            (951_782_400_000, "2000-02-29 00:00:00"),
            (1_796_047_509_999, "2026-11-30 14:05:09"),
            (4_102_444_799_000, "2099-12-31 23:59:59"),
        ] {
            assert_eq!(utc(&millis), shown);
        }
    }

    #[test]
    fn spans_are_shown_in_fitting_units() {
        for (millis, shown) in
            [(0.0, "0.0 ms"), (9.94, "9.9 ms"), (250.4, "250 ms"), (1500.0, "1.5 s"), (180_000.0, "3 min")]
        {
            assert_eq!(time(millis), shown);
        }
    }

    #[test]
    fn a_bar_is_never_longer_than_whole() {
        let counts = Counts { created: 7, succeeded: 3, failed: 1, timed_out: 1, cancelled: 0 };
        let parts = bar(&Progress { counts, running: 5, ..Progress::default() });
        let widths: Vec<_> = parts.iter().map(|part| (part.x, part.width)).collect();
        assert_eq!(widths, [(0, 428), (428, 286), (714, 0), (714, 286)]);
        assert!(bar(&Progress::default()).iter().all(|part| part.width == 0));
    }
}
