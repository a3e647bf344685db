//! Limits to how much is disturbed at a time: a task that runs is asked back only where they have room.
//!
//! They are about tasks that are moved while their holder lives and would go on: for balance, for a pin, for a drain. What was lost
//! with its holder waits for nothing. What a member hands over as it leaves, and what failed to start where it is, is not counted
//! by zone: nothing is disturbed by it. What a holder cannot stop takes no room, or one stuck task would keep all others from moving.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::config::CoordinatorConfig;
use crate::ids::InstanceId;
use crate::records::MemberState;

use super::plan::Goal;
use super::view::View;

/// The time over which [`MoveLimits::zone_per_minute`] counts.
const MINUTE: Duration = Duration::from_secs(60);

/// The most tasks that are asked back from living members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MoveLimits {
    /// At a time, from all of them.
    pub most: usize,
    /// At a time, from those of one zone.
    pub most_of_zone: usize,
    /// Within a minute, from those of one zone; any number where there is none.
    pub zone_per_minute: Option<u32>,
}

impl From<&CoordinatorConfig> for MoveLimits {
    fn from(config: &CoordinatorConfig) -> Self {
        Self {
            most: config.max_moves,
            most_of_zone: config.max_zone_moves,
            zone_per_minute: config.zone_moves_per_minute,
        }
    }
}

/// The name of a zone; members without one are in a zone together.
type Zone = Option<Arc<str>>;

/// The tasks that this leader asked back within the last minute. A leader that follows it begins anew.
#[derive(Clone, Debug, Default)]
pub(super) struct Disruption {
    asked: BTreeMap<Zone, VecDeque<Timestamp>>,
}

impl Disruption {
    /// Counts tasks that are asked back now. A write of which nobody knows whether it was applied counts.
    pub(super) fn note(&mut self, now: Timestamp, limits: MoveLimits, zones: impl Iterator<Item = Zone>) {
        if limits.zone_per_minute.is_some() {
            zones.for_each(|zone| self.asked.entry(zone).or_default().push_back(now));
        }
    }

    /// The room that there is now.
    pub(super) fn room(&mut self, now: Timestamp, limits: MoveLimits) -> Room {
        self.asked.retain(|_, times| {
            while times.front().is_some_and(|at| *at + MINUTE <= now) {
                times.pop_front();
            }
            !times.is_empty()
        });
        let spent = self.asked.iter().map(|(zone, times)| (zone.clone(), times.len())).collect();
        let reopens =
            self.asked.iter().filter_map(|(zone, times)| Some((zone.clone(), *times.front()? + MINUTE)));
        Room {
            limits,
            moving: 0,
            of_zone: BTreeMap::new(),
            spent,
            reopens: reopens.collect(),
            wait_until: None,
        }
    }
}

/// The room for tasks that are asked back.
#[derive(Debug)]
pub(super) struct Room {
    limits: MoveLimits,
    moving: usize,
    of_zone: BTreeMap<Zone, usize>,
    /// Of each zone, how many were asked back within the last minute, and when the first of them no longer counts.
    spent: BTreeMap<Zone, usize>,
    reopens: BTreeMap<Zone, Timestamp>,
    /// The time at which there is room for something that found none now.
    pub(super) wait_until: Option<Timestamp>,
}

impl Room {
    /// Counts a task that waits for its holder's acknowledgement.
    pub(super) fn waits(&mut self, view: &View, goal: &Goal, holder: &InstanceId) {
        self.moving += 1;
        if let Some(zone) = disturbed_zone(view, goal, holder) {
            *self.of_zone.entry(zone).or_default() += 1;
        }
    }

    /// Takes the room for one more task of this holder, if there is any.
    pub(super) fn take(&mut self, view: &View, goal: &Goal, holder: &InstanceId) -> bool {
        if self.moving >= self.limits.most {
            return false;
        }
        let Some(zone) = disturbed_zone(view, goal, holder) else {
            self.moving += 1;
            return true;
        };
        let moving = self.of_zone.get(&zone).copied().unwrap_or_default();
        if moving >= self.limits.most_of_zone {
            return false;
        }
        let spent = self.spent.get(&zone).copied().unwrap_or_default();
        if self.limits.zone_per_minute.is_some_and(|most| spent >= most as usize) {
            // One that is being filled in this very look reopens when its first task was written.
            let reopens = self.reopens.get(&zone).copied();
            self.wait_until = self.wait_until.into_iter().chain(reopens).min();
            return false;
        }
        self.moving += 1;
        *self.of_zone.entry(zone.clone()).or_default() += 1;
        *self.spent.entry(zone).or_default() += 1;
        true
    }
}

/// The zone whose limits count for what this member gives back; none where nothing is disturbed by that.
pub(super) fn disturbed_zone(view: &View, goal: &Goal, holder: &InstanceId) -> Option<Zone> {
    let has_failed = matches!(goal, Goal::To { beyond: Some(_), .. });
    let member =
        view.members.get(holder).filter(|member| member.state == MemberState::Active && !has_failed)?;
    Some(member.zone.clone())
}
