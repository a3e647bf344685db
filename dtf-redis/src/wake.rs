//! [`WakeUp`] on Redis channels.
//!
//! One task of this process publishes hints, one listens on a connection of its own. Hints are gathered while the publisher is
//! busy, so a storm of them costs one round trip at a time; a message names tasks, or none for "anything". What is heard is
//! handed out within the process by [`MemoryWakeUp`].
//!
//! Who listens in the same process is told at once. A message says who sent it, so that its sender does not hear it again;
//! where only one process listens, and it is this one, none is sent.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use dtf_memory::MemoryWakeUp;
use dtf_model::wake::{Hint, Listener, Topic, WakeUp};
use dtf_model::{StoreError, TaskId};
use futures::StreamExt;
use redis::aio::PubSubSink;
use redis::{Msg, RedisError};
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info, warn};
use uuid::Uuid;

use crate::connection::{Redis, STORE, store_error};
use crate::keys::Keys;

/// The number of tasks that a message names before it says "anything".
const NAMES: usize = 1024;
/// The number of topics that may wait to be published; hints for further ones are lost.
const TOPICS: usize = 65_536;
/// The period of pings on a silent connection.
const PING: Duration = Duration::from_secs(5);
/// The wait before a lost connection is made again.
const AGAIN: Duration = Duration::from_millis(250);
/// The time after which the server is asked again for something that it refuses, such as a channel that the user has no right to.
const AGAIN_REFUSED: Duration = Duration::from_secs(30);

/// Warns of an error once, and again only after another one or a success.
#[derive(Default)]
struct SaidOnce(Option<String>);

impl SaidOnce {
    fn say(&mut self, error: &StoreError, what: &str) {
        let text = error.to_string();
        if self.0.as_ref() == Some(&text) {
            debug!(%error, "{what}");
        } else {
            warn!(%error, "{what}");
            self.0 = Some(text);
        }
    }

    fn forget(&mut self) {
        self.0 = None;
    }
}

/// Wake-ups between processes. Its tasks end with it.
pub struct RedisWakeUp {
    outbox: Arc<Outbox>,
    local: Arc<MemoryWakeUp>,
    wanted: Arc<Wanted>,
    _publisher: AbortOnDropHandle<()>,
    _subscriber: AbortOnDropHandle<()>,
}

impl std::fmt::Debug for RedisWakeUp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisWakeUp").finish_non_exhaustive()
    }
}

impl RedisWakeUp {
    /// Starts publishing and listening. Must be called on a tokio runtime.
    pub fn start(redis: Redis) -> Self {
        let (outbox, wanted) = (Arc::new(Outbox::default()), Arc::new(Wanted::default()));
        let local = Arc::new(MemoryWakeUp::default());
        let sender = Uuid::new_v4().as_u64_pair().0;
        let publisher = tokio::spawn(publish(redis.clone(), outbox.clone(), sender));
        let (heard, wanted_there) = (BTreeSet::new(), wanted.clone());
        let subscriber = Subscriber { redis, sender, wanted: wanted_there, local: local.clone(), heard };
        let subscriber = tokio::spawn(subscriber.run());
        Self {
            outbox,
            local,
            wanted,
            _publisher: AbortOnDropHandle::new(publisher),
            _subscriber: AbortOnDropHandle::new(subscriber),
        }
    }
}

impl WakeUp for RedisWakeUp {
    fn notify(&self, topic: Topic, task: TaskId) {
        let told = self.local.tell(topic, task);
        if !(told && topic.has_one_listener()) {
            self.outbox.put(topic, task);
        }
    }

    fn listen(&self, topic: Topic) -> Box<dyn Listener> {
        let inbox = self.local.listen(topic);
        self.wanted.one_more(topic);
        Box::new(RedisListener { inbox, topic, wanted: self.wanted.clone() })
    }
}

struct RedisListener {
    inbox: Box<dyn Listener>,
    topic: Topic,
    wanted: Arc<Wanted>,
}

#[async_trait]
impl Listener for RedisListener {
    async fn next(&mut self) -> Hint {
        self.inbox.next().await
    }
}

impl Drop for RedisListener {
    fn drop(&mut self) {
        self.wanted.one_less(self.topic);
    }
}

