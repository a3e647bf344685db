//! The driver's own book of what the worker has been asked to do: who fences when the machine itself cannot.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::protocol::{AssignError, Input};
use crate::task::Holding;

/// The state of a task with the worker.
#[derive(Debug)]
enum Step {
    Starting(CancellationToken),
    Running,
    Stopping,
}

#[derive(Debug)]
struct Work {
    holding: Holding,
    step: Step,
}

/// The tasks that the worker was asked to start and has not stopped.
#[derive(Debug, Default)]
pub(super) struct Works(BTreeMap<Arc<str>, Work>);

impl Works {
    /// The worker is asked to start this. Cancelling what is returned says that nobody waits for it any longer.
    pub(super) fn start(&mut self, holding: &Holding) -> CancellationToken {
        let abandoned = CancellationToken::new();
        let step = Step::Starting(abandoned.clone());
        self.0.insert(holding.task.key.clone(), Work { holding: holding.clone(), step });
        abandoned
    }

    /// Nobody waits any longer for this to start.
    pub(super) fn abandon(&self, holding: &Holding) {
        if let Some(Work { step: Step::Starting(abandoned), .. }) = self.0.get(&holding.task.key) {
            abandoned.cancel();
        }
    }

    /// The worker is asked to stop this.
    pub(super) fn stop(&mut self, holding: &Holding) {
        if let Some(work) = self.0.get_mut(&holding.task.key) {
            work.step = Step::Stopping;
        }
    }

    /// A call of the worker has ended.
    pub(super) fn note(&mut self, input: &Input) {
        match input {
            Input::Assigned { key, result: Err(AssignError::Failed(_)), .. } | Input::Revoked { key, .. } => {
                self.0.remove(key);
            }
            Input::Assigned { key, .. } => {
                if let Some(work) = self.0.get_mut(key) {
                    work.step = Step::Running;
                }
            }
            _ => {}
        }
    }

    /// Everything is to stop: what runs, to be stopped now. What is being started follows when that has ended.
    pub(super) fn stop_all(&mut self) -> Vec<Holding> {
        let mut stopped = Vec::new();
        for work in self.0.values_mut() {
            match &work.step {
                Step::Starting(abandoned) => abandoned.cancel(),
                Step::Running => {
                    work.step = Step::Stopping;
                    stopped.push(work.holding.clone());
                }
                Step::Stopping => {}
            }
        }
        stopped
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
