//! The next write: a step towards the goals; where there is none, what is kept in order besides.

use crate::coordination::{Guard, Op, Txn};
use crate::event::Event;
use crate::ids::InstanceId;
use crate::keys::Control;
use crate::protocol::Now;
use crate::records::{LeaderRecord, encode};

use super::batch::{self, Authority};
use super::disruption::{MoveLimits, disturbed_zone};
use super::ready::{Kind, Next, Step, next, ready};
use super::tasks::TaskList;
use super::{InFlight, Leader, LeaderAction};

/// The number of members that campaign when the leader goes.
const CANDIDATES: usize = 5;

impl Leader {
    pub(super) fn commit(&mut self, now: Now) {
        if self.outer_floor().is_none() || self.waits_after_reset(now) || self.set_mode() || self.clear() {
            return;
        }
        loop {
            if self.tasks.is_none() || (self.queue.is_empty() && !self.look(now)) {
                return;
            }
            if self.queue.is_empty() {
                // What the plan that is being made wants comes first.
                if self.planning.is_none() {
                    self.keep_in_order();
                }
                return;
            }
            if self.build(now) {
                return;
            }
        }
    }

    /// Looks what can be done towards the goals; says whether now is the time to do it, be it nothing.
    fn look(&mut self, now: Now) -> bool {
        let Some(tasks) = &self.tasks else { return false };
        let rules = self.config.rules;
        // What the goals so far would move may stay by the plan that is being made.
        let limits = self.config.moves;
        let limits = MoveLimits { most: if self.planning.is_some() { 0 } else { limits.most }, ..limits };
        let mut room = self.disruption.room(now.at, limits);
        let mut ready = ready(&self.view, tasks, &self.goals, &mut room, rules);
        self.room_at = room.wait_until;
        self.unassigned = ready.unassigned;
        for key in ready.settled.drain(..) {
            self.goals.remove(&key);
        }
        if !ready.steps.is_empty() && !ready.urgent && ready.waiting > 0 {
            let until = *self.companions_until.get_or_insert(now.at + self.config.companions);
            if now.at < until {
                return false;
            }
        }
        self.companions_until = None;
        self.queue = ready.steps.into();
        true
    }

    /// Keeps in order what is to be done besides, one write at a time.
    fn keep_in_order(&mut self) {
        self.keep_record();
        if self.in_flight.is_none() {
            self.tidy();
        }
        if self.in_flight.is_none() {
            self.tell_members();
        }
    }

    /// Commits as many of the steps as fit; says whether any did. One that does not fit by itself is given up.
    fn build(&mut self, now: Now) -> bool {
        let Some(tasks) = &self.tasks.clone() else { return true };
        let authority = Authority {
            created: self.created,
            unix_millis: now.unix_millis,
            outer_floor: self.outer_floor().unwrap_or_default(),
            limits: self.config.limits,
            rules: self.config.rules,
        };
        // A counter that is missing is made first, by itself: "absent" can become true again, so a transaction that
        // relies on it could arrive late and still be let in.
        let most = if self.view.generation.is_some() { self.fitting(tasks) } else { 0 };
        if self.queue.is_empty() {
            return false;
        }
        let steps = &self.queue.make_contiguous()[..most];
        match batch::build(&self.view, tasks, &self.goals, steps, authority) {
            Ok(batch) => {
                let marks = self.queue.drain(..batch.steps).filter(|step| step.kind == Kind::Mark);
                let (view, goals) = (&self.view, &self.goals);
                let zones = marks.filter_map(|step| disturbed_zone(view, goals.get(&step.key)?, &step.from?));
                self.disruption.note(now.at, self.config.moves, zones);
                self.out.push(LeaderAction::Commit(batch.txn.clone()));
                self.in_flight = Some(InFlight::Assignment(batch));
                true
            }
            Err(key) => {
                self.goals.remove(&key);
                self.queue.pop_front();
                self.out.push(LeaderAction::Emit(Event::Oversize { key }));
                false
            }
        }
    }

