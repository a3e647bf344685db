//! Joining, serving, stopping, ending; and joining again.

use std::sync::Arc;
use std::time::Duration;

use crate::config::Evicted;
use crate::event::{Event, FenceReason};
use crate::ids::Incarnation;
use crate::protocol::backoff::Backoff;
use crate::protocol::election::{Election, Preference};
use crate::protocol::holdings::Holdings;
use crate::protocol::leader::LeaderConfig;
use crate::protocol::session::{Joining, OwnKeys, Session};
use crate::protocol::{Action, Call, Exit, FeedId, Now};
use crate::records::MemberState;

use super::contact::Contact;
use super::{Mode, Node, Purpose, Serving, Stage, Then};

/// The time that the group may be without a leader before members that are no candidates campaign too.
const PATIENCE: Duration = Duration::from_millis(250);
/// The wait of a member before it writes about itself again, the first time.
const FIRST_OWN_RETRY: Duration = Duration::from_millis(25);

impl Node {
    pub(super) fn join(&mut self, former: Vec<Incarnation>) {
        self.calls.clear();
        for feed in [FeedId::Group, FeedId::Leader, FeedId::Record] {
            self.unfollow(feed);
        }
        if let Stage::Serving(serving) = std::mem::replace(&mut self.stage, Stage::Over) {
            self.inherited = serving.holdings.bequeath();
        }
        self.own = OwnKeys::default();
        let (settings, assignor) = (self.config.settings.clone(), self.config.leader.assignor);
        let (keys, instance) = (self.config.leader.keys.clone(), self.config.instance.clone());
        self.stage = Stage::Joining(Box::new(Joining::new(keys, instance, settings, assignor, former)));
        self.follow(FeedId::Own);
    }

    pub(super) fn serve(&mut self, now: Now, session: Session, former: &[Incarnation]) {
        let settings = &self.config.settings;
        let (incarnation, instance) = (session.record.incarnation, self.config.instance.clone());
        let LeaderConfig { keys, rules, limits, assignor, .. } = self.config.leader.clone();
        let backoff = Backoff::new(&instance);
        let inherited = std::mem::take(&mut self.inherited);
        let preference = Preference { level: settings.leader_preference, assignor, after: settings.settle };
        let (own_keys, name) = (keys.clone(), instance.clone());
        let serving = Serving {
            contact: Contact::new(now, session.contact, backoff.clone()),
            holdings: Holdings::new(own_keys, name, incarnation, settings, limits, rules, inherited),
            election: Election::new(instance, incarnation, keys.leader(), PATIENCE).preferring(preference),
            leader: None,
            resign: None,
            mode: Mode::Member,
            fenced: false,
            anew: false,
            keep_alive_at: now.at + settings.keep_alive_interval(),
            keep_alive_backoff: backoff.clone(),
            acked: None,
            writing: false,
            unsure: false,
            write_at: now.at,
            write_backoff: backoff.beginning_with(FIRST_OWN_RETRY),
            evicted: false,
            load: None,
            barred: None,
            session,
        };
        tracing::debug!(member = %self.config.instance, %incarnation, former = former.len(), "joined");
        self.stage = Stage::Serving(Box::new(serving));
        self.out.push(Action::Emit(Event::Joined { incarnation }));
        self.follow(FeedId::Record);
        self.follow(FeedId::Leader);
        if let Some(lease) = self.former_lease.take() {
            self.call(Purpose::Courtesy, Call::Revoke(lease));
        }
        // The session has been in the store for as long as the answer took: it may have been evicted or ended since, and nothing more
        // may come that says so.
        self.check_own(now);
    }

    /// Ends. Whatever the reason is, what may still run is the more urgent news.
    pub(super) fn end(&mut self, exit: Exit) {
        let remains = self.remains();
        let exit = if remains.is_empty() {
            exit
        } else {
            tracing::error!(member = %self.config.instance, ?exit, "tasks have not stopped");
            Exit::StillRunning(remains)
        };
        self.stage = Stage::Over;
        self.calls.clear();
        for feed in [FeedId::Group, FeedId::Leader, FeedId::Record, FeedId::Own] {
            self.unfollow(feed);
        }
        self.out.push(Action::Emit(Event::Ended));
        self.out.push(Action::Done(exit));
    }

    /// The tasks that may still run, of this session or one before it.
    fn remains(&self) -> Vec<Arc<str>> {
        match &self.stage {
            Stage::Serving(serving) => serving.holdings.remains().cloned().collect(),
            Stage::Joining(_) | Stage::Over => self.inherited.remains().cloned().collect(),
        }
    }

    /// Joins anew, after a session that is over or given up. The claim takes its key over; where something of it does
    /// not stop, the key has to end by itself first.
    fn rejoin(&mut self, now: Now) {
        let Stage::Serving(serving) = &self.stage else { return };
        if serving.anew && serving.holdings.is_idle() {
            // Its key is created anew, which says that nothing runs from what was there before.
            let lease = serving.session.lease;
            self.join(Vec::new());
            self.call(Purpose::Courtesy, Call::Revoke(lease));
            if let Stage::Joining(joining) = &mut self.stage {
                joining.stay_away(now.at);
            }
            return;
        }
        // Ending the lease now would end the session key and move the tasks.
        self.former_lease = Some(serving.session.lease);
        if serving.holdings.is_idle() {
            return self.join(vec![serving.session.record.incarnation]);
        }
        self.join(Vec::new());
        if let Stage::Joining(joining) = &mut self.stage {
            joining.stay_away(now.at);
        }
    }

