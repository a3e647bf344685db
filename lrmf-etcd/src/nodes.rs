//! The nodes of etcd, each with a connection of its own, and the choice between them.
//!
//! # The problem
//! A node that is dead refuses connections, and the next one is asked. A node that hangs says nothing, and so does a
//! connection that leads nowhere; whoever waits for it loses its session although the other nodes are well. No wait may
//! be felt, no write may be made twice, and a cluster that is merely slow must not be asked twice as much.
//!
//! # How a call is made
//! All calls go to one node, the one in use, until that fails.
//! - A call that may be repeated ([`Nodes::ask`]) goes to a second node as soon as the first one fails, or has said
//!   nothing, to anybody, for [`patience`](Nodes::patience). The first answer counts.
//! - One that may not ([`Nodes::ask_once`]) goes to a second node only if it was certainly not sent. It goes to a node
//!   that has answered within the last second; otherwise the nodes are asked for a sign of life first. While it waits for
//!   longer than the patience, its node is asked whether it hangs.
//! - A node hangs if it says nothing to a call for the length of the patience while another node answers the same. It is
//!   avoided for a while, and everything that waits for it, watches included, ends at once with an error.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use etcd_client::{Client, GetOptions};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use lrmf_core::{CoordinationError, session_runtime};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::config::EtcdConfig;
use crate::error::{is_not_permitted, store_error};

/// The time for which a node that failed is asked last.
const AVOIDED: Duration = Duration::from_secs(10);
/// The age of a node's last answer up to which a call that may not be repeated goes to it without a look.
const FRESH: Duration = Duration::from_secs(1);
/// The least time that a write or a keep-alive may take, however short the sessions are.
const LEAST_LIMIT: Duration = Duration::from_millis(500);

/// One node, and what is known of it.
#[derive(Debug)]
pub(crate) struct Node {
    endpoint: String,
    known: Mutex<Known>,
    /// Changes when the node is found to hang, or is no longer to be used.
    given_up: watch::Sender<u64>,
}

#[derive(Default)]
struct Known {
    client: Option<Client>,
    /// The time of its last answer.
    heard: Option<Instant>,
    avoided_until: Option<Instant>,
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Known").field("heard", &self.heard).finish_non_exhaustive()
    }
}

impl Node {
    fn new(endpoint: &str) -> Self {
        let (given_up, _) = watch::channel(0);
        Self { endpoint: endpoint.to_owned(), known: Mutex::default(), given_up }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes an answer.
    pub(crate) fn answered(&self) {
        let mut known = self.known();
        known.heard = Some(Instant::now());
        known.avoided_until = None;
    }

    /// Returns true where the node has said nothing since then.
    pub(crate) fn is_silent_since(&self, sent: Instant) -> bool {
        self.known().heard.is_none_or(|heard| heard < sent)
    }

    /// Resolves when the node is given up.
    pub(crate) fn given_up(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut given_up = self.given_up.subscribe();
        async move { drop(given_up.changed().await) }
    }

    fn avoid(&self) {
        self.known().avoided_until = Some(Instant::now() + AVOIDED);
    }

    fn is_avoided(&self) -> bool {
        self.known().avoided_until.is_some_and(|until| Instant::now() < until)
    }

    fn give_up(&self, why: &str) {
        tracing::warn!(endpoint = self.endpoint, why, "a node of etcd is given up");
        self.avoid();
        self.given_up.send_modify(|count| *count += 1);
    }
}

/// The nodes of one configuration.
#[derive(Debug)]
struct Ring {
    config: EtcdConfig,
    nodes: Vec<Arc<Node>>,
    in_use: AtomicUsize,
}

impl Ring {
    fn new(config: EtcdConfig) -> Self {
        let nodes: Vec<_> = config.endpoints.iter().map(|endpoint| Arc::new(Node::new(endpoint))).collect();
        // Not all processes begin with the same one.
        let first = uuid::Uuid::new_v4().as_u64_pair().0 % nodes.len().max(1) as u64;
        Self { config, nodes, in_use: AtomicUsize::new(usize::try_from(first).unwrap_or(0)) }
    }

    fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The order in which the nodes are asked: from the one in use on, and those that are avoided last.
    fn order(&self) -> Vec<usize> {
        let first = self.in_use.load(Ordering::Relaxed);
        let mut order: Vec<usize> = (first..first + self.len()).map(|ix| ix % self.len()).collect();
        order.sort_by_key(|ix| self.nodes[*ix].is_avoided());
        order
    }

