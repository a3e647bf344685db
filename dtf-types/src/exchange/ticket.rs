//! Tickets: the names of items between a gateway and its workers.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use dtf_model::{EmitEpoch, RunEpoch, Seq, SubtaskId, TaskId};
use hmac::{Hmac, KeyInit, Mac};
use lrmf_core::coordination::{Guard, Op, Txn, TxnOutcome};
use lrmf_core::{Coordination, CoordinationError};
use sha2::Sha256;
use tokio::sync::OnceCell;
use uuid::Uuid;

/// The length of a signature: half of an HMAC-SHA256, the least that RFC 2104 recommends.
const SIGNATURE: usize = 16;
/// The numbers of a subtask, the nonce, and the signature.
const LENGTH: usize = (8 + 4 + 4 + 8) + 8 + SIGNATURE;

/// One offer of an item to workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket {
    /// The subtask.
    pub subtask: SubtaskId,
    /// Tells it from all other offers of its exchange, and from those of others of the same subtask.
    pub nonce: u64,
}

impl Hash for Ticket {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // It tells all tickets of an exchange apart.
        state.write_u64(self.nonce);
    }
}

/// The nonces of an exchange: numbers one after the other, from a random one on.
pub(super) struct Nonces(AtomicU64);

impl Nonces {
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(Uuid::new_v4().as_u64_pair().1))
    }

    /// The ticket of a new offer of a subtask.
    pub(super) fn ticket(&self, subtask: SubtaskId) -> Ticket {
        Ticket { subtask, nonce: self.0.fetch_add(1, Ordering::Relaxed) }
    }
}

/// The key that the processes of a cluster sign tickets with. Whoever has a signed ticket may report the success of its item to any of
/// them, whatever has become of the process that gave it out.
#[derive(Clone)]
pub struct TicketKey(Hmac<Sha256>);

impl fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketKey(…)")
    }
}

impl TicketKey {
    /// Returns the key that a secret makes.
    pub fn new(secret: &[u8]) -> Self {
        // Keys of any length are accepted.
        Self(Hmac::new_from_slice(secret).unwrap_or_else(|_| Hmac::new(&Default::default())))
    }

