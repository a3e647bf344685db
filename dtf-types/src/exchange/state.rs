//! The state of an exchange, and what each event does to it. There is no clock here and nothing waits.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use dtf_model::TaskId;
use dtf_model::key::ShardKey;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use uuid::Uuid;

use super::sticky;
use super::told::{Given, News, Note, Report, RunningItem, SessionView, WorkerInfo};
use super::{
    ExchangeError, Item, ItemOutcome, LEASE, MAX_ANSWER_BYTES, MAX_LOSSES, MAX_SESSIONS, Ticket, UNNAMED,
};

struct Entry {
    item: Item,
    answer: oneshot::Sender<ItemOutcome>,
    /// The number of workers that it was lost with.
    losses: u32,
    /// The session that has it, and the time since which; none while it waits.
    at: Option<(Uuid, Instant)>,
    /// What its worker said of it last.
    note: Note,
    /// True once it is not wanted any more: its worker has been told, and may still come to an end with it.
    cancelled: bool,
}

struct Session {
    worker: WorkerInfo,
    functions: Vec<Arc<str>>,
    /// The end of its lease; none in a session of the process itself.
    end: Option<Instant>,
    running: HashSet<Ticket>,
    /// The waiting items whose keys are this worker's, in order.
    own: VecDeque<Ticket>,
    dropped: BTreeSet<Ticket>,
    drained: bool,
    /// True once the worker has been told to leave by an answer.
    told_to_leave: bool,
    /// True while a poll of it waits.
    waits: bool,
    polls: Arc<Notify>,
    beats: Arc<Notify>,
}

impl Session {
    /// Returns true if it may be given items of a function.
    fn takes(&self, function: &Arc<str>) -> bool {
        !self.drained && self.functions.binary_search(function).is_ok()
    }
}

/// The end of a queue.
#[derive(Clone, Copy)]
enum End {
    Back,
    Front,
}

/// Returns the key by which a worker is chosen for an item. One that has failed or was lost goes to whoever is first: perhaps the worker
/// was the reason.
fn sticky_key(entry: &Entry) -> Option<ShardKey> {
    entry.item.key.filter(|_| entry.item.attempt == 0 && entry.losses == 0)
}

/// What waits, what runs where, and who is there.
#[derive(Default)]
pub(super) struct State {
    items: HashMap<Ticket, Entry>,
    /// The waiting items of each function, in order. Those that were withdrawn are passed over.
    queues: HashMap<Arc<str>, VecDeque<Ticket>>,
    /// The sessions whose polls wait for each function, those that wait longest first.
    waiting: HashMap<Arc<str>, VecDeque<Uuid>>,
    sessions: HashMap<Uuid, Session>,
}

impl State {
    pub(super) fn offer(&mut self, ticket: Ticket, item: Item, answer: oneshot::Sender<ItemOutcome>) {
        self.items.insert(
            ticket,
            Entry { item, answer, losses: 0, at: None, note: Note::default(), cancelled: false },
        );
        self.place(ticket, End::Back);
    }

    /// Has an item wait: for the worker that its key belongs to, or for whoever is first.
    fn place(&mut self, ticket: Ticket, end: End) {
        let Some(entry) = self.items.get(&ticket) else { return };
        let function = entry.item.function.clone();
        let put = |queue: &mut VecDeque<Ticket>| match end {
            End::Back => queue.push_back(ticket),
            End::Front => queue.push_front(ticket),
        };
        let owner = sticky_key(entry).and_then(|key| {
            let able = self.sessions.iter().filter(|(_, session)| session.takes(&function));
            sticky::owner(key, able.map(|(id, session)| (*id, session.worker.name.as_str())))
        });
        match owner.and_then(|owner| self.sessions.get_mut(&owner)) {
            Some(session) => {
                put(&mut session.own);
                session.waits = false;
                session.polls.notify_one();
            }
            None => {
                put(self.queues.entry(function.clone()).or_default());
                self.wake_one(&function);
            }
        }
    }

    /// Workers have come or gone: the waiting items that have keys may belong to others now.
    fn place_keyed_anew(&mut self, functions: &[Arc<str>]) {
        let items = &self.items;
        let is_keyed = |ticket: &Ticket| items.get(ticket).is_some_and(|entry| sticky_key(entry).is_some());
        let mut moved = Vec::new();
        for function in functions {
            if let Some(queue) = self.queues.get_mut(function) {
                moved.extend(queue.iter().copied().filter(is_keyed));
                queue.retain(|ticket| !is_keyed(ticket));
            }
        }
        let affected = |session: &&mut Session| session.functions.iter().any(|name| functions.contains(name));
        for session in self.sessions.values_mut().filter(affected) {
            moved.extend(session.own.drain(..).filter(is_keyed));
        }
        // In the order in which their subtasks were given out, as they were in one queue.
        moved.sort_by_key(|ticket| items.get(ticket).map(|entry| entry.item.subtask));
        moved.into_iter().for_each(|ticket| self.place(ticket, End::Back));
    }

