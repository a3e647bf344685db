//! Watches.

use bytes::Bytes;
use futures::StreamExt;

use super::{SOON, Scope, Subject, must, next_batch, next_error, within};
use crate::coordination::{Revision, WatchBatch, WatchError, WatchEvent, WatchStream};

/// Returns a batch in short: `+name` for a put, `-name` for a deletion.
fn said(scope: &Scope, batch: &WatchBatch) -> Vec<String> {
    let name = |key: &str| key[scope.prefix.len()..].to_owned();
    let mut said: Vec<String> = batch
        .events
        .iter()
        .map(|event| match event {
            WatchEvent::Put(entry) => format!("+{}", name(&entry.key)),
            WatchEvent::Delete { key } => format!("-{}", name(key)),
        })
        .collect();
    said.sort_unstable();
    said
}

/// Waits for `count` batches and checks that they come in the order of their revisions.
async fn batches(watch: &mut WatchStream, count: usize) -> Vec<WatchBatch> {
    let mut all: Vec<WatchBatch> = Vec::with_capacity(count);
    while all.len() < count {
        let batch = next_batch(watch, SOON).await;
        assert!(
            all.last().is_none_or(|last| last.revision < batch.revision),
            "{batch:?} after {:?}",
            all.last()
        );
        all.push(batch);
    }
    all
}

/// A watch after a revision first replays what came since, each change once, then goes on with what comes.
pub async fn a_watch_replays_from_its_revision(subject: &dyn Subject) {
    let scope = Scope::new(subject);
    let start = scope.write(vec![scope.put("before", "", None)]).await;
    let first = scope.write(vec![scope.put("a", "1", None)]).await;
    let second = scope.write(vec![scope.delete("a")]).await;
    let mut watch = scope.watch(start);
    let replayed = batches(&mut watch, 2).await;
    let third = scope.write(vec![scope.put("a", "2", None)]).await;
    let live = batches(&mut watch, 1).await;
    let all: Vec<_> =
        replayed.iter().chain(&live).map(|batch| (batch.revision, said(&scope, batch))).collect();
    let one = |text: &str| vec![text.to_owned()];
    assert_eq!(all, [(first, one("+a")), (second, one("-a")), (third, one("+a"))]);

    let WatchEvent::Put(entry) = &live[0].events[0] else { panic!("a put") };
    assert_eq!((entry.create_revision, entry.mod_revision), (third, third));
    assert_eq!(entry.value, Bytes::from_static(b"2"));
    assert_eq!(scope.get("a").await.as_ref(), Some(entry), "the watch says what a read says");
}

/// Whatever is written while it begins, a watch that begins with a list goes on exactly where the list ends.
pub async fn a_list_and_its_watch_miss_and_repeat_nothing(subject: &dyn Subject) {
    const WRITES: usize = 40;
    let scope = Scope::new(subject);
    let write = async {
        for index in 0..WRITES {
            scope.write(vec![scope.put(&format!("{index:02}"), "", None)]).await;
        }
    };
    let follow = async {
        let (snapshot, mut watch) = scope.store.list_and_watch(&scope.prefix).await.expect("a list");
        let listed = snapshot.entries.len();
        let rest = batches(&mut watch, WRITES - listed).await;
        let names = snapshot.entries.iter().map(|entry| format!("+{}", &entry.key[scope.prefix.len()..]));
        let all: Vec<String> = names.chain(rest.iter().flat_map(|batch| said(&scope, batch))).collect();
        let expected: Vec<String> = (0..WRITES).map(|index| format!("+{index:02}")).collect();
        assert_eq!(all, expected, "{listed} were listed at {:?}", snapshot.revision);
        assert!(rest.iter().all(|batch| batch.revision > snapshot.revision));
    };
    tokio::join!(write, follow);
}

/// A watch hears nothing of keys beyond its prefix, not even where one write touches both.
pub async fn a_watch_keeps_to_its_prefix(subject: &dyn Subject) {
    let scope = Scope::new(subject);
    let start = scope.write(vec![scope.put("x", "", None)]).await;
    let mut watch = scope.store.watch(&scope.key("in/"), start);
    scope.write(vec![scope.put("in", "", None), scope.put("in0", "", None)]).await;
    scope.write(vec![scope.put("out", "", None), scope.put("in/1", "", None)]).await;
    let seen = batches(&mut watch, 1).await;
    assert_eq!(said(&scope, &seen[0]), ["+in/1"]);
}

