//! Tracing spans: a session, within it a leadership, and each call of the worker for a task.

use tracing::Span;

use crate::event::Event;
use crate::ids::{GroupId, InstanceId};
use crate::task::Holding;

/// The spans that a member is in the middle of.
#[derive(Debug)]
pub(super) struct Spans {
    group: GroupId,
    instance: InstanceId,
    session: Span,
    leadership: Span,
}

impl Spans {
    pub(super) fn new(group: &GroupId, instance: &InstanceId) -> Self {
        let (session, leadership) = (Span::none(), Span::none());
        Self { group: group.clone(), instance: instance.clone(), session, leadership }
    }

    /// Opens and closes spans as events say.
    pub(super) fn follow(&mut self, event: &Event) {
        match event {
            Event::Joined { incarnation } => {
                let (group, member) = (&self.group, &self.instance);
                self.leadership = Span::none();
                self.session = tracing::info_span!(parent: None, "session", %group, %member, %incarnation);
            }
            Event::BecameLeader => self.leadership = tracing::info_span!(parent: &self.session, "leadership"),
            Event::LostLeadership => self.leadership = Span::none(),
            _ => {}
        }
    }

    /// The innermost one.
    pub(super) fn current(&self) -> Span {
        if self.leadership.is_none() { self.session.clone() } else { self.leadership.clone() }
    }

    /// Of one call of the worker: a handover is the *revoke* at one member and the *assign* at another, with tokens
    /// that follow each other.
    pub(super) fn of_task(&self, call: &'static str, holding: &Holding) -> Span {
        let (task, token) = (&holding.task.key, holding.token);
        tracing::debug_span!(parent: &self.session, "handover", call, %task, %token)
    }
}
