//! [`WakeUp`] within one process.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use async_trait::async_trait;
use dtf_model::ids::TaskId;
use dtf_model::wake::{Hint, Listener, Topic, WakeUp};
use tokio::sync::Notify;

/// The number of tasks that an inbox names before it says "anything".
const INBOX: usize = 1024;

#[derive(Debug, Default)]
struct Inbox {
    hint: Mutex<Named>,
    notify: Notify,
}

#[derive(Debug, Default)]
struct Named {
    tasks: BTreeSet<TaskId>,
    overflowed: bool,
}

impl Inbox {
    fn notify(&self, task: TaskId) {
        let mut named = self.named();
        if named.tasks.len() < INBOX {
            named.tasks.insert(task);
        } else {
            named.overflowed |= !named.tasks.contains(&task);
        }
        drop(named);
        self.notify.notify_one();
    }

    fn overflow(&self) {
        self.named().overflowed = true;
        self.notify.notify_one();
    }

    fn take(&self) -> Option<Hint> {
        let named = std::mem::take(&mut *self.named());
        if named.overflowed {
            return Some(Hint::Anything);
        }
        (!named.tasks.is_empty()).then(|| Hint::Tasks(named.tasks.into_iter().collect()))
    }

    fn named(&self) -> MutexGuard<'_, Named> {
        // A panic while it is held can only come from an allocation failure.
        self.hint.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wake-ups between the roles of one process.
#[derive(Debug, Default)]
pub struct MemoryWakeUp {
    topics: Mutex<HashMap<Topic, Vec<Weak<Inbox>>>>,
}

impl MemoryWakeUp {
    fn topics(&self) -> MutexGuard<'_, HashMap<Topic, Vec<Weak<Inbox>>>> {
        // A panic while it is held can only come from an allocation failure.
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryWakeUp {
    /// Tells the listeners of a topic that hints may have been lost on the way to them. For carriers between processes, which
    /// hand out within a process what they were told.
    pub fn lost(&self, topic: Topic) {
        for inbox in self.topics().get(&topic).into_iter().flatten().filter_map(Weak::upgrade) {
            inbox.overflow();
        }
    }

    /// Hints at a task, and says whether anybody listens.
    pub fn tell(&self, topic: Topic, task: TaskId) -> bool {
        let topics = self.topics();
        let listening = topics.get(&topic).into_iter().flatten().filter_map(Weak::upgrade);
        listening.map(|inbox| inbox.notify(task)).count() > 0
    }
}

impl WakeUp for MemoryWakeUp {
    fn notify(&self, topic: Topic, task: TaskId) {
        self.tell(topic, task);
    }

    fn listen(&self, topic: Topic) -> Box<dyn Listener> {
        let inbox = Arc::new(Inbox::default());
        let mut topics = self.topics();
        if topics.len() == topics.capacity() {
            // Before the map grows, topics go that nobody listens to any more: there is one for every task waited for.
            topics.retain(|_, inboxes| inboxes.iter().any(|inbox| inbox.strong_count() > 0));
        }
        let inboxes = topics.entry(topic).or_default();
        inboxes.retain(|inbox| inbox.strong_count() > 0);
        inboxes.push(Arc::downgrade(&inbox));
        Box::new(MemoryListener(inbox))
    }
}

struct MemoryListener(Arc<Inbox>);

#[async_trait]
impl Listener for MemoryListener {
    async fn next(&mut self) -> Hint {
        loop {
            // `notify_one` keeps a permit, so a ring between `take` and `notified` is not missed.
            if let Some(hint) = self.0.take() {
                return hint;
            }
            self.0.notify.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn hints_are_gathered_by_task() {
        let wake = MemoryWakeUp::default();
        let mut listener = wake.listen(Topic::Shard(1));
        for task in [2, 1, 2] {
            wake.notify(Topic::Shard(1), TaskId(task));
        }
        wake.notify(Topic::Shard(2), TaskId(9));
        assert_eq!(listener.next().await, Hint::Tasks(vec![TaskId(1), TaskId(2)]));
    }

    #[test]
    fn topics_that_nobody_listens_to_are_forgotten() {
        let wake = MemoryWakeUp::default();
        let _kept = wake.listen(Topic::Control);
        for task in 0..10_000 {
            wake.listen(Topic::Row(TaskId(task)));
        }
        assert!(wake.topics().len() < 100);
    }

    #[tokio::test]
    async fn what_was_lost_may_be_anything() {
        let wake = MemoryWakeUp::default();
        let (mut listener, mut other) = (wake.listen(Topic::Control), wake.listen(Topic::Watch(1)));
        wake.notify(Topic::Watch(1), TaskId(1));
        wake.lost(Topic::Control);
        assert_eq!(listener.next().await, Hint::Anything);
        assert_eq!(other.next().await, Hint::Tasks(vec![TaskId(1)]));
    }

    #[tokio::test]
    async fn too_many_hints_become_anything() {
        let wake = MemoryWakeUp::default();
        let mut listener = wake.listen(Topic::Control);
        for task in 0..=INBOX as u64 {
            wake.notify(Topic::Control, TaskId(task));
        }
        assert_eq!(listener.next().await, Hint::Anything);
    }
}