    /// Wakes a poll that waits for a function, if any does.
    fn wake_one(&mut self, function: &Arc<str>) {
        let Some(waiting) = self.waiting.get_mut(function) else { return };
        while let Some(session) = waiting.pop_front() {
            if let Some(session) = self.sessions.get_mut(&session).filter(|session| session.waits) {
                session.waits = false;
                session.polls.notify_one();
                return;
            }
        }
    }

    /// The executor waits no more.
    pub(super) fn withdraw(&mut self, ticket: Ticket) {
        let Some(entry) = self.items.remove(&ticket) else { return };
        if let Some((session, _)) = entry.at {
            self.drop_at(session, ticket);
        }
    }

    fn drop_at(&mut self, session: Uuid, ticket: Ticket) {
        let Some(session) = self.sessions.get_mut(&session) else { return };
        if session.running.remove(&ticket) {
            session.dropped.insert(ticket);
            session.polls.notify_one();
            session.beats.notify_one();
        }
    }

    /// The item is not wanted any more: a worker that has it is told, and may still come to an end.
    pub(super) fn cancel(&mut self, ticket: Ticket) {
        let held = self.items.get_mut(&ticket).map(|entry| {
            entry.cancelled = true;
            entry.at
        });
        match held {
            Some(None) => self.end(ticket, ItemOutcome::Cancelled),
            Some(Some((session, _))) => {
                if let Some(session) = self.sessions.get_mut(&session) {
                    session.dropped.insert(ticket);
                    session.polls.notify_one();
                    session.beats.notify_one();
                }
            }
            None => {}
        }
    }

    fn end(&mut self, ticket: Ticket, outcome: ItemOutcome) {
        if let Some(entry) = self.items.remove(&ticket) {
            // Where nobody waits for it, it was withdrawn at the same moment.
            drop(entry.answer.send(outcome));
        }
    }

    pub(super) fn begin(
        &mut self,
        worker: WorkerInfo,
        functions: &[String],
        now: Instant,
    ) -> Result<Uuid, ExchangeError> {
        if self.sessions.len() >= MAX_SESSIONS {
            return Err(ExchangeError::Full);
        }
        let functions: BTreeSet<Arc<str>> = functions.iter().map(|name| Arc::from(name.as_str())).collect();
        Ok(self.add(worker, functions.into_iter().collect(), Some(now + LEASE)))
    }

    /// Begins a session of the process itself, for one function.
    pub(super) fn begin_local(&mut self, function: &str) -> Uuid {
        let worker = WorkerInfo { name: "this process".to_owned(), ..WorkerInfo::default() };
        self.add(worker, vec![function.into()], None)
    }

    fn add(&mut self, worker: WorkerInfo, functions: Vec<Arc<str>>, end: Option<Instant>) -> Uuid {
        let id = Uuid::new_v4();
        let session = Session {
            worker,
            functions,
            end,
            running: HashSet::new(),
            own: VecDeque::new(),
            dropped: BTreeSet::new(),
            drained: false,
            told_to_leave: false,
            waits: false,
            polls: Arc::default(),
            beats: Arc::default(),
        };
        let functions = session.functions.clone();
        self.sessions.insert(id, session);
        self.place_keyed_anew(&functions);
        id
    }

    fn renewed(&mut self, session: Uuid, now: Instant) -> Result<&mut Session, ExchangeError> {
        let session = self.sessions.get_mut(&session).ok_or(ExchangeError::NoSession)?;
        session.end = session.end.map(|_| now + LEASE);
        Ok(session)
    }

    /// Gives items to a session, in turn from the queues of its functions.
    pub(super) fn give(&mut self, id: Uuid, most: usize, now: Instant) -> Result<Vec<Given>, ExchangeError> {
        let session = self.renewed(id, now)?;
        session.waits = false;
        let functions = if session.drained { Vec::new() } else { session.functions.clone() };
        let (mut given, mut bytes) = (Vec::new(), 0);
        let items = &mut self.items;
        let mut take = |queue: &mut VecDeque<Ticket>| {
            while given.len() < most && bytes < MAX_ANSWER_BYTES {
                let Some(ticket) = queue.pop_front() else { break };
                let Some(entry) = items.get_mut(&ticket).filter(|entry| entry.at.is_none()) else {
                    continue;
                };
                entry.at = Some((id, now));
                bytes += entry.item.body.len();
                given.push(Given { ticket, item: entry.item.clone() });
            }
        };
        if let Some(session) = self.sessions.get_mut(&id) {
            take(&mut session.own);
        }
        for function in &functions {
            let Some(queue) = self.queues.get_mut(function) else { continue };
            take(queue);
            if queue.is_empty() {
                self.queues.remove(function);
            }
        }
        if let Some(session) = self.sessions.get_mut(&id) {
            session.running.extend(given.iter().map(|given| given.ticket));
        }
        Ok(given)
    }