/// A panic while one of these is held can only come from an allocation failure; what it guards is whole then.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Hints that have not been published.
#[derive(Default)]
struct Outbox {
    topics: Mutex<HashMap<Topic, BTreeSet<TaskId>>>,
    bell: Notify,
}

impl Outbox {
    fn put(&self, topic: Topic, task: TaskId) {
        let mut topics = lock(&self.topics);
        if topics.len() >= TOPICS && !topics.contains_key(&topic) {
            return;
        }
        let tasks = topics.entry(topic).or_default();
        // One more than are named says that there were too many.
        if tasks.len() <= NAMES {
            tasks.insert(task);
        }
        drop(topics);
        self.bell.notify_one();
    }

    fn put_back(&self, unsent: HashMap<Topic, BTreeSet<TaskId>>) {
        for (topic, tasks) in unsent {
            tasks.into_iter().for_each(|task| self.put(topic, task));
        }
    }

    fn take(&self) -> HashMap<Topic, BTreeSet<TaskId>> {
        std::mem::take(&mut *lock(&self.topics))
    }
}

/// Publishes hints, for as long as the process lives. One that may not have been published is published again.
async fn publish(redis: Redis, outbox: Arc<Outbox>, sender: u64) {
    let mut said = SaidOnce::default();
    loop {
        outbox.bell.notified().await;
        let topics = outbox.take();
        if topics.is_empty() {
            continue;
        }
        let message = |(topic, tasks): (&Topic, &BTreeSet<TaskId>)| {
            (redis.keys().channel(*topic), message(sender, tasks))
        };
        let messages: Vec<_> = topics.iter().map(message).collect();
        if let Err(error) = redis.publish(&messages).await {
            if error.is_retryable() {
                debug!(%error, topics = topics.len(), "hints not published, they are sent again");
                tokio::time::sleep(AGAIN).await;
            } else {
                said.say(&error, "no wake-ups are published: others notice what changes some seconds later");
                tokio::time::sleep(AGAIN_REFUSED).await;
            }
            outbox.put_back(topics);
        } else {
            said.forget();
        }
    }
}

/// The sender and the tasks' numbers, eight bytes each; no tasks for "anything".
fn message(sender: u64, tasks: &BTreeSet<TaskId>) -> Vec<u8> {
    let named = (tasks.len() <= NAMES).then_some(tasks).into_iter().flatten();
    std::iter::once(sender).chain(named.map(|task| task.0)).flat_map(u64::to_le_bytes).collect()
}

/// The numbers of listeners here by topic, and the topics that have changed since the subscriber looked.
#[derive(Default)]
struct Wanted {
    topics: Mutex<WantedTopics>,
    bell: Notify,
}

#[derive(Default)]
struct WantedTopics {
    listeners: HashMap<Topic, usize>,
    changed: BTreeSet<Topic>,
}

impl Wanted {
    fn one_more(&self, topic: Topic) {
        let mut topics = lock(&self.topics);
        let count = topics.listeners.entry(topic).or_default();
        *count += 1;
        topics.changed.insert(topic);
        drop(topics);
        self.bell.notify_one();
    }

    fn one_less(&self, topic: Topic) {
        let mut topics = lock(&self.topics);
        let Some(count) = topics.listeners.get_mut(&topic) else { return };
        *count -= 1;
        if *count == 0 {
            topics.listeners.remove(&topic);
            topics.changed.insert(topic);
            drop(topics);
            self.bell.notify_one();
        }
    }

    /// The topics that have changed, and whether anybody listens to them.
    fn changes(&self) -> Vec<(Topic, bool)> {
        let mut topics = lock(&self.topics);
        let changed = std::mem::take(&mut topics.changed);
        changed.into_iter().map(|topic| (topic, topics.listeners.contains_key(&topic))).collect()
    }

    /// All topics; nothing has changed since.
    fn all(&self) -> Vec<Topic> {
        let mut topics = lock(&self.topics);
        topics.changed.clear();
        topics.listeners.keys().copied().collect()
    }
}

