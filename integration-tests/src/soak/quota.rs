//! The quota of etcd.

use etcd_client::{Client, CompactionOptions, DeleteOptions};

/// The quota, in bytes.
const BYTES: u64 = 64 << 20;
/// The records that use it up are below this key.
const FILLER: &str = "/soak/filler/";

/// The settings of an etcd with the quota, which forgets the history of its records by and by, and keeps few of its logs: what uses
/// up the quota is in them too.
pub(super) fn settings() -> Vec<String> {
    vec![
        format!("--quota-backend-bytes={BYTES}"),
        "--auto-compaction-mode=periodic".to_owned(),
        "--auto-compaction-retention=5m".to_owned(),
        "--snapshot-count=500".to_owned(),
        "--max-wals=1".to_owned(),
        "--max-snapshots=1".to_owned(),
    ]
}

/// Writes until nothing more is taken.
pub(super) fn use_up(url: &str) {
    with_client(url, async |client| {
        for number in 0..2 * (BYTES >> 20) {
            if client.put(format!("{FILLER}{number}"), vec![b'x'; 1 << 20], None).await.is_err() {
                return;
            }
        }
        panic!("the quota of etcd is not used up");
    });
}

/// Deletes what was written, with its history, and gives the room back.
pub(super) fn free(url: &str) {
    with_client(url, async |client| {
        let deleted = client.delete(FILLER, Some(DeleteOptions::new().with_prefix())).await.unwrap();
        let revision = deleted.header().unwrap().revision();
        client.compact(revision, Some(CompactionOptions::new().with_physical())).await.unwrap();
        client.defragment().await.unwrap();
    });
}

fn with_client(url: &str, act: impl AsyncFnOnce(&mut Client)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { act(&mut Client::connect([url], None).await.unwrap()).await });
}
