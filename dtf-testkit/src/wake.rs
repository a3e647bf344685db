//! The conformance suite of [`WakeUp`]: one function per obligation of the trait, and [`run_all`].
//!
//! As a hint may be lost, the suite rings until it is heard. What it shows is that hints do come, to those they are for,
//! and that nothing blocks.

use std::sync::Arc;
use std::time::Duration;

use dtf_model::ids::TaskId;
use dtf_model::wake::{Hint, Listener, Topic, WakeUp};

use super::unique_number;

macro_rules! obligations {
    ($($name:ident),* $(,)?) => {
        /// Runs the whole suite, one obligation after another.
        pub async fn run_all(store: Arc<dyn WakeUp>) {
            $(
                tracing::info!(obligation = stringify!($name), "checking");
                $name(&store).await;
            )*
        }
    };
}

obligations!(
    every_kind_of_topic_is_heard,
    every_listener_of_a_topic_hears,
    a_hint_is_heard_by_its_topic_only,
    hints_that_nobody_took_are_gathered,
    a_dropped_wait_loses_nothing,
    ringing_never_blocks,
    who_no_longer_listens_disturbs_nobody,
);

/// Two carriers as one that rings at the first and listens at the second, as two processes do.
pub fn between(here: Arc<dyn WakeUp>, there: Arc<dyn WakeUp>) -> Arc<dyn WakeUp> {
    Arc::new(Between { here, there })
}

struct Between {
    here: Arc<dyn WakeUp>,
    there: Arc<dyn WakeUp>,
}

impl WakeUp for Between {
    fn notify(&self, topic: Topic, task: TaskId) {
        self.here.notify(topic, task);
    }

    fn listen(&self, topic: Topic) -> Box<dyn Listener> {
        self.there.listen(topic)
    }
}

/// The period of repeated hints, and their number.
const AGAIN: Duration = Duration::from_millis(200);
const TRIES: u32 = 600;

fn number() -> u32 {
    (1 << 31) | (unique_number() as u32 >> 1)
}

fn names(hint: &Hint, task: TaskId) -> bool {
    matches!(hint, Hint::Tasks(tasks) if tasks.contains(&task))
}

/// Rings until the listener was told of this task by name.
async fn heard(wake: &Arc<dyn WakeUp>, topic: Topic, listener: &mut Box<dyn Listener>, task: TaskId) {
    for _ in 0..TRIES {
        wake.notify(topic, task);
        if told(listener, task).await {
            return;
        }
    }
    panic!("{topic:?} was never heard");
}

/// Returns true if the listener is told of this task, within a while.
async fn told(listener: &mut Box<dyn Listener>, task: TaskId) -> bool {
    let told = async { while !names(&listener.next().await, task) {} };
    tokio::time::timeout(AGAIN, told).await.is_ok()
}

/// Hints reach the listeners of every kind of topic.
pub async fn every_kind_of_topic_is_heard(wake: &Arc<dyn WakeUp>) {
    let part = number();
    let topics = [
        Topic::Watch(part),
        Topic::Schedules(part),
        Topic::Hooks,
        Topic::Generation(part),
        Topic::Scheduling(part),
        Topic::Credit(part),
        Topic::Collection(part),
        Topic::Shard(part),
        Topic::Control,
        Topic::Row(TaskId(unique_number())),
    ];
    for topic in topics {
        let mut listener = wake.listen(topic);
        heard(wake, topic, &mut listener, TaskId(unique_number())).await;
    }
}

/// Several listeners of one topic are told, each for itself.
pub async fn every_listener_of_a_topic_hears(wake: &Arc<dyn WakeUp>) {
    let topic = Topic::Shard(number());
    let mut listeners = [wake.listen(topic), wake.listen(topic)];
    for listener in &mut listeners {
        heard(wake, topic, listener, TaskId(unique_number())).await;
    }
    // Both are there now, so one ring is for both, unless it is lost.
    let task = TaskId(unique_number());
    for _ in 0..TRIES {
        wake.notify(topic, task);
        let [one, two] = &mut listeners;
        let both = tokio::join!(told(one, task), told(two, task));
        if both == (true, true) {
            return;
        }
    }
    panic!("one of two listeners did not hear");
}

