//! The changes of a group, as they happen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::StreamExt;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use crate::coordination::WatchBatch;
use crate::driver::Feed;
use crate::ids::{Generation, GroupId, Incarnation, InstanceId, Token};
use crate::keys::{ChunkId, Kind};
use crate::protocol::backoff::Backoff;
use crate::protocol::{FeedId, FeedItem, Input};
use crate::records::{Cause, MemberRecord};

use super::view::{MemberPhase, TaskPhase};
use super::{Admin, AdminError, GroupState};

/// Something that changed in a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Change {
    /// Another member leads, or none.
    Leader {
        /// The member.
        member: Option<InstanceId>,
    },
    /// A member came, went, or changed its state.
    Member {
        /// The member.
        member: InstanceId,
        /// Its state now; `gone` where its session ended.
        state: MemberPhase,
        /// Its session.
        incarnation: Option<Incarnation>,
    },
    /// A task changed hands, or its state.
    Task {
        /// The task's key.
        key: Arc<str>,
        /// The member that has it now; none where it left all records.
        member: Option<InstanceId>,
        /// The member that had it before.
        from: Option<InstanceId>,
        /// The token of the holding.
        token: Option<Token>,
        /// The member that it is on its way to.
        state: Option<TaskPhase>,
        /// The generation that asked for it back.
        releasing_since: Option<Generation>,
        /// Why it came to its holder.
        cause: Option<Cause>,
    },
    /// An operator asked for something, or took it back.
    Control {
        /// For what: `freeze`, `drain`, `pin`, `force-release`, `evict` or `trigger`.
        control: &'static str,
        /// About which member or task.
        about: Option<String>,
        /// True where it is wanted now.
        wanted: bool,
    },
}

/// The parts of a task that are compared.
#[derive(PartialEq, Eq)]
struct Seen {
    holder: InstanceId,
    token: Token,
    state: TaskPhase,
    releasing_since: Option<Generation>,
    cause: Cause,
}

/// The parts of a group that are compared: all of it but for tasks, of which only those that may have changed.
struct Sketch {
    leader: Option<InstanceId>,
    sessions: BTreeMap<InstanceId, (Incarnation, MemberPhase)>,
    /// The wishes of operators, with what tells two of one name apart.
    wanted: BTreeMap<(&'static str, Option<String>), String>,
    tasks: BTreeMap<Arc<str>, Seen>,
}

impl GroupState {
    /// Takes in what a feed delivered, and says what that changed.
    pub(super) fn follow(&mut self, item: &FeedItem, group: &GroupId) -> Vec<Change> {
        match item {
            FeedItem::Loaded(snapshot) => {
                let before = self.sketch(self.places().map(|place| place.entry.key.clone()));
                *self = Self::new(group, snapshot);
                before.compared(self.sketch(self.places().map(|place| place.entry.key.clone())))
            }
            FeedItem::Changed(batch) => {
                let before = self.sketch(self.touched(batch));
                self.apply(batch);
                let mut changes = before.compared(self.sketch(self.touched(batch)));
                let asked =
                    batch.events.iter().any(|event| self.keys.kind(event.key()) == Some(Kind::Trigger));
                changes.extend(asked.then_some(Change::Control {
                    control: "trigger",
                    about: None,
                    wanted: true,
                }));
                changes
            }
        }
    }

    /// The tasks of which a write may change what is said. A member's state and acknowledgement decide what is said of
    /// all its tasks.
    fn touched(&self, batch: &WatchBatch) -> Vec<Arc<str>> {
        let of_key = |key: &str| match self.keys.kind(key) {
            Some(Kind::Chunk(member, chunk)) => self.tasks_at(&member, chunk..=chunk).collect(),
            Some(
                Kind::Session(member) | Kind::Ack(member) | Kind::Successor(member) | Kind::Contact(member),
            ) => self.tasks_at(&member, ChunkId::FIRST..=ChunkId::LAST).collect(),
            _ => Vec::new(),
        };
        batch.events.iter().flat_map(|event| of_key(event.key())).collect()
    }

    fn sketch(&self, tasks: impl IntoIterator<Item = Arc<str>>) -> Sketch {
        let session = |(member, session): (&InstanceId, &MemberRecord)| {
            (member.clone(), (session.incarnation, session.state.into()))
        };
        Sketch {
            leader: self.leader.as_ref().map(|leader| leader.instance.clone()),
            sessions: self.sessions.iter().map(session).collect(),
            wanted: self.wanted(),
            tasks: tasks.into_iter().filter_map(|key| Some((key.clone(), self.seen(&key)?))).collect(),
        }
    }