    /// The client of a node. Its connection is made, and lives, on the runtime of the sessions.
    async fn client(&self, ix: usize) -> Result<Client, CoordinationError> {
        let node = self.nodes[ix].clone();
        if let Some(client) = node.known().client.clone() {
            return Ok(client);
        }
        let options = self.config.options();
        let endpoint = node.endpoint.clone();
        let connecting = async move { Client::connect([endpoint], Some(options)).await };
        let runtime = session_runtime().map_err(CoordinationError::Unreachable)?;
        let connected = tokio_util::task::AbortOnDropHandle::new(runtime.spawn(connecting)).await;
        let client = connected
            .map_err(|_| CoordinationError::Unreachable("the runtime of the sessions has ended".to_owned()))?
            .map_err(|error| store_error(&error))?;
        Ok(node.known().client.get_or_insert(client).clone())
    }

    async fn attempt<T, F>(
        &self,
        ix: usize,
        call: &(impl Fn(Client) -> F + Sync),
    ) -> Result<T, CoordinationError>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let client = self.client(ix).await?;
        call(client).await.map_err(|error| store_error(&error))
    }

    /// Asks one node whether it is there.
    async fn probe(&self, ix: usize) -> Result<(), CoordinationError> {
        let probe = probe_key(&self.config);
        self.attempt(ix, &|client| look(client, probe.clone())).await
    }

    fn use_node(&self, ix: usize) {
        self.in_use.store(ix, Ordering::Relaxed);
    }
}

/// A key below the prefix that members need to be permitted.
pub(crate) fn probe_key(config: &EtcdConfig) -> String {
    format!("{}/lrmf/", config.root)
}

/// Sees whether etcd answers. Not being permitted to read is an answer too.
async fn look(client: Client, key: String) -> Result<(), etcd_client::Error> {
    match client.kv_client().get(key, Some(GetOptions::new().with_count_only())).await {
        Err(error) if is_not_permitted(&error) => Ok(()),
        answer => answer.map(|_| ()),
    }
}

/// The answer to a call, and the node that gave it.
#[derive(Debug)]
pub(crate) struct Answer<T> {
    pub(crate) value: T,
    pub(crate) node: Arc<Node>,
}

/// The nodes, and the time that calls may take.
#[derive(Debug)]
pub(crate) struct Nodes {
    ring: RwLock<Arc<Ring>>,
    /// In milliseconds; the highest number before there was a lease.
    shortest_ttl: AtomicU64,
}

impl Nodes {
    pub(crate) fn new(config: EtcdConfig) -> Self {
        Self { ring: RwLock::new(Arc::new(Ring::new(config))), shortest_ttl: AtomicU64::new(u64::MAX) }
    }

    fn ring(&self) -> Arc<Ring> {
        self.ring.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Goes over to another configuration, once a node has answered under it. Everything that goes on over the
    /// connections before ends with an error and is begun anew.
    pub(crate) async fn reconnect(&self, config: EtcdConfig) -> Result<(), CoordinationError> {
        let next = Arc::new(Ring::new(config));
        let probe = probe_key(&next.config);
        self.ask_in(&next, next.config.request_timeout, "a first read", |client| look(client, probe.clone()))
            .await?;
        let before = std::mem::replace(&mut *self.ring.write().unwrap_or_else(PoisonError::into_inner), next);
        before.nodes.iter().for_each(|node| node.give_up("other credentials or nodes"));
        Ok(())
    }

    /// Reads something, to see that etcd answers and knows us.
    pub(crate) async fn probe(&self) -> Result<(), CoordinationError> {
        let probe = probe_key(&self.ring().config);
        self.ask("a first read", |client| look(client, probe.clone())).await.map(|_| ())
    }

    /// A client of the node in use.
    pub(crate) async fn client(&self) -> Result<Client, CoordinationError> {
        self.ask("connecting", |client| async move { Ok(client) }).await.map(|answer| answer.value)
    }

    pub(crate) fn note_ttl(&self, ttl: Duration) {
        let millis = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        self.shortest_ttl.fetch_min(millis, Ordering::Relaxed);
    }

    /// The time that a read may take.
    pub(crate) fn read_limit(&self) -> Duration {
        self.ring().config.request_timeout
    }

    /// The time that a write or a keep-alive may take: a third of the shortest session, so that there is time for another
    /// one.
    pub(crate) fn limit(&self) -> Duration {
        let third = Duration::from_millis(self.shortest_ttl.load(Ordering::Relaxed)) / 3;
        self.read_limit().min(third.max(LEAST_LIMIT))
    }

    /// The time for which a node may be silent before another one is asked; none where there is no other one.
    pub(crate) fn patience(&self, limit: Duration) -> Option<Duration> {
        let few = Duration::from_millis(250);
        (self.ring().len() > 1).then(|| (limit / 5).clamp(few, few * 4))
    }

    /// Makes a call that may be repeated, with the time limit of reads.
    pub(crate) async fn ask<T, F>(
        &self,
        what: &str,
        call: impl Fn(Client) -> F + Sync,
    ) -> Result<Answer<T>, CoordinationError>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        self.ask_in(&self.ring(), self.read_limit(), what, call).await
    }

