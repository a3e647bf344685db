//! The processes of the cluster, who holds which part of a role's work, and what operators ask of that.

use dtf_api as api;
use dtf_model::Role;
use lrmf_core::admin::Admin;
use lrmf_core::control::{FreezeRecord, Origin};
use lrmf_core::{BootClock, Clock, InstanceId};
use uuid::Uuid;

use super::App;
use super::audit::Change;
use crate::convert;
use crate::problem::Failed;

/// A request about a role's group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlacementAction {
    /// Has a part with one process for as long as that is there.
    Pin {
        /// The part.
        part: String,
        /// The process.
        worker: String,
    },
    /// Lets a part be anywhere again.
    Unpin {
        /// The part.
        part: String,
    },
    /// Has everything stay where it is.
    Freeze,
    /// Lets parts move again.
    Unfreeze,
    /// Has a process stop its parts and end its session; it joins again after the time to live of a session.
    Evict {
        /// The process.
        worker: String,
    },
    /// Declares that a holder's work on a part is over, although it has not said so.
    ForceRelease {
        /// The part.
        part: String,
    },
}

impl PlacementAction {
    /// The action and what it is about, as the audit names them.
    fn named(&self) -> (&'static str, String) {
        match self {
            Self::Pin { part, worker } => ("placement.pin", format!("part {part} to {worker}")),
            Self::Unpin { part } => ("placement.unpin", format!("part {part}")),
            Self::Freeze => ("placement.freeze", String::new()),
            Self::Unfreeze => ("placement.unfreeze", String::new()),
            Self::Evict { worker } => ("placement.evict", format!("worker {worker}")),
            Self::ForceRelease { part } => ("placement.force_release", format!("part {part}")),
        }
    }
}

impl App {
    /// Returns the processes of the cluster, by name.
    ///
    /// # Errors
    /// The store of the groups failed.
    pub async fn workers(&self) -> Result<Vec<api::Worker>, Failed> {
        Ok(self.groups.processes().await?.workers)
    }

    /// Empties a process, or lets it have parts again, in every role that it has.
    ///
    /// # Errors
    /// There is no such process, or the store of the groups failed.
    pub async fn drain(&self, name: &str, drain: api::Drain) -> Result<api::Worker, Failed> {
        self.caller.check_unlimited()?;
        let action = if drain.drained { "worker.drain" } else { "worker.undrain" };
        let (target, request) = (format!("worker {name}"), Uuid::new_v4());
        let change = Change { action, target, detail: String::new(), request };
        self.audited(change, self.set_drained(name, drain)).await
    }

    async fn set_drained(&self, name: &str, drain: api::Drain) -> Result<api::Worker, Failed> {
        let missing =
            || Failed::not_found(format!("no process {name:?} is in the cluster {}", self.groups.cluster()));
        let instance = InstanceId::new(name).map_err(|_| missing())?;
        for worker in self.workers().await?.iter().filter(|worker| worker.name == name) {
            for member in &worker.roles {
                let admin = self.admin(convert::model_role(member.role))?;
                match drain.drained {
                    true => admin.drain(&instance).await?,
                    false => drop(admin.undrain(&instance).await?),
                }
            }
        }
        self.workers().await?.into_iter().find(|worker| worker.name == name).ok_or_else(missing)
    }

    /// Returns the holder of each part of a role's work, and why it holds it.
    ///
    /// # Errors
    /// The store of the groups failed.
    pub async fn placement(&self, role: api::Role) -> Result<api::Placement, Failed> {
        let state = self.groups.state(convert::model_role(role)).await?;
        let (mut parts, mut frozen, mut workers) = (Vec::new(), None, Vec::new());
        if let Some(state) = &state {
            let freeze =
                |freeze: &FreezeRecord| api::Freeze { by: freeze.origin.by.clone(), at: freeze.origin.at };
            frozen = state.freeze.as_ref().map(freeze);
            workers = state.member_views().into_iter().map(|view| view.member.to_string()).collect();
            for view in state.task_views() {
                let reasons = state.explain(&view.key).reasons;
                parts.push(api::Holding {
                    part: view.key.to_string(),
                    worker: view.member.to_string(),
                    token: view.token.0,
                    state: convert::holding_state(view.state),
                    why: reasons.into_iter().map(|reason| reason.text).collect(),
                    pinned_to: view.pinned_to.map(|member| member.to_string()),
                    since: self.groups.moves().since(role, &view.key),
                });
            }
        }
        let (moves, seen_since) = self.groups.moves().of(role);
        Ok(api::Placement { role, parts, frozen, workers, moves, seen_since })
    }

    fn admin(&self, role: Role) -> Result<Admin, Failed> {
        let by = Some(self.caller.name.clone());
        let origin = Origin { by, at: BootClock.unix_millis(), note: Some("HTTP API".to_owned()) };
        Ok(self.groups.admin(role)?.asking(origin))
    }

    /// Does what operators ask of a role's group, and returns the placement, in which it shows once the group's leader has seen it.
    ///
    /// # Errors
    /// There is no such part or process, no process has the role, or the store of the groups failed.
    pub async fn place(
        &self,
        request: Uuid,
        role: api::Role,
        action: PlacementAction,
    ) -> Result<api::Placement, Failed> {
        self.caller.check_unlimited()?;
        let ((name, detail), target) = (action.named(), format!("role {}", role.name()));
        let change = Change { action: name, target, detail, request };
        self.audited(change, self.do_place(convert::model_role(role), action)).await?;
        self.placement(role).await
    }

    async fn do_place(&self, role: Role, action: PlacementAction) -> Result<(), Failed> {
        let admin = self.admin(role)?;
        let state = admin.read().await?;
        let part = |part: String| match state.task_views().iter().any(|view| *view.key == *part) {
            true => Ok(part),
            false => Err(Failed::not_found(format!("no process holds a part {part:?} of the role {role}"))),
        };
        let worker = |worker: String| {
            let missing = || Failed::not_found(format!("no process {worker:?} has the role {role}"));
            let instance = InstanceId::new(&worker).map_err(|_| missing())?;
            let is_there = state.member_views().iter().any(|view| view.member == instance);
            is_there.then_some(instance).ok_or_else(missing)
        };
        match action {
            PlacementAction::Pin { part: at, worker: with } => admin.pin(&part(at)?, &worker(with)?).await?,
            PlacementAction::Unpin { part: at } => drop(admin.unpin(&at).await?),
            PlacementAction::Freeze => admin.freeze().await?,
            PlacementAction::Unfreeze => drop(admin.unfreeze().await?),
            PlacementAction::Evict { worker: who } => drop(admin.evict(&worker(who)?).await?),
            PlacementAction::ForceRelease { part: at } => drop(admin.force_release(&part(at)?).await?),
        }
        Ok(())
    }
}
