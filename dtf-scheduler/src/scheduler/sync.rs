//! Looking at tasks: as a hint named them, as they were listed, and to take them up.
//!
//! A hint says of few tasks that they may have something pending, and each of them gets a turn to find out. A list names all
//! tasks, most of which nothing has happened to: the store is asked about many of them in one call, and only those have a turn
//! that have something to give.

use std::collections::BTreeSet;

use dtf_model::queue::TaskProgress;
use dtf_model::wake::Topic;
use dtf_model::{Control, StoreError, TaskId};
use futures::StreamExt;
use tracing::warn;

use super::lister::Page;
use super::recovery::{Checked, Finder};
use super::tasks::Tasks;

/// The number of tasks that are taken up at a time.
const TOGETHER: usize = 256;

impl Tasks {
    pub(super) fn finder(&self) -> Finder {
        Finder { queues: self.ports.queues.clone(), shards: self.ports.shards.clone(), token: self.token }
    }

    /// Takes up those listed that are new, and looks at the others again. When all are listed, those that were not are
    /// forgotten. Where the store may have forgotten something, all are taken up afresh: their tokens are raised, and what
    /// runs on no shard goes back to pending.
    pub(super) async fn look_at_page(&mut self, page: Page) {
        if page.store_may_have_forgotten {
            let all: Vec<_> = self.known.keys().copied().collect();
            all.into_iter().for_each(|task| self.forget(task));
            self.unknown.clear();
        }
        self.seen.extend(page.tasks.iter().copied());
        let known: Vec<_> = page.tasks.iter().copied().filter(|task| self.known.contains_key(task)).collect();
        self.ask_about(&known).await;
        self.take_up(&page.tasks).await;
        if page.last {
            let seen = std::mem::take(&mut self.seen);
            let mine = self.known.keys().chain(self.making.keys());
            let gone: Vec<_> = mine.filter(|task| !seen.contains(task)).copied().collect();
            gone.into_iter().for_each(|task| self.forget(task));
            self.unknown.retain(|task, _| seen.contains(task));
            self.audit();
        }
    }

    /// Looks at some tasks, as a hint said that they may have something pending. Hints about room on a shard name tasks of
    /// other partitions too.
    pub(super) async fn look_at(&mut self, tasks: &[TaskId]) {
        let (running, others): (Vec<_>, Vec<_>) =
            tasks.iter().copied().partition(|task| self.accounts.is_running(*task));
        others.iter().for_each(|task| self.pending(*task)); // those that are not known wait for being taken up
        self.look_at_running(running).await;
        self.take_up(tasks).await;
    }

    /// Charges tasks with what they have used. Most hints about them say no more than that something of them has ended, so
    /// only those have a turn that have something to give, or a generator that waits for a turn to tell it of its backlog.
    async fn look_at_running(&mut self, mut tasks: Vec<TaskId>) {
        for (task, progress) in self.progress_of(&tasks).await {
            tasks.retain(|other| *other != task);
            if !self.note_progress(task, &progress) {
                self.forget(task);
            } else if progress.pending > 0 || progress.delayed > 0 || !progress.generated {
                self.pending(task);
                if progress.delayed == 0 {
                    self.expect(task, progress.pending);
                }
            }
        }
        // Nothing is known of those that are left.
        tasks.into_iter().for_each(|task| self.pending(task));
    }

    /// Charges those of these tasks that had something running.
    pub(super) async fn settle(&mut self, tasks: &[TaskId]) {
        let running: Vec<_> = tasks.iter().copied().filter(|task| self.accounts.is_running(*task)).collect();
        for (task, progress) in self.progress_of(&running).await {
            self.note_progress(task, &progress);
        }
    }

    /// Finds out which of these tasks have something to give. One whose queues are those of another run is forgotten.
    async fn ask_about(&mut self, tasks: &[TaskId]) {
        for (task, progress) in self.progress_of(tasks).await {
            if !self.note_progress(task, &progress) {
                self.forget(task);
                continue;
            }
            // When the next of those is due is told with what is taken.
            let may_be_due = progress.delayed > 0 && !self.is_due_known(task);
            if progress.control == Control::Run && (progress.pending > 0 || may_be_due) {
                self.pending(task);
            }
        }
    }

    async fn progress_of(&self, tasks: &[TaskId]) -> Vec<(TaskId, TaskProgress)> {
        if tasks.is_empty() {
            return Vec::new();
        }
        match self.ports.queues.progress_of(tasks).await {
            Ok(progress) => progress,
            // Nothing is lost: they are looked at again.
            Err(error) => {
                warn!(%error, "how tasks stand is not known");
                Vec::new()
            }
        }
    }

    /// Says whether it is how the run stands that is known here.
    fn note_progress(&mut self, task: TaskId, progress: &TaskProgress) -> bool {
        let is_known = self.known.get(&task).is_some_and(|known| known.run == progress.run);
        if is_known {
            self.results.note(task, progress.results_bytes);
            self.charge(task, &progress.usage);
            self.policy.ahead(task, progress.lost);
        }
        is_known
    }

    /// Lets the shards be checked of the tasks that get no further: they may have forgotten what runs of them. Others are
    /// dispatched meanwhile.
    fn audit(&mut self) {
        let now = self.context.clock.now();
        let mut due = Vec::new();
        for (task, known) in &mut self.known {
            // What the callback is asked about is on no shard yet.
            if self.accounts.is_running(*task) && known.audit.is_due(now) && !known.is_asked() {
                due.push(*task);
            }
        }
        due.into_iter().for_each(|task| self.check(task));
    }

    /// The shards of a task were checked: what of it was on none has gone back to pending.
    pub(super) fn checked(&mut self, checked: Checked) {
        let task = checked.fence.task;
        if !self.heard(task, checked.number) {
            return; // it was taken up afresh meanwhile
        }
        match checked.load {
            Ok(load) => {
                // The hint that they were shipped may be lost.
                let shards: BTreeSet<_> = load.running.iter().map(|parcel| parcel.shard).collect();
                shards.iter().for_each(|shard| self.context.wake.notify(Topic::Shard(shard.0), task));
                self.pending(task);
            }
            Err(error) if error.is_retryable() => {
                warn!(task_id = %task, %error, "task not audited");
                self.pending(task);
            }
            Err(_) => self.forget(task), // it has ended, or is somebody else's
        }
    }

    /// Takes up those of these tasks that are this partition's, and not known yet.
    async fn take_up(&mut self, tasks: &[TaskId]) {
        let is_new = |task: &TaskId| {
            let is_known = self.known.contains_key(task) || self.unknown.contains_key(task);
            self.share.has(*task) && !is_known && !self.making.contains_key(task)
        };
        let new: Vec<_> = tasks.iter().copied().filter(is_new).collect();
        let finder = &self.finder();
        let mut finding = futures::stream::iter(new)
            .map(|task| async move { (task, finder.find(task).await) })
            .buffered(TOGETHER);
        while let Some((task, found)) = finding.next().await {
            match found {
                Ok(Some(found)) => self.begin(found),
                Ok(None) | Err(StoreError::Gone { .. } | StoreError::Fenced { .. }) => {}
                Err(error) => warn!(task_id = %task, %error, "task not taken up"),
            }
        }
    }
}