    /// Makes a call that may be repeated.
    pub(crate) async fn ask_within<T, F>(
        &self,
        limit: Duration,
        what: &str,
        call: impl Fn(Client) -> F + Sync,
    ) -> Result<Answer<T>, CoordinationError>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        self.ask_in(&self.ring(), limit, what, call).await
    }

    async fn ask_in<T, F>(
        &self,
        ring: &Ring,
        limit: Duration,
        what: &str,
        call: impl Fn(Client) -> F + Sync,
    ) -> Result<Answer<T>, CoordinationError>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let begun = Instant::now();
        let deadline = begun + limit;
        let patience = (ring.len() > 1).then(|| self.patience(limit).unwrap_or(limit / 5));
        let order = ring.order();
        // One more than there are nodes: a connection may have gone stale, and is made anew at the second attempt.
        let mut next = order.iter().chain(order.first()).copied();
        let mut attempts = FuturesUnordered::new();
        let mut waiting: Vec<(usize, Instant)> = Vec::new();
        let mut begin = |waiting: &mut Vec<(usize, Instant)>| {
            let ix = next.next()?;
            waiting.push((ix, Instant::now()));
            let attempt = ring.attempt(ix, &call);
            Some(async move { (ix, attempt.await) })
        };
        attempts.extend(begin(&mut waiting));
        let mut hedge_at = patience.map(|patience| begun + patience);
        loop {
            tokio::select! {
                Some((ix, outcome)) = attempts.next() => {
                    waiting.retain(|(other, _)| *other != ix);
                    let error = match outcome {
                        Ok(value) => {
                            ring.answered(ix, &waiting, patience);
                            return Ok(Answer { value, node: ring.nodes[ix].clone() });
                        }
                        Err(error) => error,
                    };
                    if !is_in_doubt(&error) {
                        ring.nodes[ix].answered();
                        return Err(error);
                    }
                    tracing::debug!(what, endpoint = ring.nodes[ix].endpoint, %error, "asked again");
                    // An only node that has answered that it does not know would only be asked too much.
                    let again = ring.len() > 1 || matches!(error, CoordinationError::Unreachable(_));
                    if ring.len() > 1 {
                        ring.nodes[ix].avoid();
                    }
                    let attempt = if again { begin(&mut waiting) } else { None };
                    if attempt.is_none() && attempts.is_empty() {
                        return Err(error);
                    }
                    attempts.extend(attempt);
                }
                () = sleep_until(hedge_at.unwrap_or(deadline)), if hedge_at.is_some() => {
                    // One that answers others is busy, not away: it is left in peace for half of the time that there is.
                    let silent = waiting.iter().any(|(ix, sent)| ring.nodes[*ix].is_silent_since(*sent));
                    let half = begun + limit / 2;
                    if silent || Instant::now() >= half {
                        attempts.extend(begin(&mut waiting));
                        hedge_at = patience.map(|patience| Instant::now() + patience).filter(|at| *at < deadline);
                    } else {
                        hedge_at = Some(half);
                    }
                }
                () = sleep_until(deadline) => {
                    return Err(CoordinationError::Unknown(format!("{what} took longer than {limit:?}")));
                }
            }
        }
    }

    /// Makes a call that may not be repeated.
    pub(crate) async fn ask_once<T, F>(
        &self,
        what: &str,
        call: impl Fn(Client) -> F + Sync,
    ) -> Result<T, CoordinationError>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let ring = self.ring();
        let limit = self.limit();
        let deadline = Instant::now() + limit;
        let patience = self.patience(limit);
        if let (Some(first), Some(_)) = (ring.order().first(), patience)
            && ring.nodes[*first].is_silent_since(Instant::now().checked_sub(FRESH).unwrap_or(Instant::now()))
        {
            let probe = probe_key(&ring.config);
            // Whatever comes of it: the call itself says it again.
            drop(self.ask_in(&ring, limit, "a sign of life", |client| look(client, probe.clone())).await);
        }
        let mut last = None;
        let order = ring.order();
        for ix in order.iter().chain(order.first()) {
            let sent = Instant::now();
            let hangs = async {
                match patience {
                    Some(patience) => {
                        tokio::time::sleep(patience).await;
                        ring.hangs(*ix, sent, patience).await
                    }
                    None => false,
                }
            };
            let hangs = hangs.then(|hangs| async move {
                if !hangs {
                    std::future::pending::<()>().await;
                }
            });
            let outcome = tokio::select! {
                outcome = timeout_at(deadline, ring.attempt(*ix, &call)) => outcome,
                () = hangs => {
                    ring.nodes[*ix].give_up("it says nothing, and others do");
                    return Err(CoordinationError::Unknown(format!("{what}: the node {} hangs", ring.nodes[*ix].endpoint)));
                }
            };
            match outcome {
                Ok(Ok(value)) => {
                    ring.nodes[*ix].answered();
                    ring.use_node(*ix);
                    return Ok(value);
                }
                Ok(Err(error @ CoordinationError::Unreachable(_))) => {
                    ring.nodes[*ix].avoid();
                    last = Some(error);
                }
                Ok(Err(error)) => {
                    if !is_in_doubt(&error) {
                        ring.nodes[*ix].answered();
                    }
                    return Err(error);
                }
                Err(_) => {
                    return Err(CoordinationError::Unknown(format!("{what} took longer than {limit:?}")));
                }
            }
        }
        Err(last.unwrap_or_else(|| CoordinationError::Unreachable("there is no node".to_owned())))
    }

    /// Finds out whether a node that has said nothing since `sent` hangs, and gives it up if so.
    pub(crate) async fn give_up_if_it_hangs(&self, node: &Arc<Node>, sent: Instant) -> bool {
        let ring = self.ring();
        let Some(patience) = self.patience(self.limit()) else { return false };
        let Some(ix) = ring.nodes.iter().position(|other| Arc::ptr_eq(other, node)) else { return true };
        let hangs = ring.hangs(ix, sent, patience).await;
        if hangs {
            node.give_up("it says nothing, and others do");
        }
        hangs
    }
}

