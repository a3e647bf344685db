//! The meaning of a change that the leader sees.

use crate::event::Event;
use crate::ids::InstanceId;
use crate::protocol::Now;
use crate::records::{Barred, Stuck};

use super::view::delivered::Changes;
use super::{InFlight, Leader, LeaderAction, Phase};

impl Leader {
    pub(super) fn changed(&mut self, now: Now, loaded: bool, changes: Changes) {
        if loaded {
            self.stall.loaded();
        }
        if self.view.leader.as_ref().is_none_or(|(created, _)| *created != self.created) {
            self.phase = Phase::Over;
            self.out.push(LeaderAction::StepDown { abstain: false });
            return;
        }
        if self.view.is_led_by_wrong_mode() {
            self.phase = Phase::Over;
            let barred = Barred::Mode { group: self.view.group_mode() };
            self.out.push(LeaderAction::Emit(Event::Barred(barred)));
            self.out.push(LeaderAction::StepDown { abstain: true });
            return;
        }
        if let Some(group) =
            self.view.census.other_assignor(self.config.assignor).filter(|_| changes.membership)
        {
            let why = format!("more members plan with {group} than with {}", self.config.assignor);
            self.phase = Phase::Over;
            self.out.push(LeaderAction::Emit(Event::Abstains { why }));
            self.out.push(LeaderAction::StepDown { abstain: true });
            return;
        }
        self.notices_due |= changes.membership;
        if changes.membership || changes.assignment || changes.controls || !changes.acks.is_empty() {
            self.queue.clear();
        }
        if let (true, Some((_, record))) = (loaded, &self.view.leader) {
            self.record = record.clone();
        }
        // An own write that nobody answered can arrive after the goals that it was made for were given up.
        let late = changes.assignment && !matches!(self.in_flight, Some(InFlight::Assignment(_)));
        self.stale |= changes.membership || changes.controls || late;
        let refused =
            changes.refused.into_iter().map(|error| Event::ControlRefused { error: error.to_string() });
        self.out.extend(refused.map(LeaderAction::Emit));
        let unreadable =
            changes.unreadable.into_iter().map(|error| Event::Unreadable { error: error.to_string() });
        self.out.extend(unreadable.map(LeaderAction::Emit));
        if changes.full {
            let (members, most) = (self.view.members.len(), self.view.seats.most());
            self.out.push(LeaderAction::Emit(Event::GroupFull { members, most }));
        }
        let stuck = changes.stuck.into_iter().map(|(instance, Stuck { key, token, .. })| {
            LeaderAction::Emit(Event::TaskStuck { instance, key, token })
        });
        self.out.extend(stuck);
        let lost = changes.lost.into_iter().map(|instance| Event::MemberLost { instance });
        let silent = changes.out_of_contact.into_iter().map(|instance| Event::ContactLost { instance });
        self.out.extend(silent.map(LeaderAction::Emit));
        let joined = changes.joined.into_iter().map(|instance| Event::MemberJoined { instance });
        self.out.extend(lost.chain(joined).map(LeaderAction::Emit));
        if changes.trigger && !loaded {
            self.trigger(now);
        }
        for instance in changes.acks {
            self.note_failures(now, &instance);
        }
        let window = self.config.settle;
        match self.phase {
            Phase::Loading => {
                self.stale = true;
                let since = now.at;
                // After a failure that cut everybody off, whoever is back first must not be given everything.
                let young = self.is_starting_up() || self.view.misses_anybody();
                self.phase =
                    if young { Phase::Settling { since, until: since + window } } else { Phase::Active };
            }
            Phase::Settling { since, .. } if changes.membership => {
                let until = (now.at + window).min(since + window * 4);
                self.phase = Phase::Settling { since, until };
            }
            Phase::Settling { .. } | Phase::Active | Phase::Over => {}
        }
    }

    /// Returns true where no living session holds anything: a group that begins, or begins again.
    fn is_starting_up(&self) -> bool {
        !self.view.entries().any(|place| self.view.is_alive(place.holder, place.incarnation))
    }

    fn note_failures(&mut self, now: Now, instance: &InstanceId) {
        let Some(ack) = self.view.acks.get(instance) else { return };
        for failure in &ack.failed {
            let current = self
                .view
                .place(&failure.key)
                .is_some_and(|place| place.holder == instance && place.entry.token == failure.token);
            if current && self.failures.note(&failure.key, instance, failure.token, now.at) {
                self.stale = true;
            }
        }
    }
}