/// Nobody is told by name what is for others.
pub async fn a_hint_is_heard_by_its_topic_only(wake: &Arc<dyn WakeUp>) {
    let part = number();
    let (ours, theirs) = (Topic::Watch(part), Topic::Collection(part));
    let (mut listener, mut other) = (wake.listen(ours), wake.listen(theirs));
    let (secret, known) = (TaskId(unique_number()), TaskId(unique_number()));
    heard(wake, theirs, &mut other, secret).await;
    for _ in 0..TRIES {
        wake.notify(theirs, secret);
        wake.notify(ours, known);
        let waited = tokio::time::timeout(AGAIN, listener.next()).await;
        let Ok(hint) = waited else { continue };
        assert!(!names(&hint, secret), "{hint:?}");
        if names(&hint, known) {
            return;
        }
    }
    panic!("{ours:?} was never heard");
}

/// Hints wait for the listener; the same one is told once.
pub async fn hints_that_nobody_took_are_gathered(wake: &Arc<dyn WakeUp>) {
    let topic = Topic::Scheduling(number());
    let mut listener = wake.listen(topic);
    heard(wake, topic, &mut listener, TaskId(unique_number())).await;
    let tasks: Vec<_> = (0..20).map(|_| TaskId(unique_number())).collect();
    for _ in 0..TRIES {
        for task in tasks.iter().chain(&tasks) {
            wake.notify(topic, *task);
        }
        let mut got = Vec::new();
        while let Ok(hint) = tokio::time::timeout(AGAIN, listener.next()).await {
            if let Hint::Tasks(named) = hint {
                let mut once = named.clone();
                once.sort_unstable();
                once.dedup();
                assert_eq!(once.len(), named.len(), "{named:?}");
                got.extend(named);
            }
        }
        if tasks.iter().all(|task| got.contains(task)) {
            return;
        }
    }
    panic!("not all hints were heard");
}

/// A wait that is given up, as `select!` does, does not swallow the hint.
pub async fn a_dropped_wait_loses_nothing(wake: &Arc<dyn WakeUp>) {
    let topic = Topic::Generation(number());
    let mut listener = wake.listen(topic);
    heard(wake, topic, &mut listener, TaskId(unique_number())).await;
    let task = TaskId(unique_number());
    for _ in 0..TRIES {
        wake.notify(topic, task);
        let until = tokio::time::Instant::now() + AGAIN;
        while tokio::time::Instant::now() < until {
            tokio::select! {
                biased;
                () = tokio::time::sleep(Duration::from_micros(50)) => {}
                hint = listener.next() => if names(&hint, task) { return },
            }
        }
    }
    panic!("the hint was never heard");
}

/// However many ring, and with nobody there to hear, ringing comes back at once.
pub async fn ringing_never_blocks(wake: &Arc<dyn WakeUp>) {
    let (silent, topic) = (Topic::Watch(number()), Topic::Watch(number()));
    let mut listener = wake.listen(topic);
    for task in 0..50_000 {
        wake.notify(silent, TaskId(task));
        wake.notify(topic, TaskId(task));
    }
    // The listener was told something, and is told again.
    for _ in 0..TRIES {
        wake.notify(topic, TaskId(1));
        if tokio::time::timeout(AGAIN, listener.next()).await.is_ok() {
            return heard(wake, topic, &mut listener, TaskId(unique_number())).await;
        }
    }
    panic!("50,000 hints were none");
}

/// Listeners come and go; those that stay are told.
pub async fn who_no_longer_listens_disturbs_nobody(wake: &Arc<dyn WakeUp>) {
    let topic = Topic::Row(TaskId(unique_number()));
    let mut stays = wake.listen(topic);
    for _ in 0..5 {
        let mut goes = wake.listen(topic);
        heard(wake, topic, &mut goes, TaskId(unique_number())).await;
        drop(goes);
        heard(wake, topic, &mut stays, TaskId(unique_number())).await;
    }
    drop(stays);
    let mut again = wake.listen(topic);
    heard(wake, topic, &mut again, TaskId(unique_number())).await;
}