    /// Returns a ticket's text, for its worker.
    pub fn sign(&self, ticket: Ticket) -> String {
        let Ticket { nonce, subtask } = ticket;
        let SubtaskId { task, run, epoch, seq } = subtask;
        let mut bytes = Vec::with_capacity(LENGTH);
        bytes.extend_from_slice(&task.0.to_le_bytes());
        bytes.extend_from_slice(&run.0.to_le_bytes());
        bytes.extend_from_slice(&epoch.0.to_le_bytes());
        bytes.extend_from_slice(&seq.0.to_le_bytes());
        bytes.extend_from_slice(&nonce.to_le_bytes());
        let signature = self.0.clone().chain_update(&bytes).finalize().into_bytes();
        bytes.extend_from_slice(&signature[..SIGNATURE]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Returns the ticket that a text is of; none where no process of this cluster has signed it.
    pub fn verify(&self, text: &str) -> Option<Ticket> {
        let mut bytes = [0; LENGTH];
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        let (signed, signature) = bytes.split_at(LENGTH - SIGNATURE);
        if length != LENGTH {
            return None;
        }
        self.0.clone().chain_update(signed).verify_truncated_left(signature).ok()?;
        let (task, numbers) = signed.split_first_chunk()?;
        let (run, numbers) = numbers.split_first_chunk()?;
        let (epoch, numbers) = numbers.split_first_chunk()?;
        let (seq, numbers) = numbers.split_first_chunk()?;
        let (nonce, _) = numbers.split_first_chunk()?;
        let subtask = SubtaskId {
            task: TaskId(u64::from_le_bytes(*task)),
            run: RunEpoch(u32::from_le_bytes(*run)),
            epoch: EmitEpoch(u32::from_le_bytes(*epoch)),
            seq: Seq(u64::from_le_bytes(*seq)),
        };
        Some(Ticket { subtask, nonce: u64::from_le_bytes(*nonce) })
    }
}

/// The key of an exchange, read when it is first needed.
pub(super) struct KeyOnce {
    /// The store with the cluster's secret, and its name there; none for a key of one's own.
    place: Option<(Arc<dyn Coordination>, String)>,
    key: OnceCell<TicketKey>,
}

impl KeyOnce {
    pub(super) fn own() -> Self {
        Self { place: None, key: OnceCell::new() }
    }

    pub(super) fn of_cluster(store: Arc<dyn Coordination>, cluster: &str) -> Self {
        Self { place: Some((store, format!("/dtf/{cluster}/ticket-secret"))), key: OnceCell::new() }
    }

    pub(super) async fn get(&self) -> Result<&TicketKey, CoordinationError> {
        let read = || async {
            let secret = match &self.place {
                None => drawn(),
                Some((store, key)) => shared(&**store, key).await?,
            };
            Ok(TicketKey::new(&secret))
        };
        self.key.get_or_try_init(read).await
    }
}

/// A new secret.
fn drawn() -> Bytes {
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple()).into()
}

/// Reads the secret that is kept under a key. Whoever finds none puts one there; of several, all get the same.
async fn shared(store: &dyn Coordination, key: &str) -> Result<Bytes, CoordinationError> {
    loop {
        let kept = store.list(key).await?.entries.into_iter().find(|kv| kv.key == key);
        if let Some(kept) = kept {
            return Ok(kept.value);
        }
        let secret = drawn();
        let put = Op::Put { key: key.to_owned(), value: secret.clone(), lease: None };
        let txn = Txn { guards: vec![Guard::Absent { key: key.to_owned() }], ops: vec![put] };
        if matches!(store.commit(txn).await?, TxnOutcome::Applied { .. }) {
            return Ok(secret);
        }
    }
}

#[cfg(test)]
mod tests {
    use lrmf_core::MemoryStore;

    use super::*;

    #[tokio::test]
    async fn the_processes_of_a_cluster_have_one_key_and_other_clusters_another() {
        let store: Arc<dyn Coordination> = Arc::new(MemoryStore::new());
        let keys = ["a", "a", "b"].map(|cluster| KeyOnce::of_cluster(store.clone(), cluster));
        let subtask = SubtaskId { task: TaskId(7), run: RunEpoch(1), epoch: EmitEpoch(2), seq: Seq(3) };
        let ticket = Ticket { subtask, nonce: 1 };
        let text = keys[0].get().await.unwrap().sign(ticket);
        assert_eq!(keys[1].get().await.unwrap().verify(&text), Some(ticket));
        assert_eq!(keys[2].get().await.unwrap().verify(&text), None);
        assert_eq!(KeyOnce::own().get().await.unwrap().verify(&text), None);
    }

    #[test]
    fn a_ticket_is_read_as_it_was_signed_and_no_other_is() {
        let key = TicketKey::new(b"secret");
        let subtask =
            SubtaskId { task: TaskId(7), run: RunEpoch(1), epoch: EmitEpoch(2), seq: Seq(u64::MAX) };
        let ticket = Ticket { subtask, nonce: 12 };
        let text = key.sign(ticket);
        assert_eq!(key.verify(&text), Some(ticket));
        assert_eq!(TicketKey::new(b"another").verify(&text), None);
        for ix in 0..text.len() {
            let mut forged = text.clone().into_bytes();
            forged[ix] = if forged[ix] == b'A' { b'B' } else { b'A' };
            assert_eq!(key.verify(std::str::from_utf8(&forged).unwrap()), None, "at {ix}");
        }
        for wrong in ["", "x", &text[1..], &format!("{text}AA"), &format!("{text}{text}"), "é"] {
            assert_eq!(key.verify(wrong), None, "{wrong}");
        }
    }
}
