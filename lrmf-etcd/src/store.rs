//! The store: leases, reads and transactions.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use etcd_client::proto::{PbKeyValue, PbRangeResponse};
use etcd_client::{Client, Compare, CompareOp, GetOptions, PutOptions, Txn as EtcdTxn, TxnOp};
use lrmf_core::CoordinationError;
use lrmf_core::coordination::{
    Coordination, Guard, KeyValue, Lease, LeaseId, Op, Revision, Snapshot, Txn, TxnLimits, TxnOutcome,
    WatchStream,
};
use tokio::time::timeout;

use crate::config::{EtcdConfig, InvalidConfig};
use crate::error::is_compacted;
use crate::keep_alive::KeepAlives;
use crate::nodes::Nodes;
use crate::version::lease_faults;
use crate::watch::{Asked, begin, watch};

/// The number of keys that one read of a list asks for. With the chunks of assignments a page is some 16 MiB at most.
const PAGE: i64 = 256;
/// The number of times that a list begins anew because its revision was compacted while it was read.
const LIST_ATTEMPTS: u32 = 3;
/// The largest message taken: a page of the largest values there can be.
pub(crate) const MAX_MESSAGE: usize = 512 * 1024 * 1024;

/// Why no connection was made.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConnectError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] InvalidConfig),
    /// etcd was not reached, or does not let us in.
    #[error(transparent)]
    Store(#[from] CoordinationError),
}

/// [`Coordination`] on etcd.
pub struct EtcdStore {
    nodes: Arc<Nodes>,
    keep_alives: KeepAlives,
    endpoints: Vec<String>,
    /// The text that all keys begin with in etcd, and not in the port.
    root: String,
}

impl fmt::Debug for EtcdStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdStore").field("endpoints", &self.endpoints).finish_non_exhaustive()
    }
}

impl EtcdStore {
    /// Connects, and warns of nodes whose version has known faults in its leases.
    ///
    /// # Errors
    /// A configuration that cannot be used; an etcd that is not reached or refuses the credentials. The second kind may
    /// pass: see [`CoordinationError::is_retryable`].
    pub async fn connect(config: EtcdConfig) -> Result<Self, ConnectError> {
        config.check()?;
        let nodes = Arc::new(Nodes::new(config.clone()));
        // A connection is made only when it is needed: need it now, so that a wrong endpoint is not a later surprise.
        let checks = config.endpoints.iter().map(|endpoint| warn_of_faults(endpoint, &config));
        let checks = futures::future::join_all(checks);
        // A node that says nothing is not waited for where others answer.
        let patience = nodes.patience(nodes.read_limit()).unwrap_or(config.connect_timeout);
        let (found, _) = tokio::join!(nodes.probe(), timeout(patience, checks));
        found?;
        let EtcdConfig { endpoints, root, .. } = config;
        let keep_alives = KeepAlives::start(nodes.clone())?;
        Ok(Self { nodes, keep_alives, endpoints, root })
    }

    /// Goes over to other credentials, certificates or nodes without an end of any session: once a node has answered under
    /// the new configuration, everything goes there. The root must stay the same.
    ///
    /// # Errors
    /// A configuration that cannot be used, also one with another root; an etcd that is not reached or refuses the
    /// credentials. The store goes on with what it had.
    pub async fn reconnect(&self, config: EtcdConfig) -> Result<(), ConnectError> {
        config.check()?;
        if config.root != self.root {
            return Err(InvalidConfig::RootChanged { before: self.root.clone(), after: config.root }.into());
        }
        Ok(self.nodes.reconnect(config).await?)
    }

    /// A client of a node that answers, for what the port does not offer.
    ///
    /// # Errors
    /// No node answers.
    pub async fn client(&self) -> Result<Client, CoordinationError> {
        self.nodes.client().await
    }

    /// The version of the node that answers, and what it may do to exclusivity: known faults in its leases.
    ///
    /// # Errors
    /// No node answers.
    pub async fn version(&self) -> Result<(String, Vec<&'static str>), CoordinationError> {
        let asked = self
            .nodes
            .ask("a look at the version", |mut client| async move { client.status().await })
            .await?;
        let version = asked.value.version();
        Ok((version.to_owned(), lease_faults(version)))
    }

    /// The complaints of the node that answers, in its own words: alarms such as `NOSPACE`, with which it refuses writes, or a
    /// cluster without a leader.
    ///
    /// # Errors
    /// No node answers.
    pub async fn complaints(&self) -> Result<Vec<String>, CoordinationError> {
        let asked =
            self.nodes.ask("a look at the alarms", |mut client| async move { client.status().await }).await?;
        Ok(asked.value.errors().iter().map(|error| error.trim().to_owned()).collect())
    }

    /// Reads one page; none when its revision is compacted.
    async fn try_page(
        &self,
        from: Vec<u8>,
        end: Vec<u8>,
        options: GetOptions,
    ) -> Result<Option<PbRangeResponse>, CoordinationError> {
        let asked = self.nodes.ask("a read", |client| {
            let mut client = client.kv_client().max_decoding_message_size(MAX_MESSAGE);
            let (from, options) = (from.clone(), options.clone().with_range(end.clone()));
            async move {
                match client.get(from, Some(options)).await {
                    Ok(response) => Ok(Some(response.0)),
                    Err(error) if is_compacted(&error) => Ok(None),
                    Err(error) => Err(error),
                }
            }
        });
        Ok(asked.await?.value)
    }