    /// Returns true if there are items for a session.
    pub(super) fn has_items(&self, id: Uuid) -> Result<bool, ExchangeError> {
        let session = self.sessions.get(&id).ok_or(ExchangeError::NoSession)?;
        let waits = |function: &Arc<str>| self.queues.get(function).is_some_and(|queue| !queue.is_empty());
        Ok(!session.own.is_empty() || session.functions.iter().any(waits))
    }

    /// Has a poll wait for an item or for news, and returns what wakes it.
    pub(super) fn wait(&mut self, id: Uuid) -> Result<Arc<Notify>, ExchangeError> {
        let session = self.sessions.get_mut(&id).ok_or(ExchangeError::NoSession)?;
        session.waits = true;
        for function in &session.functions {
            let waiting = self.waiting.entry(function.clone()).or_default();
            if !waiting.contains(&id) {
                waiting.push_back(id);
            }
        }
        Ok(session.polls.clone())
    }

    /// A poll has ended. What is left, perhaps what it was woken for, is for the next one.
    pub(super) fn stop_waiting(&mut self, id: Uuid) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.waits = false;
        let functions = session.functions.clone();
        for function in functions {
            if let Some(waiting) = self.waiting.get_mut(&function) {
                waiting.retain(|waiting| *waiting != id);
                if waiting.is_empty() {
                    self.waiting.remove(&function);
                }
            }
            if self.queues.contains_key(&function) {
                self.wake_one(&function);
            }
        }
    }

    /// Takes the news of a session.
    pub(super) fn news(&mut self, id: Uuid) -> News {
        let Some(session) = self.sessions.get_mut(&id) else { return News::default() };
        let drain = session.drained && !session.told_to_leave;
        session.told_to_leave |= drain;
        News { dropped: std::mem::take(&mut session.dropped).into_iter().collect(), drain }
    }

    pub(super) fn news_of(&mut self, id: Uuid, now: Instant) -> Result<News, ExchangeError> {
        self.renewed(id, now)?;
        Ok(self.news(id))
    }

    pub(super) fn report(
        &mut self,
        id: Uuid,
        reports: Vec<Report>,
        now: Instant,
    ) -> Result<Vec<Report>, ExchangeError> {
        let is_known = self.renewed(id, now).is_ok();
        let (mut unknown, mut refused) = (Vec::new(), false);
        for report in reports {
            let ticket = report.ticket;
            let Some(entry) = self.items.get(&ticket) else {
                unknown.push(report);
                continue;
            };
            let holder = entry.at.map(|(session, _)| session);
            let is_success = matches!(report.outcome, ItemOutcome::Succeeded(_));
            let is_holders = is_known && holder == Some(id);
            if !is_success && !is_holders {
                refused |= !is_known;
                unknown.push(report);
                continue;
            }
            match holder {
                Some(holder) if holder != id => self.drop_at(holder, ticket),
                Some(_) => drop(self.sessions.get_mut(&id).map(|session| session.running.remove(&ticket))),
                None => {}
            }
            self.end(ticket, report.outcome);
        }
        if refused { Err(ExchangeError::NoSession) } else { Ok(unknown) }
    }

    /// The worker has just these items: others that it was given a while ago have not reached it, or are lost. Returns what wakes its beat,
    /// and whether it still has one that was cancelled, so that it should say soon what became of it.
    pub(super) fn beat(
        &mut self,
        id: Uuid,
        running: &[Ticket],
        now: Instant,
    ) -> Result<(Arc<Notify>, bool), ExchangeError> {
        let session = self.renewed(id, now)?;
        let beats = session.beats.clone();
        let has: HashSet<_> = running.iter().collect();
        let unnamed: Vec<_> =
            session.running.iter().filter(|ticket| !has.contains(ticket)).copied().collect();
        // What the worker runs and nobody waits for.
        let unwanted: Vec<_> =
            running.iter().filter(|ticket| !session.running.contains(ticket)).copied().collect();
        session.dropped.extend(unwanted);
        for ticket in unnamed {
            // One that was cancelled has been stopped, where the worker had it at all.
            let is_lost = |entry: &Entry| {
                entry.cancelled || entry.at.is_some_and(|(_, since)| now.duration_since(since) >= UNNAMED)
            };
            if self.items.get(&ticket).is_some_and(is_lost) {
                if let Some(session) = self.sessions.get_mut(&id) {
                    session.running.remove(&ticket);
                }
                self.offer_again(ticket, false);
            }
        }
        let hurries =
            running.iter().any(|ticket| self.items.get(ticket).is_some_and(|entry| entry.cancelled));
        Ok((beats, hurries))
    }

    /// Notes what a worker says of an item that it has. What it says of others is passed over.
    pub(super) fn note(&mut self, id: Uuid, ticket: Ticket, note: Note) {
        let entry = self.items.get_mut(&ticket);
        if let Some(entry) = entry.filter(|entry| entry.at.is_some_and(|(session, _)| session == id)) {
            entry.note = note;
        }
    }

    /// Returns the items that workers have, of a task or of all, those that run longest first, at most so many.
    pub(super) fn running(&self, task: Option<TaskId>, most: usize, now: Instant) -> Vec<RunningItem> {
        let wanted = |entry: &&Entry| task.is_none_or(|task| entry.item.subtask.task == task);
        let held = self.items.values().filter(wanted).filter_map(|entry| Some((entry, entry.at?)));
        let mut held: Vec<_> = held.collect();
        held.sort_by_key(|(entry, (_, since))| (*since, entry.item.subtask));
        let view = |(entry, (session, since)): (&Entry, (Uuid, Instant))| RunningItem {
            subtask: entry.item.subtask,
            function: entry.item.function.clone(),
            attempt: entry.item.attempt,
            worker: self
                .sessions
                .get(&session)
                .map(|session| session.worker.name.clone())
                .unwrap_or_default(),
            running: now.saturating_duration_since(since),
            note: entry.note.clone(),
        };
        held.into_iter().take(most).map(view).collect()
    }

    fn offer_again(&mut self, ticket: Ticket, with_loss: bool) {
        let Some(entry) = self.items.get_mut(&ticket) else { return };
        if entry.cancelled {
            return self.end(ticket, ItemOutcome::Cancelled);
        }
        (entry.at, entry.note) = (None, Note::default());
        entry.losses += u32::from(with_loss);
        if entry.losses >= MAX_LOSSES {
            return self.end(ticket, ItemOutcome::Lost);
        }
        self.place(ticket, End::Front);
    }

    pub(super) fn leave(&mut self, id: Uuid) {
        self.remove(id, false);
    }

    fn remove(&mut self, id: Uuid, with_loss: bool) -> Option<String> {
        let session = self.sessions.remove(&id)?;
        for function in &session.functions {
            if let Some(waiting) = self.waiting.get_mut(function) {
                waiting.retain(|waiting| *waiting != id);
            }
        }
        // Its calls that wait find that it has gone.
        session.polls.notify_one();
        session.beats.notify_one();
        session.running.into_iter().for_each(|ticket| self.offer_again(ticket, with_loss));
        session.own.into_iter().for_each(|ticket| self.place(ticket, End::Back));
        Some(session.worker.name)
    }

    /// Ends the sessions whose leases are over, and returns the names of their workers.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<String> {
        let over = self.sessions.iter().filter(|(_, session)| session.end.is_some_and(|end| end <= now));
        let over: Vec<_> = over.map(|(id, _)| *id).collect();
        over.into_iter().filter_map(|id| self.remove(id, true)).collect()
    }

    /// Returns the time at which the first lease ends.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.sessions.values().filter_map(|session| session.end).min()
    }

    pub(super) fn drain(&mut self, worker: &str) -> bool {
        let named = self.sessions.values_mut().filter(|session| session.worker.name == worker);
        let mut functions = BTreeSet::new();
        for session in named {
            session.drained = true;
            session.polls.notify_one();
            session.beats.notify_one();
            functions.extend(session.functions.iter().cloned());
        }
        self.place_keyed_anew(&functions.iter().cloned().collect::<Vec<_>>());
        !functions.is_empty()
    }

    /// Returns the functions that some worker has, sorted.
    pub(super) fn functions(&self) -> Arc<[Arc<str>]> {
        let of_all = self.sessions.values().filter(|session| !session.drained && session.end.is_some());
        let sorted: BTreeSet<_> = of_all.flat_map(|session| session.functions.iter().cloned()).collect();
        sorted.into_iter().collect()
    }

    pub(super) fn views(&self, now: Instant) -> Vec<SessionView> {
        let view = |(id, session): (&Uuid, &Session)| {
            let left = session.end?.saturating_duration_since(now);
            Some(SessionView {
                session: *id,
                worker: session.worker.clone(),
                functions: session.functions.clone(),
                running: session.running.len(),
                lease_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
                drained: session.drained,
            })
        };
        let mut views: Vec<_> = self.sessions.iter().filter_map(view).collect();
        views.sort_by(|one, other| (&one.worker.name, one.session).cmp(&(&other.worker.name, other.session)));
        views
    }
}
