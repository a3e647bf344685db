//! The audit of what the API changes.
//!
//! A change of the database is written together with its entry, both or neither. Of any other change the entry is written before, and
//! closed afterwards. So a change without an entry cannot be.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dtf_api as api;
use dtf_api::Code;
use dtf_control::Client;
use dtf_model::TaskId;
use dtf_model::audit::{AuditEntry, AuditFilter, AuditOutcome, Note};
use tracing::warn;
use uuid::Uuid;

use super::{App, cut, page, target};
use crate::convert;
use crate::problem::Failed;

/// The time for which entries are kept where nothing else is said.
pub(super) const KEPT: Duration = Duration::from_secs(90 * 24 * 3600);
/// The time between two deletions of old entries.
const FORGET_EVERY_MILLIS: u64 = 3600 * 1000;

/// The time of the last deletion of old entries by this process, in milliseconds since the Unix epoch.
#[derive(Debug, Default)]
pub(super) struct LastForgotten(AtomicU64);

/// A change, as the audit names it.
pub(crate) struct Change {
    /// As in `task.cancel`.
    pub(crate) action: &'static str,
    /// As in `task 7`.
    pub(crate) target: String,
    pub(crate) detail: String,
    pub(crate) request: Uuid,
}

impl App {
    /// Makes a change of the database together with its entry in the audit. What is refused, and what turns out to change nothing, has its
    /// entry written behind it.
    pub(crate) async fn noted<T, F: Future<Output = Result<T, Failed>>>(
        &self,
        change: Change,
        make: impl FnOnce(Client) -> F,
    ) -> Result<T, Failed> {
        let note = Note::new(self.entry(change, AuditOutcome::Done));
        let made = make(self.client.noting(&note)).await;
        let at = note.entry().at;
        self.forget_old_entries(at);
        if note.is_written() {
            return made;
        }
        let entry = match &made {
            Ok(_) => note.entry().clone(),
            Err(failed) => AuditEntry {
                outcome: outcome(failed),
                detail: failed.0.detail.clone(),
                ..note.entry().clone()
            },
        };
        match (self.client.add_audit(&entry).await, made) {
            (Err(error), Ok(_)) => Err(error.into()),
            (Err(error), made) => {
                warn!(%error, entry = %entry.id, "an entry of the audit on what was not done is missing");
                made
            }
            (Ok(()), made) => made,
        }
    }

    /// Returns the note of a creation, whose number is put behind the target of the change.
    pub(crate) fn noting_creation(&self, change: Change) -> Note {
        let note = Note::of_creation(self.entry(change, AuditOutcome::Done));
        self.forget_old_entries(note.entry().at);
        note
    }

    /// Makes a change that is not only one of the database, and keeps that it was asked for, by whom, and its outcome.
    pub(crate) async fn audited<T>(
        &self,
        change: Change,
        make: impl Future<Output = Result<T, Failed>>,
    ) -> Result<T, Failed> {
        let entry = self.entry(change, AuditOutcome::Intended);
        self.client.add_audit(&entry).await?;
        let made = make.await;
        let (outcome, detail) = match &made {
            Ok(_) => (AuditOutcome::Done, entry.detail.as_str()),
            Err(failed) => (outcome(failed), failed.0.detail.as_str()),
        };
        // The entry stays open where this fails, which says as much: the outcome is not known.
        if let Err(error) = self.client.close_audit(entry.id, outcome, detail).await {
            warn!(%error, entry = %entry.id, "an entry of the audit was not closed");
        }
        self.forget_old_entries(entry.at);
        made
    }

    fn entry(&self, change: Change, outcome: AuditOutcome) -> AuditEntry {
        let (id, at) = self.client.audit_id();
        AuditEntry {
            id,
            at,
            actor: self.caller.name.clone(),
            address: self.caller.address.clone(),
            action: change.action.to_owned(),
            target: change.target,
            detail: change.detail,
            outcome,
            request: change.request,
        }
    }

    /// Deletes old entries once an hour, behind a change: nothing runs where nothing is changed.
    fn forget_old_entries(&self, now: u64) {
        let last = self.forgotten.0.load(Ordering::Relaxed);
        let is_due = now.abs_diff(last) >= FORGET_EVERY_MILLIS;
        if !is_due
            || self.forgotten.0.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_err()
        {
            return;
        }
        let client = self.client.clone();
        let before = now.saturating_sub(u64::try_from(self.audit_kept.as_millis()).unwrap_or(u64::MAX));
        // Owned by the runtime: it ends by itself, and what it leaves the next one deletes.
        tokio::spawn(async move {
            if let Err(error) = client.forget_audit(before).await {
                warn!(%error, "old entries of the audit were not deleted");
            }
            if let Err(error) = client.forget_bulks(before).await {
                warn!(%error, "old actions on many tasks were not deleted");
            }
        });
    }

    /// Returns a page of the audit, the newest entries first.
    ///
    /// # Errors
    /// The caller is limited to some groups, the page is too large, or the store failed.
    pub async fn audit(&self, query: &api::AuditQuery) -> Result<api::AuditPage, Failed> {
        // It has the changes of all groups.
        self.caller.check_unlimited()?;
        self.entries(query).await
    }

    async fn entries(&self, query: &api::AuditQuery) -> Result<api::AuditPage, Failed> {
        let most = page(query.limit, 100)?;
        let filter = AuditFilter { target: query.target.clone(), actor: query.actor.clone() };
        let mut entries = self.client.audit(&filter, query.cursor, most + 1).await?;
        let more = cut(&mut entries, most);
        let next = entries.last().filter(|_| more).map(|entry| entry.id);
        Ok(api::AuditPage { entries: entries.into_iter().map(convert::audit_entry).collect(), next })
    }

    /// Returns the changes of a task that were asked for, the newest first, at most so many. Whoever sees the task may see them.
    ///
    /// # Errors
    /// A store failed.
    pub(crate) async fn changes_of(&self, id: u64, most: u32) -> Result<Vec<api::AuditEntry>, Failed> {
        let query = api::AuditQuery {
            target: Some(target(TaskId(id))),
            limit: Some(most),
            ..api::AuditQuery::default()
        };
        Ok(self.entries(&query).await?.entries)
    }
}

fn outcome(failed: &Failed) -> AuditOutcome {
    match failed.0.code {
        Code::Unknown | Code::Timeout => AuditOutcome::Unknown,
        _ => AuditOutcome::Refused,
    }
}