    fn seen(&self, key: &str) -> Option<Seen> {
        let place = self.place(key)?;
        let entry = place.entry;
        Some(Seen {
            holder: place.holder.clone(),
            token: entry.token,
            state: self.phase(place),
            releasing_since: entry.releasing,
            cause: entry.cause,
        })
    }

    fn wanted(&self) -> BTreeMap<(&'static str, Option<String>), String> {
        let mut all = BTreeMap::new();
        let mut want = |control, about: Option<String>, what: String| all.insert((control, about), what);
        self.freeze.iter().for_each(|_| drop(want("freeze", None, String::new())));
        for member in self.drains.keys() {
            want("drain", Some(member.to_string()), String::new());
        }
        for (task, pin) in &self.pins {
            want("pin", Some(task.to_string()), pin.member.to_string());
        }
        for (task, release) in &self.releases {
            want("force-release", Some(task.to_string()), release.token.to_string());
        }
        for (member, eviction) in &self.evictions {
            want("evict", Some(member.to_string()), eviction.incarnation.to_string());
        }
        all
    }
}

impl Sketch {
    fn compared(mut self, mut after: Self) -> Vec<Change> {
        let mut changes = Vec::new();
        if self.leader != after.leader {
            changes.push(Change::Leader { member: after.leader });
        }
        for member in self.sessions.keys().chain(after.sessions.keys()).collect::<BTreeSet<_>>() {
            let (before, now) = (self.sessions.get(member), after.sessions.get(member));
            if before != now {
                let state = now.map_or(MemberPhase::Gone, |(_, state)| *state);
                let incarnation = now.or(before).map(|(incarnation, _)| *incarnation);
                changes.push(Change::Member { member: member.clone(), state, incarnation });
            }
        }
        let tasks: BTreeSet<_> = self.tasks.keys().chain(after.tasks.keys()).cloned().collect();
        for key in tasks {
            let (before, now) = (self.tasks.remove(&key), after.tasks.remove(&key));
            if before != now {
                changes.push(Change::task(key, before, now));
            }
        }
        for at in self.wanted.keys().chain(after.wanted.keys()).collect::<BTreeSet<_>>() {
            if self.wanted.get(at) != after.wanted.get(at) {
                let (wanted, (control, about)) = (after.wanted.contains_key(at), at.clone());
                changes.push(Change::Control { control, about, wanted });
            }
        }
        changes
    }
}

impl Change {
    fn task(key: Arc<str>, before: Option<Seen>, now: Option<Seen>) -> Self {
        let holder = now.as_ref().map(|now| &now.holder);
        Self::Task {
            key,
            from: before.map(|before| before.holder).filter(|from| Some(from) != holder),
            token: now.as_ref().map(|now| now.token),
            state: now.as_ref().map(|now| now.state),
            releasing_since: now.as_ref().and_then(|now| now.releasing_since),
            cause: now.as_ref().map(|now| now.cause),
            member: now.map(|now| now.holder),
        }
    }
}

impl Admin {
    /// The group as it is now, and what happens from then on: nothing is missed, and after an outage of the store what
    /// changed meanwhile is said in one go. Ends when the stream is dropped.
    ///
    /// # Errors
    /// A group that does not exist, and what the store says.
    pub async fn watch(
        &self,
    ) -> Result<(GroupState, impl futures::Stream<Item = Vec<Change>> + Unpin + use<>), AdminError> {
        let mut state = self.read().await?;
        let (inputs, mut items) = mpsc::channel(64);
        let prefix = self.keys.root().to_owned();
        let backoff = Backoff::seeded(Uuid::new_v4().as_u64_pair().0);
        let feed = Feed {
            store: self.store.clone(),
            feed: FeedId::Group,
            epoch: 0,
            prefix,
            inputs,
            backoff,
            seen: None,
            group: None,
        };
        // Ends with the stream that owns it.
        let task = AbortOnDropHandle::new(tokio::spawn(feed.run()));
        // Requests that come and go are in no state that could be compared: what is said begins where the watch does.
        if let Some(Input::Feed { item, .. }) = items.recv().await {
            drop(state.follow(&item, &self.group));
        }
        let begin = (state.clone(), items, self.group.clone(), task);
        let changes = futures::stream::unfold(begin, |(mut state, mut items, group, task)| async move {
            let item = loop {
                if let Input::Feed { item, .. } = items.recv().await? {
                    break item;
                }
            };
            let changes = state.follow(&item, &group);
            Some((changes, (state, items, group, task)))
        });
        Ok((state, changes.filter(|changes| std::future::ready(!changes.is_empty())).boxed()))
    }
}