    // ---- stopping ----

    pub(super) fn watch_deadline(&mut self, now: Now) {
        if let Stage::Serving(serving) = &self.stage
            && self.config.leader.rules.self_fencing
            && now.at >= serving.session.deadline
        {
            self.fence(now, FenceReason::Deadline);
        }
    }

    /// An operator wants the session ended. As with a leave, the tasks go elsewhere one by one, each when it has stopped;
    /// unlike with a leave, they all stop at once.
    pub(super) fn evict(&mut self, now: Now) {
        let Stage::Serving(serving) = &mut self.stage else { return };
        let then = match serving.mode {
            Mode::Member => Then::Evict,
            Mode::Draining { .. } => Then::Leave,
            Mode::Halting(_) | Mode::Leaving => return,
        };
        serving.evicted = then == Then::Evict;
        self.out.push(Action::Emit(Event::Evicted));
        self.halt(now, then);
    }

    /// The session is over, or will be by itself, as somebody wanted. Who was evicted stays away for one TTL, so that
    /// its tasks find other holders first.
    pub(super) fn left(&mut self, now: Now) {
        let Stage::Serving(serving) = &self.stage else { return };
        let settings = &self.config.settings;
        match (serving.evicted, settings.evicted) {
            (false, _) => self.end(Exit::Asked),
            (true, Evicted::End) => self.end(Exit::Evicted),
            (true, Evicted::Rejoin) => {
                let back_at = now.at + settings.ttl;
                self.join(Vec::new());
                if let Stage::Joining(joining) = &mut self.stage {
                    joining.stay_away(back_at);
                }
            }
        }
    }

    /// The store has lost its data, or went back to an older copy. Nothing that was heard of it counts any more.
    pub(super) fn on_store_reset(&mut self, now: Now) {
        match &self.stage {
            Stage::Serving(_) => self.fence(now, FenceReason::StoreReset),
            Stage::Joining(joining) => {
                let former = joining.former().to_vec();
                if let Some(lease) = joining.lease() {
                    self.call(Purpose::Courtesy, Call::Revoke(lease));
                }
                self.join(former);
            }
            Stage::Over => {}
        }
    }

    pub(super) fn fence(&mut self, now: Now, reason: FenceReason) {
        let Stage::Serving(serving) = &mut self.stage else { return };
        serving.anew |= reason == FenceReason::Unreadable;
        if std::mem::replace(&mut serving.fenced, true) {
            return;
        }
        let then = match serving.mode {
            Mode::Member | Mode::Halting(Then::Rejoin) => Then::Rejoin,
            Mode::Halting(Then::Evict) if self.config.settings.evicted == Evicted::Rejoin => Then::Rejoin,
            Mode::Draining { .. } | Mode::Halting(_) | Mode::Leaving => Then::Die,
        };
        self.out.push(Action::Emit(Event::Fenced { reason }));
        self.halt(now, then);
    }

    pub(super) fn halt(&mut self, now: Now, then: Then) {
        let Stage::Serving(serving) = &mut self.stage else { return };
        serving.mode = Mode::Halting(then);
        self.out.extend(serving.holdings.halt(now));
        if !matches!(then, Then::Leave | Then::Evict) {
            self.stop_leading();
        }
    }

    pub(super) fn stop_leading(&mut self) {
        let Stage::Serving(serving) = &mut self.stage else { return };
        if serving.leader.take().is_some() {
            self.out.push(Action::Emit(Event::LostLeadership));
            self.unfollow(FeedId::Group);
        }
    }

    pub(super) fn change_mode(&mut self, now: Now) {
        let Stage::Serving(serving) = &mut self.stage else { return };
        let (idle, stopped) = (serving.holdings.is_idle(), serving.holdings.is_stopped());
        match serving.mode {
            Mode::Draining { until } => {
                let known = serving.session.record.state == MemberState::Draining;
                if known && idle && serving.holdings.wants_nothing() {
                    serving.mode = Mode::Leaving;
                    // A task that is granted now must not start while the keys go.
                    self.out.extend(serving.holdings.halt(now));
                } else if now.at >= until {
                    self.halt(now, Then::Leave);
                    self.change_mode(now);
                }
            }
            Mode::Halting(Then::Rejoin) if stopped => self.rejoin(now),
            Mode::Halting(Then::Die) if stopped && idle && serving.evicted => self.end(Exit::Evicted),
            Mode::Halting(Then::Die) if stopped => self.end(Exit::Asked),
            Mode::Halting(Then::Leave | Then::Evict) if idle => serving.mode = Mode::Leaving,
            // Something may still run: the session has to end by itself.
            Mode::Halting(Then::Evict) if stopped && !idle => self.left(now),
            Mode::Halting(Then::Leave | Then::Restart) if stopped && !idle => self.end(Exit::Asked),
            Mode::Member | Mode::Halting(_) | Mode::Leaving => {}
        }
    }
}