    /// How many of the steps fit into one write, as far as can be reckoned. Those are dropped that an earlier write has done
    /// besides, as it made a whole chunk out to a new session.
    fn fitting(&mut self, tasks: &TaskList) -> usize {
        let (limits, rules) = (self.config.limits, self.config.rules);
        let due = |step: &Step| {
            let goal = self.goals.get(&step.key);
            let next = goal.map(|goal| next(&self.view, tasks, &step.key, goal, rules));
            matches!(next, Some(Next::Now { step: due, .. } | Next::Mark(due)) if due == *step)
        };
        while self.queue.front().is_some_and(|step| !due(step)) {
            self.queue.pop_front();
        }
        let most = batch::fitting(&self.view, tasks, self.queue.make_contiguous(), limits);
        let steps: Vec<Step> = self.queue.drain(..most).filter(due).collect();
        let most = steps.len();
        steps.into_iter().rev().for_each(|step| self.queue.push_front(step));
        most
    }

    /// Keeps in this leader's record who campaigns when it goes, and what troubles it has with the user's code.
    fn keep_record(&mut self) {
        let (candidates, troubles) = (self.candidates(), self.troubles.clone());
        let record = LeaderRecord { candidates, troubles, ..self.record.clone() };
        if record == self.record {
            return;
        }
        let key = self.config.keys.leader();
        let guards = vec![Guard::CreatedAt { key: key.clone(), revision: self.created }];
        let op = Op::Put { key, value: encode(&record), lease: Some(self.lease) };
        self.in_flight = Some(InFlight::Own(Box::new(record)));
        self.out.push(LeaderAction::Commit(Txn { guards, ops: vec![op] }));
    }

    /// A handful of living members, which campaign when this leader goes (R8): of those that others are to lead rather than,
    /// the highest.
    fn candidates(&self) -> Vec<InstanceId> {
        let view = &self.view;
        let highest = view.census.highest_preference_beside(view.members.get(&self.record.instance));
        let may_lead = |instance: &InstanceId| {
            view.holder(instance).is_some_and(|record| highest.is_none_or(|level| record.preference == level))
        };
        let mut candidates = self.record.candidates.clone();
        candidates.retain(may_lead);
        // Whoever may hold tasks; one look at all of them only where there are too few.
        let missing = CANDIDATES.saturating_sub(candidates.len());
        if missing > 0 {
            let others = view.members.keys().filter(|instance| may_lead(instance));
            let more: Vec<_> =
                others.filter(|instance| !candidates.contains(instance)).take(missing).cloned().collect();
            candidates.extend(more);
        }
        candidates
    }

    /// Deletes chunks that cannot be read, once no session that may run something from them is alive. Until then their tasks
    /// are given to nobody. Says whether there is anything to delete.
    fn clear(&mut self) -> bool {
        let leader = Guard::CreatedAt { key: self.config.keys.leader(), revision: self.created };
        let (mut txn, mut cleared) = (Txn { guards: vec![leader], ops: Vec::new() }, Vec::new());
        for ((instance, chunk), revision) in &self.view.unreadable {
            if self.view.may_run_from(instance, *revision) {
                continue;
            }
            if txn.guards.len() == self.config.limits.ops {
                break;
            }
            let key = self.config.keys.chunk(instance, *chunk);
            txn.guards.push(Guard::ModifiedAt { key: key.clone(), revision: *revision });
            txn.ops.push(Op::Delete { key });
            cleared.push((instance.clone(), *chunk));
        }
        if cleared.is_empty() {
            return false;
        }
        self.in_flight = Some(InFlight::Clearing(cleared));
        self.out.push(LeaderAction::Commit(txn));
        true
    }

    /// Deletes forced releases whose session has ended: they say nothing about anything that can still happen.
    fn tidy(&mut self) {
        let leader = Guard::CreatedAt { key: self.config.keys.leader(), revision: self.created };
        let (mut txn, mut tidied) = (Txn { guards: vec![leader], ops: Vec::new() }, Vec::new());
        for (task, (revision, record)) in &self.view.controls.releases {
            if self.view.is_alive(&record.member, record.incarnation) {
                continue;
            }
            if txn.guards.len() == self.config.limits.ops {
                break;
            }
            let key = self.config.keys.control(&Control::Release(task.clone()));
            txn.guards.push(Guard::ModifiedAt { key: key.clone(), revision: *revision });
            txn.ops.push(Op::Delete { key });
            tidied.push(task.clone());
        }
        if !tidied.is_empty() {
            self.in_flight = Some(InFlight::Tidying(tidied));
            self.out.push(LeaderAction::Commit(txn));
        }
    }
}
