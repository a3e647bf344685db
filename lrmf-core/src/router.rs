//! For those who call the holders of tasks: which member has which task now.
//!
//! The router watches the assignments and answers from memory. Its view may be behind the store by as much as it
//! [says](Router::age); a caller that must not reach a former holder sends the token along and lets the receiver
//! compare. Before its first read it is [not ready](NotReady), and never says that nobody holds a task.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::FixedState;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use uuid::Uuid;

use crate::clock::{Clock, Timestamp};
use crate::coordination::{Coordination, Revision, WatchEvent};
use crate::driver::{Feed, Seen};
use crate::ids::{GroupId, Incarnation, InstanceId, Token};
use crate::keys::{ChunkId, Keys, Kind, path_of};
use crate::protocol::backoff::Backoff;
use crate::protocol::{FeedId, FeedItem, Input};
use crate::records::{ChunkRecord, RecordError, decode};

/// The period of comparing the view with the store while nothing changes.
const PROBE: Duration = Duration::from_secs(1);

/// The holder of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its holder.
    pub member: InstanceId,
    /// The holder's session.
    pub incarnation: Incarnation,
    /// The token of the holding.
    pub token: Token,
    /// The holder is giving it back: another one follows soon.
    pub releasing: bool,
}

/// The router cannot say where anything is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// It has not read the assignments yet.
    #[error("the router has not read the assignments yet")]
    Loading,
    /// It cannot read them.
    #[error(transparent)]
    Unreadable(#[from] RecordError),
}

/// The assignments as last heard.
#[derive(Debug)]
struct View {
    keys: Keys,
    loaded: bool,
    /// Chunks that cannot be read.
    unreadable: BTreeMap<(InstanceId, ChunkId), RecordError>,
    revision: Revision,
    routes: HashMap<Arc<str>, Route, FixedState>,
    chunks: HashMap<(InstanceId, ChunkId), Vec<Arc<str>>, FixedState>,
    /// The store's counter had this revision, and the view was that far, at that time.
    current_at: Option<Timestamp>,
}

impl View {
    fn new(keys: Keys) -> Self {
        Self {
            keys,
            loaded: false,
            unreadable: BTreeMap::new(),
            revision: Revision(0),
            routes: HashMap::default(),
            chunks: HashMap::default(),
            current_at: None,
        }
    }

    fn apply(&mut self, item: &FeedItem) {
        let revision = match item {
            FeedItem::Loaded(snapshot) => snapshot.revision,
            FeedItem::Changed(batch) => batch.revision,
        };
        if revision < self.revision {
            return;
        }
        self.revision = revision;
        match item {
            FeedItem::Loaded(snapshot) => {
                self.routes.clear();
                self.chunks.clear();
                self.unreadable.clear();
                self.loaded = true;
                snapshot.entries.iter().for_each(|kv| self.put(&kv.key, &kv.value));
            }
            FeedItem::Changed(batch) => {
                // What moves from one chunk to another in one write is not lost on the way, whichever comes first.
                batch.events.iter().for_each(|event| self.forget(event.key()));
                batch.events.iter().for_each(|event| match event {
                    WatchEvent::Put(kv) => self.put(&kv.key, &kv.value),
                    WatchEvent::Delete { .. } => {}
                });
            }
        }
    }

    fn put(&mut self, key: &str, value: &[u8]) {
        let Some(Kind::Chunk(member, chunk)) = self.keys.kind(key) else { return };
        let record: ChunkRecord = match decode(key, value) {
            Ok(record) => record,
            Err(error) => {
                self.unreadable.insert((member, chunk), error);
                return;
            }
        };
        let mut tasks = Vec::with_capacity(record.tasks.len());
        for entry in record.tasks {
            tasks.push(entry.key.clone());
            let route = Route {
                member: member.clone(),
                incarnation: record.incarnation,
                token: entry.token,
                releasing: entry.releasing.is_some(),
            };
            self.routes.insert(entry.key, route);
        }
        self.chunks.insert((member, chunk), tasks);
    }

    /// Where a task is. A task that is nowhere may be in a record that cannot be read.
    fn route(&self, key: &str) -> Result<Option<Route>, NotReady> {
        if !self.loaded {
            return Err(NotReady::Loading);
        }
        let route = self.routes.get(key).cloned();
        let path = path_of(key);
        let obscured = self.unreadable.iter().find(|((_, chunk), _)| chunk.contains(path));
        match obscured.filter(|_| route.is_none()) {
            Some((_, error)) => Err(NotReady::Unreadable(error.clone())),
            None => Ok(route),
        }
    }

