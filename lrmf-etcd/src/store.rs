//! The store: leases, reads and transactions.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use etcd_client::proto::{PbKeyValue, PbRangeResponse};
use etcd_client::{Client, Compare, CompareOp, GetOptions, PutOptions, Txn as EtcdTxn, TxnOp};
use lrmf_core::StoreError;
use lrmf_core::coordination::{
    Coordination, Guard, KeyValue, Lease, LeaseId, Op, Revision, Snapshot, Txn, TxnLimits, TxnOutcome,
    WatchStream,
};
use tokio::time::{Instant, timeout, timeout_at};

use crate::config::{EtcdConfig, InvalidConfig};
use crate::error::{is_compacted, is_not_permitted, store_error};
use crate::keep_alive::KeepAlives;
use crate::version::lease_faults;
use crate::watch::{Asked, begin, watch};

/// How often a call that was certainly not sent is made again at once. With one node of three dead, a quarter to a third of
/// the attempts meet it: with five retries a call in a thousand can still fail, and one did; with twenty, 3^-21 is left.
const RETRIES: u32 = 20;
/// A key that is read to see whether etcd answers. It is below the prefix that members need to be permitted.
const PROBE: &str = "/lrmf/";
/// How many keys one read of a list asks for. With the chunks of assignments a page is some 16 MiB at most.
const PAGE: i64 = 256;
/// How often a list begins anew because its revision was compacted while it was read.
const LIST_ATTEMPTS: u32 = 3;
/// The largest message taken: a page of the largest values there can be.
const MAX_MESSAGE: usize = 512 * 1024 * 1024;

/// Why no connection was made.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConnectError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] InvalidConfig),
    /// etcd was not reached, or does not let us in.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// [`Coordination`] on etcd.
pub struct EtcdStore {
    client: Client,
    keep_alives: KeepAlives,
    timeout: Duration,
    endpoints: Vec<String>,
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
    /// pass: see [`StoreError::is_retryable`].
    pub async fn connect(config: EtcdConfig) -> Result<Self, ConnectError> {
        config.check()?;
        let client = connect(&config.endpoints, &config).await?;
        let checks = config.endpoints.iter().map(|endpoint| warn_of_faults(endpoint, &config));
        futures::future::join_all(checks).await;
        let keep_alives = KeepAlives::start(client.lease_client(), config.request_timeout);
        let store =
            Self { client, keep_alives, timeout: config.request_timeout, endpoints: config.endpoints };
        // A connection is made only when it is needed: need it now, so that a wrong endpoint is not a later surprise.
        store.probe().await?;
        Ok(store)
    }

    /// The client, for what the port does not offer.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The version of the node that answers, and what it may do to exclusivity: known faults in its leases.
    ///
    /// # Errors
    /// No node answers.
    pub async fn version(&self) -> Result<(String, Vec<&'static str>), StoreError> {
        let status = with_retries(self.timeout, "a look at the version", || {
            let mut client = self.client.clone();
            async move { client.status().await }
        })
        .await?;
        Ok((status.version().to_owned(), lease_faults(status.version())))
    }

    /// What the node that answers complains of, in its own words: alarms such as `NOSPACE`, with which it refuses writes, or a cluster
    /// without a leader.
    ///
    /// # Errors
    /// No node answers.
    pub async fn complaints(&self) -> Result<Vec<String>, StoreError> {
        let status = with_retries(self.timeout, "a look at the alarms", || {
            let mut client = self.client.clone();
            async move { client.status().await }
        })
        .await?;
        Ok(status.errors().iter().map(|error| error.trim().to_owned()).collect())
    }

    /// Whether etcd answers and knows us. Not being permitted to read the probe is an answer too.
    async fn probe(&self) -> Result<(), StoreError> {
        with_retries(self.timeout, "a first read", || {
            let mut client = self.client.kv_client();
            async move {
                match client.get(PROBE, Some(GetOptions::new().with_count_only())).await {
                    Err(error) if is_not_permitted(&error) => Ok(()),
                    answer => answer.map(|_| ()),
                }
            }
        })
        .await
    }