impl Ring {
    /// A node has answered: those that were asked before and have said nothing since, to anybody, hang.
    fn answered(&self, ix: usize, waiting: &[(usize, Instant)], patience: Option<Duration>) {
        self.nodes[ix].answered();
        let mut changes = self.nodes[self.in_use.load(Ordering::Relaxed)].is_avoided();
        for (other, sent) in waiting {
            let node = &self.nodes[*other];
            let patient = patience.is_some_and(|patience| sent.elapsed() >= patience);
            if *other != ix && patient && node.is_silent_since(*sent) {
                node.give_up("it says nothing, and others do");
                changes |= *other == self.in_use.load(Ordering::Relaxed);
            }
        }
        if changes {
            self.use_node(ix);
        }
    }

    /// Returns true where this node says nothing to a read for the length of the patience, though another one does.
    async fn hangs(&self, ix: usize, since: Instant, patience: Duration) -> bool {
        let others: FuturesUnordered<_> =
            (0..self.len()).filter(|other| *other != ix).map(|other| self.probe(other)).collect();
        let another = async {
            let answers = others.filter(|answer| std::future::ready(answer.is_ok()));
            let mut answers = std::pin::pin!(answers);
            answers.next().await.is_some()
        };
        let proof = async {
            let ((), another) = tokio::join!(tokio::time::sleep(patience), another);
            another
        };
        tokio::select! {
            own = self.probe(ix) => match own {
                Ok(()) => {
                    self.nodes[ix].answered();
                    false
                }
                // It is gone, not silent: the call that waits for it is told so.
                Err(_) => false,
            },
            another = proof => another && self.nodes[ix].is_silent_since(since),
        }
    }
}

/// Returns true where another node may know better.
fn is_in_doubt(error: &CoordinationError) -> bool {
    matches!(error, CoordinationError::Unreachable(_) | CoordinationError::Unknown(_))
}