    /// Reads a prefix page by page, all pages at the first one's revision; none when that was compacted meanwhile.
    async fn try_list(&self, prefix: &str) -> Result<Option<Snapshot>, CoordinationError> {
        let (mut from, end) = range_of(&self.full(prefix));
        let mut snapshot = Snapshot::default();
        let mut options = GetOptions::new().with_limit(PAGE);
        loop {
            let Some(page) = self.try_page(from, end.clone(), options.clone()).await? else {
                return Ok(None);
            };
            if snapshot.revision == Revision(0) {
                let read_at = page.header.as_ref().map_or(0, |header| header.revision);
                snapshot.revision = revision(read_at);
                options = options.with_revision(read_at);
            }
            let last = page.kvs.last().map(|last| last.key.clone());
            snapshot.entries.extend(page.kvs.into_iter().filter_map(|entry| key_value(entry, &self.root)));
            match last.filter(|_| page.more) {
                None => return Ok(Some(snapshot)),
                Some(last) => from = [last, vec![0]].concat(),
            }
        }
    }

    /// A key as it is in etcd.
    fn full(&self, key: &str) -> String {
        format!("{}{key}", self.root)
    }

    fn asked(&self, prefix: &str, after: Option<Revision>) -> Asked {
        let root = self.root.clone();
        Asked { nodes: self.nodes.clone(), prefix: self.full(prefix), root, after }
    }
}

/// Asks one node for its version. A node that does not answer is not warned of; the others may do without it.
async fn warn_of_faults(endpoint: &String, config: &EtcdConfig) {
    let status = async {
        let mut client = Client::connect([endpoint], Some(config.options())).await?;
        client.status().await
    };
    match timeout(config.connect_timeout, status).await {
        Ok(Ok(status)) => {
            for fault in lease_faults(status.version()) {
                tracing::warn!(
                    endpoint,
                    version = status.version(),
                    fault,
                    "this version of etcd has a known fault"
                );
            }
        }
        Ok(Err(error)) => tracing::debug!(endpoint, %error, "the version of this node is not known"),
        Err(_) => tracing::debug!(endpoint, "the version of this node is not known: no answer"),
    }
}