    /// Reads one page; none when its revision is compacted.
    async fn try_page(
        &self,
        from: Vec<u8>,
        end: Vec<u8>,
        options: GetOptions,
    ) -> Result<Option<PbRangeResponse>, StoreError> {
        with_retries(self.timeout, "a read", || {
            let mut client = self.client.kv_client().max_decoding_message_size(MAX_MESSAGE);
            let (from, options) = (from.clone(), options.clone().with_range(end.clone()));
            async move {
                match client.get(from, Some(options)).await {
                    Ok(response) => Ok(Some(response.0)),
                    Err(error) if is_compacted(&error) => Ok(None),
                    Err(error) => Err(error),
                }
            }
        })
        .await
    }

    /// Reads a prefix page by page, all pages at the first one's revision; none when that was compacted meanwhile.
    async fn try_list(&self, prefix: &str) -> Result<Option<Snapshot>, StoreError> {
        let (mut from, end) = range_of(prefix);
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
            snapshot.entries.extend(page.kvs.into_iter().filter_map(key_value));
            match last.filter(|_| page.more) {
                None => return Ok(Some(snapshot)),
                Some(last) => from = [last, vec![0]].concat(),
            }
        }
    }
}

async fn connect(endpoints: &[String], config: &EtcdConfig) -> Result<Client, StoreError> {
    with_retries(config.request_timeout, "connecting", || Client::connect(endpoints, Some(config.options())))
        .await
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

/// One call with a deadline. It is made again at once as long as it was certainly not sent.
pub(crate) async fn with_retries<T, C, F>(limit: Duration, what: &str, call: C) -> Result<T, StoreError>
where
    C: Fn() -> F,
    F: Future<Output = Result<T, etcd_client::Error>>,
{
    let deadline = Instant::now() + limit;
    let mut attempt = 0;
    loop {
        let Ok(outcome) = timeout_at(deadline, call()).await else {
            return Err(StoreError::Unknown(format!("{what} took longer than {limit:?}")));
        };
        match outcome.map_err(|error| store_error(&error)) {
            Err(StoreError::Unreachable(_)) if attempt < RETRIES => attempt += 1,
            outcome => return outcome,
        }
    }
}

#[async_trait]
impl Coordination for EtcdStore {
    async fn grant_lease(&self, ttl: Duration) -> Result<Lease, StoreError> {
        let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
        let seconds =
            i64::try_from(seconds).map_err(|_| StoreError::Refused("the TTL is too long".into()))?;
        let granted = with_retries(self.timeout, "granting a lease", || {
            let mut client = self.client.lease_client();
            async move { client.grant(seconds, None).await }
        });
        let granted = granted.await?;
        let ttl = Duration::from_secs(granted.ttl().unsigned_abs());
        Ok(Lease { id: LeaseId(granted.id()), ttl })
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration, StoreError> {
        self.keep_alives.keep_alive(lease).await
    }

    async fn revoke_lease(&self, lease: LeaseId) -> Result<(), StoreError> {
        let revoked = with_retries(self.timeout, "revoking a lease", || {
            let mut client = self.client.lease_client();
            async move { client.revoke(lease.0).await }
        });
        match revoked.await {
            Ok(_) | Err(StoreError::LeaseGone) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn list(&self, prefix: &str) -> Result<Snapshot, StoreError> {
        for _ in 0..LIST_ATTEMPTS {
            if let Some(snapshot) = self.try_list(prefix).await? {
                return Ok(snapshot);
            }
        }
        Err(StoreError::Unknown("the list was compacted each time before it was read".into()))
    }

    async fn commit(&self, txn: Txn) -> Result<TxnOutcome, StoreError> {
        txn.check(self.limits())?;
        let Some(request) = request_of(txn) else { return Ok(TxnOutcome::Refused) };
        let response = with_retries(self.timeout, "a transaction", || {
            let mut client = self.client.kv_client();
            let request = request.clone();
            async move { client.txn(request).await }
        });
        let response = response.await?;
        if !response.succeeded() {
            return Ok(TxnOutcome::Refused);
        }
        match response.header() {
            Some(header) => Ok(TxnOutcome::Applied { revision: revision(header.revision()) }),
            None => Err(StoreError::Unknown("the answer to a transaction has no revision".into())),
        }
    }

    fn watch(&self, prefix: &str, after: Revision) -> WatchStream {
        let client = self.client.watch_client().max_decoding_message_size(MAX_MESSAGE);
        watch(Asked { client, prefix: prefix.to_owned(), after: Some(after), timeout: self.timeout })
    }

    /// etcd brings a watch that begins behind its revision up to date ten times a second; so one that began right after a
    /// list, and right after somebody's write, was silent for up to 100 ms. One that begins with what comes is never
    /// behind: it is begun first.
    async fn list_and_watch(&self, prefix: &str) -> Result<(Snapshot, WatchStream), StoreError> {
        let client = self.client.watch_client().max_decoding_message_size(MAX_MESSAGE);
        let asked = Asked { client, prefix: prefix.to_owned(), after: None, timeout: self.timeout };
        let begun = begin(asked).await;
        // Also where the watch was refused: of a list, etcd says why, and a stale token is renewed.
        let snapshot = self.list(prefix).await?;
        let begun = begun.map_err(|error| StoreError::Unknown(error.to_string()))?;
        let watch = begun.after(snapshot.revision);
        Ok((snapshot, watch))
    }

    fn limits(&self) -> TxnLimits {
        TxnLimits::ETCD
    }
}

/// The transaction in etcd's terms; none where a guard can never hold.
fn request_of(txn: Txn) -> Option<EtcdTxn> {
    // A key that we are permitted to read, as the guard of it needs that too.
    let readable = txn.guards.first().map_or(PROBE, Guard::key).to_owned();
    let compares = txn.guards.into_iter().map(compare_of).collect::<Option<Vec<_>>>()?;
    let ops: Vec<TxnOp> = txn.ops.into_iter().map(op_of).collect();
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

fn compare_of(guard: Guard) -> Option<Compare> {
    match guard {
        Guard::Absent { key } => Some(Compare::create_revision(key, CompareOp::Equal, 0)),
        // For etcd, revision 0 is that of an absent key; for the port, no key that exists has it.
        Guard::CreatedAt { revision: Revision(0), .. } | Guard::ModifiedAt { revision: Revision(0), .. } => {
            None
        }
        Guard::CreatedAt { key, revision } => {
            Some(Compare::create_revision(key, CompareOp::Equal, signed(revision)))
        }
        Guard::ModifiedAt { key, revision } => {
            Some(Compare::mod_revision(key, CompareOp::Equal, signed(revision)))
        }
    }
}

fn op_of(op: Op) -> TxnOp {
    match op {
        Op::Put { key, value, lease } => {
            let options = lease.map(|lease| PutOptions::new().with_lease(lease.0));
            TxnOp::put(key, value, options)
        }
        Op::Delete { key } => TxnOp::delete(key, None),
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

/// A key-value as the port has it; none, with a warning, for a key that cannot have been written through the port.
pub(crate) fn key_value(entry: PbKeyValue) -> Option<KeyValue> {
    let key = match String::from_utf8(entry.key) {
        Ok(key) => key,
        Err(error) => {
            tracing::warn!(key = ?error.as_bytes(), "a key of another's making is passed over: it is not text");
            return None;
        }
    };
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
        assert!(request_of(Txn { guards: vec![guard], ops: Vec::new() }).is_none());
    }
}
