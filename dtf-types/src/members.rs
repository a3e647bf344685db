//! The members of the type `map` that a process can execute: the functions of its remote workers, and those that it executes itself.

use std::collections::BTreeSet;
use std::sync::Arc;

use dtf_model::plugin::Members;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// The members, which change as workers come and go.
pub(crate) struct AllMembers {
    all: Members,
    _merging: Option<AbortOnDropHandle<()>>,
}

impl AllMembers {
    /// Returns those that never change together with those of the workers, if there can be any. With workers it has to be called on a
    /// runtime.
    pub(crate) fn new(own: Vec<Arc<str>>, of_workers: Option<Members>) -> Self {
        let merged = move |of_workers: &[Arc<str>], own: &[Arc<str>]| -> Arc<[Arc<str>]> {
            let all: BTreeSet<_> = of_workers.iter().chain(own).cloned().collect();
            all.into_iter().collect()
        };
        let Some(mut of_workers) = of_workers else {
            return Self { all: watch::channel(merged(&[], &own)).1, _merging: None };
        };
        if own.is_empty() {
            return Self { all: of_workers, _merging: None };
        }
        let first = merged(&of_workers.borrow_and_update(), &own);
        let (sender, all) = watch::channel(first);
        let merging = tokio::spawn(async move {
            while of_workers.changed().await.is_ok() {
                let now = merged(&of_workers.borrow_and_update(), &own);
                if sender.send(now).is_err() {
                    return;
                }
            }
        });
        Self { all, _merging: Some(AbortOnDropHandle::new(merging)) }
    }

    pub(crate) fn watch(&self) -> Members {
        self.all.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn workers_come_and_go_beside_what_the_process_executes_itself() {
        let own = || vec![Arc::from("exec:b"), Arc::from("exec:a")];
        let names =
            |members: &Members| members.borrow().iter().map(|name| name.to_string()).collect::<Vec<_>>();
        let alone = AllMembers::new(own(), None).watch();
        assert_eq!(names(&alone), ["exec:a", "exec:b"]);
        let (workers, of_workers) = watch::channel::<Arc<[Arc<str>]>>(Arc::from([]));
        let all = AllMembers::new(own(), Some(of_workers));
        let mut seen = all.watch();
        assert_eq!(names(&seen), ["exec:a", "exec:b"]);
        workers.send_replace(Arc::from([Arc::from("f")]));
        seen.changed().await.unwrap();
        assert_eq!(names(&seen), ["exec:a", "exec:b", "f"]);
        workers.send_replace(Arc::from([]));
        seen.changed().await.unwrap();
        assert_eq!(names(&seen), ["exec:a", "exec:b"]);
    }
}
