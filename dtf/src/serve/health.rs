//! The health of a service.

use std::sync::{Mutex, MutexGuard, PoisonError};

use dtf_model::Role;
use dtf_runtime::stuck_calls;
use lrmf_core::{CoordinatorHandle, MemberStage};
use serde::Serialize;

use super::watched::Refusing;

/// The phase of a service's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "phase", content = "of")]
pub(crate) enum Phase {
    /// It connects to its servers, and waits for this one if any.
    Connecting(Option<&'static str>),
    /// It joins the group of a role.
    Joining(Role),
    /// All its roles were started.
    Serving,
    /// It hands its work over.
    Draining,
}

/// The health of one role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct RoleHealth {
    pub(crate) role: Role,
    /// True if it has a session now.
    pub(crate) serving: bool,
    /// True if it leads its group.
    pub(crate) leading: bool,
    /// The number of parts of the role's work that it holds.
    pub(crate) parts: usize,
}

/// The report of a service's health.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Report {
    /// True if it does its work.
    pub(crate) ready: bool,
    #[serde(flatten)]
    pub(crate) phase: Phase,
    pub(crate) roles: Vec<RoleHealth>,
    /// Servers that do not take writes.
    pub(crate) refused_by: Vec<Refusing>,
    /// Calls into plugins that block their threads past their time limit, and keep their slots.
    pub(crate) stuck_calls: usize,
}

/// The health of a service.
pub(crate) struct Health {
    inner: Mutex<Inner>,
}

struct Inner {
    phase: Phase,
    members: Vec<(Role, CoordinatorHandle)>,
    refused_by: Vec<Refusing>,
}

impl Health {
    pub(crate) fn new() -> Self {
        let phase = Phase::Connecting(None);
        Self { inner: Mutex::new(Inner { phase, members: Vec::new(), refused_by: Vec::new() }) }
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.inner().phase = phase;
    }

    pub(crate) fn joined(&self, role: Role, member: CoordinatorHandle) {
        self.inner().members.push((role, member));
    }

    /// These servers do not take writes, and the others do.
    pub(crate) fn refused_by(&self, servers: Vec<Refusing>) {
        self.inner().refused_by = servers;
    }

    /// Lets the members go: the last use of one ends it.
    pub(crate) fn clear(&self) {
        self.inner().members.clear();
    }

    pub(crate) fn report(&self) -> Report {
        let inner = self.inner();
        let roles: Vec<_> = inner.members.iter().map(|(role, member)| role_health(*role, member)).collect();
        let well = inner.refused_by.is_empty() && roles.iter().all(|role| role.serving);
        let (ready, refused_by) = (inner.phase == Phase::Serving && well, inner.refused_by.clone());
        Report { ready, phase: inner.phase, roles, refused_by, stuck_calls: stuck_calls() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Nothing that holds it can panic half-way.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn role_health(role: Role, member: &CoordinatorHandle) -> RoleHealth {
    let status = member.status().borrow().clone();
    let serving = matches!(status.stage, MemberStage::Serving(_));
    RoleHealth { role, serving, leading: status.leading, parts: member.held().borrow().len() }
}