/// However large a transaction is, its changes come together.
pub async fn a_watch_delivers_a_revision_as_one_batch(subject: &dyn Subject) {
    let scope = Scope::new(subject);
    let limits = scope.store.limits();
    let start = scope.write(vec![scope.put("x", "", None)]).await;
    let mut watch = scope.watch(start);
    let value = Bytes::from(vec![b'v'; limits.bytes / limits.ops - 200]);
    let put = |index: usize| scope.put(&format!("{index:04}"), value.clone(), None);
    let mut expected = Vec::new();
    for _ in 0..3 {
        expected.push(scope.write((0..limits.ops).map(put).collect()).await);
    }
    let live = batches(&mut watch, 3).await;
    let replayed = batches(&mut scope.watch(start), 3).await;
    assert_eq!(live, replayed, "live and replayed are the same");
    assert_eq!(live.iter().map(|batch| batch.revision).collect::<Vec<_>>(), expected);
    assert!(live.iter().all(|batch| batch.events.len() == limits.ops));
}

/// While several sides write, a watch delivers every write once, in order, and nothing between.
pub async fn a_watch_misses_nothing_under_concurrent_writes(subject: &dyn Subject) {
    const SIDES: usize = 4;
    const EACH: usize = 25;
    let scope = Scope::new(subject);
    let start = scope.write(vec![scope.put("x", "", None)]).await;
    let mut watch = scope.watch(start);
    let write = |side: usize| {
        let scope = &scope;
        async move {
            let mut revisions = Vec::new();
            for _ in 0..EACH {
                revisions.push(scope.write(vec![scope.put(&format!("{side}"), "", None)]).await);
            }
            revisions
        }
    };
    let writes = futures::future::join_all((0..SIDES).map(write));
    let (written, seen) = futures::join!(writes, batches(&mut watch, SIDES * EACH));
    let mut written: Vec<Revision> = written.into_iter().flatten().collect();
    written.sort_unstable();
    let seen: Vec<Revision> = seen.into_iter().map(|batch| batch.revision).collect();
    assert_eq!(seen, written);
}

/// Watches of one prefix, from the same or from different revisions, agree on what they share.
pub async fn many_watches_see_the_same(subject: &dyn Subject) {
    let scope = Scope::new(subject);
    let mut starts = vec![scope.write(vec![scope.put("x", "", None)]).await];
    for index in 0..5 {
        starts.push(scope.write(vec![scope.put(&format!("{index}"), "", None)]).await);
    }
    let mut watches: Vec<WatchStream> = starts.iter().map(|start| scope.watch(*start)).collect();
    scope.write(vec![scope.put("last", "", None)]).await;
    let full = batches(&mut watches[0], 6).await;
    for (skipped, watch) in watches.iter_mut().enumerate().skip(1) {
        assert_eq!(batches(watch, 6 - skipped).await, full[skipped..]);
    }
}

/// A watch that needs history which is gone ends with `Compacted`, and then ends.
pub async fn a_watch_of_forgotten_history_says_so(subject: &dyn Subject) {
    let scope = Scope::new(subject);
    let start = scope.write(vec![scope.put("a", "0", None)]).await;
    for _ in 0..3 {
        scope.write(vec![scope.put("a", "", None)]).await;
    }
    if !subject.compact().await {
        return;
    }
    let mut watch = scope.watch(start);
    let error = next_error(&mut watch).await;
    assert!(matches!(error, WatchError::Compacted), "{error:?}");
    assert!(within(SOON, "the end of the stream", watch.next()).await.is_none(), "it goes on after an error");

    let snapshot = must(scope.store.list(&scope.prefix).await);
    let mut watch = scope.watch(snapshot.revision);
    scope.write(vec![scope.put("b", "", None)]).await;
    assert_eq!(said(&scope, &batches(&mut watch, 1).await[0]), ["+b"], "list again and watch after it");
}

/// A watch that has seen everything needs no history and goes on across a compaction, also one that there was nothing to
/// see for since long ago.
pub async fn a_watch_at_the_head_survives_compaction(subject: &dyn Subject) {
    let scope = Scope::new(subject);
    let start = scope.write(vec![scope.put("a", "", None)]).await;
    let mut idle = scope.store.watch(&scope.key("c"), start);
    // It has begun: what is not there yet could not be asked for after the compaction.
    let begun = scope.write(vec![scope.put("c", "", None)]).await;
    assert_eq!(said(&scope, &batches(&mut idle, 1).await[0]), ["+c"]);
    let mut watch = scope.watch(begun);
    scope.write(vec![scope.put("b", "", None)]).await;
    assert_eq!(said(&scope, &batches(&mut watch, 1).await[0]), ["+b"]);
    if !subject.compact().await {
        return;
    }
    scope.write(vec![scope.put("c", "", None)]).await;
    assert_eq!(said(&scope, &batches(&mut watch, 1).await[0]), ["+c"]);
    assert_eq!(said(&scope, &batches(&mut idle, 1).await[0]), ["+c"]);
}
