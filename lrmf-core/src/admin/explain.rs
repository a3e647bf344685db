//! Why a task is where it is.

use std::fmt;

use serde::Serialize;

use crate::records::{Cause, MemberState, StuckBy};

use super::view::{TaskPhase, TaskView};
use super::{GroupState, Place};

/// Why a task is where it is, most important first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The task's key.
    pub key: String,
    /// The place of the task; `None` if it is in no record.
    pub task: Option<TaskView>,
    /// Why.
    pub reasons: Vec<Reason>,
}

/// One reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// For scripts.
    pub code: &'static str,
    /// For people.
    pub text: String,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn reason(code: &'static str, text: impl Into<String>) -> Reason {
    Reason { code, text: text.into() }
}

impl GroupState {
    /// Says why a task is where it is, as far as the records know: what planned it there, what keeps it there, and what it
    /// waits for.
    pub fn explain(&self, key: &str) -> Explanation {
        let mut reasons = Vec::new();
        let place = self.place(key);
        match place {
            Some(place) => {
                reasons.push(self.why_there(place));
                reasons.push(self.what_now(place));
                reasons.extend(self.what_blocks(place));
            }
            None => reasons.push(reason(
                "unplaced",
                "it is in no record: the provider does not list it, it was not placed yet, or no member may hold it",
            )),
        }
        reasons.extend(self.pin_of(key, place));
        reasons.extend(self.release_of(key, place));
        if self.freeze.is_some() {
            reasons.push(reason("frozen", "the group is frozen: what runs stays where it runs"));
        }
        if self.leader.is_none() {
            reasons.push(reason("no-leader", "the group has no leader now: nothing is planned until it has"));
        }
        Explanation { key: key.to_owned(), task: place.map(|place| self.task_view(place)), reasons }
    }

    fn why_there(&self, place: Place<'_>) -> Reason {
        let (holder, token) = (place.holder, place.entry.token);
        let assignor = self.leader.as_ref().map_or("the assignor", |leader| leader.assignor.as_str());
        let (code, why) = match place.entry.cause {
            Cause::New => ("new", format!("nobody had it, and {assignor} chose {holder}")),
            Cause::Lost => ("lost", format!("its holder's session had ended, and {assignor} chose {holder}")),
            Cause::Left => {
                ("left", format!("its holder was leaving or drained, and {assignor} chose {holder}"))
            }
            Cause::Failed => ("failed-before", "it could not be started where it was before".to_owned()),
            Cause::Pinned => ("pinned", "an operator pinned it there".to_owned()),
            Cause::Forced => ("forced", "an operator took it from its holder before by force".to_owned()),
            Cause::Planned => ("planned", format!("{assignor} moved it there, as it does for balance")),
            Cause::Renewed => {
                ("renewed", "it was there already, and its value or its holder's session changed".to_owned())
            }
            Cause::Other => {
                ("other", "a newer leader had a reason that this version does not know".to_owned())
            }
        };
        reason(code, format!("{holder} was given it in generation {token}, its token: {why}"))
    }

    fn what_now(&self, place: Place<'_>) -> Reason {
        let holder = place.holder;
        match self.phase(place) {
            TaskPhase::Held => {
                reason("held", format!("{holder} keeps it: what is held moves only for a reason"))
            }
            TaskPhase::Failed => {
                let error = self.failure(place).unwrap_or_default();
                reason(
                    "failed",
                    format!(
                        "{holder} could not start it ({error}); the leader tries elsewhere, later and later"
                    ),
                )
            }
            TaskPhase::Waiting => {
                reason("waiting", format!("it waits for {holder} to come back within the TTL of its session"))
            }
            TaskPhase::Orphaned => reason(
                "orphaned",
                format!("the session of {holder} has ended; the leader gives it to somebody else"),
            ),
            TaskPhase::Unreached => reason(
                "unreached",
                format!(
                    "{holder} is out of contact; the leader gives it to somebody else, as the group's mode is available"
                ),
            ),
            TaskPhase::Released => reason(
                "released",
                format!("{holder} has stopped it; it waits for the leader, or for a member that may have it"),
            ),
            TaskPhase::Releasing => self.what_is_awaited(place),
            TaskPhase::Stuck => self.why_stuck(place),
        }
    }

    /// Returns the obstacle to the release of a task that is to be released.
    fn what_is_awaited(&self, place: Place<'_>) -> Reason {
        let (holder, entry) = (place.holder, place.entry);
        let since = entry.releasing.unwrap_or_default();
        let ack = self.acks.get(holder).filter(|ack| ack.incarnation == place.incarnation);
        let begun = ack.is_some_and(|ack| ack.generation >= since);
        let text = if begun {
            format!("{holder} is stopping it since generation {since} and has not finished")
        } else {
            format!("{holder} was asked for it in generation {since} and has not answered yet")
        };
        reason("releasing", text)
    }

    fn why_stuck(&self, place: Place<'_>) -> Reason {
        let holder = place.holder;
        let why = match self.stuck(place) {
            Some(StuckBy::Panicked) => {
                format!("the worker of {holder} panicked in revoke, and nobody knows whether it still runs")
            }
            Some(StuckBy::Overdue) => {
                format!("{holder} has been stopping it for longer than its revoke_timeout")
            }
            Some(StuckBy::Other) | None => {
                format!("{holder} cannot stop it, for a reason that this version does not know")
            }
        };
        reason(
            "stuck",
            format!(
                "{why}: it goes elsewhere when that ends, when the session of {holder} ends, or with force-release"
            ),
        )
    }

    fn what_blocks(&self, place: Place<'_>) -> Vec<Reason> {
        let holder = place.holder;
        let mut found = Vec::new();
        if self.drains.contains_key(holder) {
            found.push(reason("drained", format!("{holder} is drained: it is to lose what it has")));
        }
        let state = self.sessions.get(holder).map(|session| session.state);
        if state == Some(MemberState::Draining) {
            found.push(reason("leaving", format!("{holder} is leaving")));
        }
        found
    }

    fn pin_of(&self, key: &str, place: Option<Place<'_>>) -> Option<Reason> {
        let member = &self.pins.get(key)?.member;
        let by_force = self.releases.get(key).is_some_and(|release| release.member == *member);
        let why_not = match self.sessions.get(member).map(|session| session.state) {
            _ if place.is_some_and(|place| place.holder == member) => {
                return Some(reason("pin", format!("it is pinned to {member}")));
            }
            None => "is not there",
            Some(_) if self.drains.contains_key(member) => "is drained",
            Some(MemberState::Draining) => "is leaving",
            Some(MemberState::Restarting) => "is restarting",
            Some(MemberState::Active) if by_force => "had it taken by force in this session",
            Some(MemberState::Active) if self.freeze.is_some() => {
                "gets it when the group is no longer frozen"
            }
            Some(MemberState::Active) => "gets it as soon as the leader comes to it",
        };
        Some(reason("pin-waits", format!("it is pinned to {member}, which {why_not}")))
    }

    fn release_of(&self, key: &str, place: Option<Place<'_>>) -> Option<Reason> {
        let release = self.releases.get(key)?;
        let (member, token) = (&release.member, release.token);
        let same = place.is_some_and(|place| place.holder == member && place.entry.token == token);
        let text = if same {
            format!(
                "an operator declared the run at {member} to be over; it goes to somebody else as soon as there is one"
            )
        } else {
            format!(
                "an operator took it from {member} by force (token {token}); it goes back to that session only if nobody else is there"
            )
        };
        Some(reason("force-release", text))
    }
}