#[async_trait]
impl Coordination for EtcdStore {
    /// Where the first node asked is silent another one is asked for a lease too; the one that nobody uses ends by itself.
    async fn grant_lease(&self, ttl: Duration) -> Result<Lease, CoordinationError> {
        let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
        let seconds =
            i64::try_from(seconds).map_err(|_| CoordinationError::Refused("the TTL is too long".into()))?;
        let granted = self.nodes.ask_within(self.nodes.limit(), "granting a lease", |client| {
            let mut client = client.lease_client();
            async move { client.grant(seconds, None).await }
        });
        let granted = granted.await?.value;
        let ttl = Duration::from_secs(granted.ttl().unsigned_abs());
        self.nodes.note_ttl(ttl);
        Ok(Lease { id: LeaseId(granted.id()), ttl })
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration, CoordinationError> {
        self.keep_alives.keep_alive(lease).await
    }

    async fn revoke_lease(&self, lease: LeaseId) -> Result<(), CoordinationError> {
        let revoked = self.nodes.ask_within(self.nodes.limit(), "revoking a lease", |client| {
            let mut client = client.lease_client();
            async move { client.revoke(lease.0).await }
        });
        match revoked.await {
            Ok(_) | Err(CoordinationError::LeaseGone) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn list(&self, prefix: &str) -> Result<Snapshot, CoordinationError> {
        for _ in 0..LIST_ATTEMPTS {
            if let Some(snapshot) = self.try_list(prefix).await? {
                return Ok(snapshot);
            }
        }
        Err(CoordinationError::Unknown("the list was compacted each time before it was read".into()))
    }

    async fn commit(&self, txn: Txn) -> Result<TxnOutcome, CoordinationError> {
        txn.check(self.limits())?;
        let Some(request) = request_of(txn, &self.root) else { return Ok(TxnOutcome::Refused) };
        let response = self.nodes.ask_once("a transaction", |client| {
            let mut client = client.kv_client();
            let request = request.clone();
            async move { client.txn(request).await }
        });
        let response = response.await?;
        if !response.succeeded() {
            return Ok(TxnOutcome::Refused);
        }
        match response.header() {
            Some(header) => Ok(TxnOutcome::Applied { revision: revision(header.revision()) }),
            None => Err(CoordinationError::Unknown("the answer to a transaction has no revision".into())),
        }
    }

    fn watch(&self, prefix: &str, after: Revision) -> WatchStream {
        watch(self.asked(prefix, Some(after)))
    }

    /// etcd brings a watch that begins behind its revision up to date ten times a second; so one that began right after a
    /// list, and right after somebody's write, was silent for up to 100 ms. One that begins with what comes is never
    /// behind: it is begun first.
    async fn list_and_watch(&self, prefix: &str) -> Result<(Snapshot, WatchStream), CoordinationError> {
        let begun = begin(self.asked(prefix, None)).await;
        // Also where the watch was refused: of a list, etcd says why, and a stale token is renewed.
        let snapshot = self.list(prefix).await?;
        let begun = begun.map_err(|error| CoordinationError::Unknown(error.to_string()))?;
        let watch = begun.after(snapshot.revision);
        Ok((snapshot, watch))
    }

    /// Less what the root takes in each key.
    fn limits(&self) -> TxnLimits {
        let TxnLimits { ops, bytes } = TxnLimits::ETCD;
        TxnLimits { ops, bytes: bytes - 2 * ops * self.root.len() }
    }
}

/// The transaction in etcd's terms; none where a guard can never hold.
fn request_of(txn: Txn, root: &str) -> Option<EtcdTxn> {
    // A key that we are permitted to read, as the guard of it needs that too.
    let readable = format!("{root}{}", txn.guards.first().map_or("/lrmf/", Guard::key));
    let compares = txn.guards.into_iter().map(|guard| compare_of(guard, root)).collect::<Option<Vec<_>>>()?;
    let ops: Vec<TxnOp> = txn.ops.into_iter().map(|op| op_of(op, root)).collect();
    let mut request = EtcdTxn::new().when(compares);
    if ops.is_empty() {
        // etcd answers a transaction without any operation from its own, perhaps old, state. A read makes it ask the
        // others first.
        let read = TxnOp::get(readable, Some(GetOptions::new().with_count_only()));
        request = request.and_then([read.clone()]).or_else([read]);
    } else {
        request = request.and_then(ops);
    }
    Some(request)
}

fn compare_of(guard: Guard, root: &str) -> Option<Compare> {
    let full = |key: String| format!("{root}{key}");
    match guard {
        Guard::Absent { key } => Some(Compare::create_revision(full(key), CompareOp::Equal, 0)),
        // For etcd, revision 0 is that of an absent key; for the port, no key that exists has it.
        Guard::CreatedAt { revision: Revision(0), .. } | Guard::ModifiedAt { revision: Revision(0), .. } => {
            None
        }
        Guard::CreatedAt { key, revision } => {
            Some(Compare::create_revision(full(key), CompareOp::Equal, signed(revision)))
        }
        Guard::ModifiedAt { key, revision } => {
            Some(Compare::mod_revision(full(key), CompareOp::Equal, signed(revision)))
        }
    }
}

fn op_of(op: Op, root: &str) -> TxnOp {
    let full = |key: String| format!("{root}{key}");
    match op {
        Op::Put { key, value, lease } => {
            let options = lease.map(|lease| PutOptions::new().with_lease(lease.0));
            TxnOp::put(full(key), value, options)
        }
        Op::Delete { key } => TxnOp::delete(full(key), None),
    }
}

/// The keys that begin with a prefix, as etcd's range: from the first, up to and without the second.
pub(crate) fn range_of(prefix: &str) -> (Vec<u8>, Vec<u8>) {
    // No byte of UTF-8 is 0xff, so the last one can always be counted up.
    let mut end = prefix.as_bytes().to_vec();
    match end.last_mut() {
        Some(last) => *last += 1,
        // All keys: from the lowest key, to "no end".
        None => return (vec![0], vec![0]),
    }
    (prefix.into(), end)
}

/// A key-value as the port has it, without the root; none, with a warning, for a key that cannot have been written through
/// the port.
pub(crate) fn key_value(entry: PbKeyValue, root: &str) -> Option<KeyValue> {
    let key = match String::from_utf8(entry.key) {
        Ok(key) => key,
        Err(error) => {
            tracing::warn!(key = ?error.as_bytes(), "a key of another's making is passed over: it is not text");
            return None;
        }
    };
    let key = key.strip_prefix(root)?.to_owned();
    Some(KeyValue {
        key,
        value: Bytes::from(entry.value),
        create_revision: revision(entry.create_revision),
        mod_revision: revision(entry.mod_revision),
        lease: (entry.lease != 0).then_some(LeaseId(entry.lease)),
    })
}

/// etcd counts revisions in i64, from 1.
pub(crate) fn revision(number: i64) -> Revision {
    Revision(number.unsigned_abs())
}

pub(crate) fn signed(revision: Revision) -> i64 {
    // One below the highest, so that "the next one" exists.
    i64::try_from(revision.0).unwrap_or(i64::MAX).min(i64::MAX - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_a_range() {
        assert_eq!(range_of("/a/"), (b"/a/".to_vec(), b"/a0".to_vec()));
        assert_eq!(range_of(""), (vec![0], vec![0]));
        assert_eq!(range_of("é"), (vec![0xc3, 0xa9], vec![0xc3, 0xaa]));
    }

    #[test]
    fn a_guard_that_cannot_hold_is_not_sent() {
        let guard = Guard::CreatedAt { key: "k".into(), revision: Revision(0) };
        assert!(request_of(Txn { guards: vec![guard], ops: Vec::new() }, "").is_none());
    }
}