    /// Fails where there may be more than is known.
    fn whole(&self) -> Result<(), NotReady> {
        match self.unreadable.values().next() {
            _ if !self.loaded => Err(NotReady::Loading),
            Some(error) => Err(NotReady::Unreadable(error.clone())),
            None => Ok(()),
        }
    }

    /// Takes a chunk's tasks out.
    fn forget(&mut self, key: &str) {
        let Some(Kind::Chunk(member, chunk)) = self.keys.kind(key) else { return };
        self.unreadable.remove(&(member.clone(), chunk));
        for task in self.chunks.remove(&(member, chunk)).unwrap_or_default() {
            self.routes.remove(&task);
        }
    }
}

#[derive(Debug)]
struct Shared {
    view: watch::Receiver<View>,
    clock: Arc<dyn Clock>,
    /// Stops the router's task with the last handle.
    _guard: DropGuard,
}

/// A view of who holds what, kept up to date. Cloning it gives another handle of the same view.
///
/// ```
/// # use std::sync::Arc;
/// # use lrmf_core::{BootClock, GroupId, MemoryStore, Router};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> anyhow::Result<()> {
/// # let store = Arc::new(MemoryStore::new());
/// let router = Router::start(store, &GroupId::new("mirror", "orders", "default")?, Arc::new(BootClock));
/// router.ready().await;
/// match router.route("topic-1")? {
///     Some(route) => println!("{} holds it, token {}", route.member, route.token),
///     None => println!("nobody holds it"),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Router(Arc<Shared>);

impl Router {
    /// Begins to watch the assignments of a group. It goes on until the last handle is dropped, whatever happens to the
    /// store meanwhile.
    pub fn start(store: Arc<dyn Coordination>, group: &GroupId, clock: Arc<dyn Clock>) -> Self {
        let keys = Keys::new(group);
        let (view, receiver) = watch::channel(View::new(keys.clone()));
        let stop = CancellationToken::new();
        let watcher = Watcher { store, keys, clock: clock.clone(), view };
        // Owned by the handles: it ends when the last one's guard cancels `stop`.
        tokio::spawn(stop.clone().run_until_cancelled_owned(watcher.run()));
        Self(Arc::new(Shared { view: receiver, clock, _guard: stop.drop_guard() }))
    }

    /// Waits for the first read.
    pub async fn ready(&self) {
        let mut view = self.0.view.clone();
        // An error means that the runtime ends.
        drop(view.wait_for(|view| view.loaded).await);
    }

    /// Returns the holder of a task; `None` if it has none.
    ///
    /// # Errors
    /// When the assignments were not read yet, or cannot be read by this version.
    pub fn route(&self, key: &str) -> Result<Option<Route>, NotReady> {
        let view = self.0.view.borrow();
        view.route(key)
    }

    /// Waits until somebody holds a task and is not giving it back.
    pub async fn settled(&self, key: &str) -> Option<Route> {
        let mut view = self.0.view.clone();
        let settled = |view: &View| view.routes.get(key).is_some_and(|route| !route.releasing);
        let view = view.wait_for(settled).await.ok()?;
        view.routes.get(key).cloned()
    }

    /// All that is held, in key order.
    ///
    /// # Errors
    /// When the assignments were not read yet, or cannot be read by this version.
    pub fn routes(&self) -> Result<Vec<(Arc<str>, Route)>, NotReady> {
        let view = self.0.view.borrow();
        view.whole()?;
        let mut routes: Vec<_> =
            view.routes.iter().map(|(key, route)| (key.clone(), route.clone())).collect();
        routes.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Ok(routes)
    }

    /// The time since which the view was certainly that of the store; none before that was first seen. It stays about a second while
    /// the store answers, and grows while it does not.
    pub fn age(&self) -> Option<Duration> {
        let at = self.0.view.borrow().current_at?;
        Some(self.0.clock.now().since(at))
    }
}

struct Watcher {
    store: Arc<dyn Coordination>,
    keys: Keys,
    clock: Arc<dyn Clock>,
    view: watch::Sender<View>,
}

impl Watcher {
    async fn run(self) {
        let (inputs, mut items) = mpsc::channel(64);
        let feed = Feed {
            store: self.store.clone(),
            feed: FeedId::Record,
            epoch: 0,
            backoff: Backoff::seeded(Uuid::new_v4().as_u64_pair().0),
            prefix: self.keys.assignments(),
            inputs,
            seen: Some(Seen::default()),
            group: None,
        };
        // Ends with this future.
        let mut tasks = JoinSet::new();
        tasks.spawn(feed.run());
        let mut probe = tokio::time::interval(PROBE);
        loop {
            tokio::select! {
                Some(input) = items.recv() => match input {
                    Input::Feed { item, .. } => {
                        self.view.send_modify(|view| view.apply(&item));
                        if matches!(item, FeedItem::Loaded(_)) {
                            self.probe().await;
                        }
                    }
                    // Nothing of what was heard counts any more.
                    Input::StoreReset => drop(self.view.send_replace(View::new(self.keys.clone()))),
                    _ => {}
                },
                _ = probe.tick() => self.probe().await,
            }
        }
    }