/// Listens on the channels of the wanted topics.
struct Subscriber {
    redis: Redis,
    sender: u64,
    wanted: Arc<Wanted>,
    local: Arc<MemoryWakeUp>,
    /// Topics that this connection is subscribed to.
    heard: BTreeSet<Topic>,
}

impl Subscriber {
    async fn run(mut self) {
        let mut said = SaidOnce::default();
        loop {
            let pause = match self.listen(&mut said).await {
                Ok(()) => {
                    info!("the connection for wake-ups was closed");
                    AGAIN
                }
                Err(error) => {
                    said.say(&error, "no wake-ups are heard: what changes is noticed some seconds later");
                    if error.is_retryable() { AGAIN } else { AGAIN_REFUSED }
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Listens until the connection breaks.
    async fn listen(&mut self, said: &mut SaidOnce) -> Result<(), StoreError> {
        let server = self.redis.generation();
        let (mut sink, mut stream) = self.redis.listen().await?.split();
        self.heard.clear();
        let wanted = self.wanted.all();
        self.subscribe(&mut sink, wanted).await?;
        said.forget();
        let wanted = self.wanted.clone();
        let mut ping = tokio::time::interval(PING);
        loop {
            tokio::select! {
                heard = stream.next() => match heard {
                    Some(message) => self.hand_out(&message),
                    None => return Ok(()),
                },
                () = wanted.bell.notified() => self.follow(&mut sink).await?,
                _ = ping.tick() => {
                    // Hints are published where commands go, and this connection may be to the server that was the master before.
                    if self.redis.generation() != server {
                        return Ok(());
                    }
                    in_time(&self.redis, sink.ping::<redis::Value>()).await.map(drop)?;
                }
            }
        }
    }

    /// Subscribes to what is wanted now, and no longer to what is not.
    async fn follow(&mut self, sink: &mut PubSubSink) -> Result<(), StoreError> {
        let (wanted, unwanted): (Vec<_>, Vec<_>) =
            self.wanted.changes().into_iter().partition(|(_, wanted)| *wanted);
        let unwanted: Vec<_> =
            unwanted.into_iter().map(|(topic, _)| topic).filter(|topic| self.heard.remove(topic)).collect();
        if !unwanted.is_empty() {
            let channels = channels(self.redis.keys(), &unwanted);
            in_time(&self.redis, sink.unsubscribe(&channels)).await?;
        }
        self.subscribe(sink, wanted.into_iter().map(|(topic, _)| topic).collect()).await
    }

    /// Hints that came before the subscription stood are lost, so its listeners are told to look at everything.
    async fn subscribe(&mut self, sink: &mut PubSubSink, topics: Vec<Topic>) -> Result<(), StoreError> {
        let new: Vec<_> = topics.iter().copied().filter(|topic| !self.heard.contains(topic)).collect();
        if !new.is_empty() {
            let channels = channels(self.redis.keys(), &new);
            in_time(&self.redis, sink.subscribe(&channels)).await?;
            self.heard.extend(&new);
        }
        for topic in new {
            self.local.lost(topic);
        }
        Ok(())
    }

    fn hand_out(&self, message: &Msg) {
        let Some(topic) = self.redis.keys().topic(message.get_channel_name()) else { return };
        let (numbers, rest) = message.get_payload_bytes().as_chunks::<8>();
        let mut numbers = numbers.iter().map(|number| u64::from_le_bytes(*number));
        if numbers.next() == Some(self.sender) {
            return;
        }
        if numbers.len() == 0 || !rest.is_empty() {
            self.local.lost(topic);
        }
        for task in numbers {
            self.local.notify(topic, TaskId(task));
        }
    }
}

fn channels(keys: &Keys, topics: &[Topic]) -> Vec<String> {
    topics.iter().map(|topic| keys.channel(*topic)).collect()
}

/// The answer to a command on the listening connection, which has no timeout of its own.
async fn in_time<T>(
    redis: &Redis,
    call: impl Future<Output = Result<T, RedisError>>,
) -> Result<T, StoreError> {
    match tokio::time::timeout(redis.config().response_timeout, call).await {
        Ok(answered) => answered.map_err(|error| redis.with_rule(store_error(&error))),
        Err(_) => Err(StoreError::Unknown { store: STORE, cause: "no answer in time".to_owned() }),
    }
}