    /// Reads the counter: where it was last written no later than what the view has, the view is current.
    async fn probe(&self) {
        let (sent, seen) = (self.clock.now(), self.view.borrow().revision);
        let Ok(snapshot) = self.store.list(&self.keys.generation()).await else { return };
        let written = snapshot.entries.first().map_or(Revision(0), |kv| kv.mod_revision);
        self.view.send_if_modified(|view| {
            // A store with a lower revision than the view has gone back, and the view is of its life before.
            if view.loaded && written <= view.revision && seen <= snapshot.revision {
                view.current_at = view.current_at.max(Some(sent));
            }
            false
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordination::{KeyValue, Snapshot, WatchBatch};
    use crate::ids::Generation;
    use crate::records::{Entry, encode};
    use crate::task::Task;

    fn keys() -> Keys {
        Keys::new(&GroupId::new("p", "b", "t").unwrap())
    }

    fn chunk(member: &str, tasks: &[(&str, u64)]) -> KeyValue {
        let mut record = ChunkRecord::empty(Incarnation(uuid::Uuid::nil()));
        for (key, token) in tasks {
            record.insert(Entry::held(&Task::new(*key, ""), Token(*token)));
        }
        record.generation = Generation(9);
        KeyValue {
            key: keys().chunk(&InstanceId::new(member).unwrap(), ChunkId::base(1)),
            value: encode(&record),
            create_revision: Revision(1),
            mod_revision: Revision(1),
            lease: None,
        }
    }

    fn holders(view: &View) -> Vec<(String, String)> {
        let mut all: Vec<_> =
            view.routes.iter().map(|(key, route)| (key.to_string(), route.member.to_string())).collect();
        all.sort();
        all
    }

    #[test]
    fn a_move_is_seen_whichever_half_comes_first() {
        for swapped in [false, true] {
            let mut view = View::new(keys());
            let entries = vec![chunk("a", &[("x", 1), ("y", 1)])];
            view.apply(&FeedItem::Loaded(Snapshot { revision: Revision(1), entries }));
            let mut events =
                vec![WatchEvent::Put(chunk("a", &[("y", 1)])), WatchEvent::Put(chunk("b", &[("x", 2)]))];
            if swapped {
                events.reverse();
            }
            let batch = WatchBatch { revision: Revision(2), events };
            view.apply(&FeedItem::Changed(batch));
            let expected = [("x".to_owned(), "b".to_owned()), ("y".to_owned(), "a".to_owned())];
            assert_eq!(holders(&view), expected);
        }
    }

    #[test]
    fn what_cannot_be_read_is_not_nobody() {
        let mut view = View::new(keys());
        assert_eq!(view.route("x"), Err(NotReady::Loading));
        let mut newer = chunk("a", &[("x", 1)]);
        newer.value =
            String::from_utf8(newer.value.to_vec()).unwrap().replace("\"format\":2", "\"format\":9").into();
        let snapshot = Snapshot { revision: Revision(1), entries: vec![newer] };
        view.apply(&FeedItem::Loaded(snapshot));
        let chunk_of_x = crate::keys::chunk_of("x");
        let key = |member: &str, chunk| keys().chunk(&InstanceId::new(member).unwrap(), chunk);
        let mut of_x = chunk("b", &[("y", 1)]);
        (of_x.key, of_x.value) = (key("b", chunk_of_x), "garbage".into());
        let mut batch = WatchBatch { revision: Revision(2), events: vec![WatchEvent::Put(of_x)] };
        assert!(matches!(view.whole(), Err(NotReady::Unreadable(RecordError::Newer { found: 9, .. }))));
        view.apply(&FeedItem::Changed(batch.clone()));
        assert!(matches!(view.route("x"), Err(NotReady::Unreadable(RecordError::Malformed { .. }))));
        // Gone, both of them: nothing is unknown any more.
        batch.revision = Revision(3);
        batch.events =
            [key("b", chunk_of_x), key("a", ChunkId::base(1))].map(|key| WatchEvent::Delete { key }).into();
        view.apply(&FeedItem::Changed(batch));
        assert_eq!((view.route("x"), view.whole()), (Ok(None), Ok(())));
    }
}
