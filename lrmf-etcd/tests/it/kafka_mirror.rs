//! The example `kafka-mirror`, on a real etcd, with metadata that change while it runs.

#[path = "../../examples/kafka-mirror/metadata.rs"]
mod metadata;
#[path = "../../examples/kafka-mirror/mirror.rs"]
mod mirror;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lrmf_core::{CoordinatorHandle, Event, TaskRunner, Token};

use crate::support::Etcd;
use crate::support::group::{Holders, LONG, PATIENCE, is_even, member, wait_for};
use metadata::{ConsumerGroup, Metadata, Subject, Topic};
use mirror::{MetadataFile, Mirror, Step};

/// How many mirrors of each thing run, and what was wrong.
#[derive(Debug, Default)]
struct Running {
    now: BTreeMap<String, Token>,
    faults: Vec<String>,
}

impl Running {
    fn note(&mut self, subject: &Subject, token: Token, step: &Step) {
        let name = format!("{subject:?}");
        let before = match step {
            Step::Begins => self.now.insert(name.clone(), token),
            Step::Ends => self.now.remove(&name).filter(|before| *before != token),
            Step::Copied(_) => return,
        };
        if let Some(before) = before {
            self.faults.push(format!("{name}: {step:?} with {token} while {before} runs"));
        }
    }
}

async fn mirror(
    etcd: &Etcd,
    name: &str,
    file: &MetadataFile,
    running: &Arc<Mutex<Running>>,
) -> CoordinatorHandle {
    let running = running.clone();
    let report = move |subject: &Subject, token: Token, step: Step| {
        running.lock().unwrap().note(subject, token, &step);
    };
    let worker = TaskRunner::new(Mirror { period: Duration::from_millis(50), report });
    let builder = member(&etcd.endpoint(), "kafka-mirror", name, LONG).await;
    builder.provider(file.clone()).worker(worker).start().await.unwrap()
}

fn topic(name: &str, partitions: u32) -> Topic {
    Topic { name: name.into(), partitions }
}

fn cluster(topics: &[Topic]) -> Metadata {
    let reads = topics.iter().map(|topic| topic.name.clone()).collect();
    let groups = vec![ConsumerGroup { name: "billing".into(), topics: reads }];
    Metadata { topics: topics.to_vec(), consumer_groups: groups }
}

/// Puts a text in place at once, as those who write such a file should.
fn replace(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, text).unwrap();
    std::fs::rename(beside, path).unwrap();
}

fn write(path: &Path, metadata: &Metadata) {
    replace(path, &serde_json::to_string(metadata).unwrap());
}

fn keys(metadata: &Metadata) -> BTreeSet<Arc<str>> {
    metadata.tasks().unwrap().into_iter().map(|task| task.key).collect()
}

async fn wait_for_all_of(metadata: &Metadata, members: &[&CoordinatorHandle]) -> Holders {
    let wanted = keys(metadata);
    wait_for(members, |holders| holders.keys().eq(wanted.iter()) && is_even(holders, members.len(), 1)).await
}

async fn provider_failure(events: &mut lrmf_core::Events) -> String {
    let failed = async {
        loop {
            if let Event::ProviderFailed { error } = events.next().await.unwrap() {
                return error;
            }
        }
    };
    tokio::time::timeout(PATIENCE, failed).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_mirrored_follows_the_metadata() {
    let dir = tempfile::tempdir().unwrap();
    let path: PathBuf = dir.path().join("cluster.json");
    let first = cluster(&[topic("orders", 6), topic("payments", 3)]);
    write(&path, &first);
    let (etcd, file, running) = (Etcd::start(), MetadataFile::new(&path), Arc::default());
    let a = mirror(&etcd, "a", &file, &running).await;
    wait_for_all_of(&first, &[&a]).await;
    let b = mirror(&etcd, "b", &file, &running).await;
    let looking = file.watch(Duration::from_millis(50), || b.trigger_rebalance());
    // The one that looks does not lead: its trigger reaches the one that does.
    let changing = async {
        let before = wait_for_all_of(&first, &[&a, &b]).await;

        let more = cluster(&[topic("orders", 8), topic("payments", 3)]);
        write(&path, &more);
        let after = wait_for_all_of(&more, &[&a, &b]).await;
        let kept = |key: &str| assert_eq!(before[key], after[key], "{key} was not to be touched");
        (0..6).for_each(|number| kept(&format!("partition/orders/{number}")));
        kept("topic/payments");
        assert!(after["topic/orders"].1 > before["topic/orders"].1, "its settings have changed");

        let mut events = a.events();
        replace(&path, r#"{"topics": [{"name": "ord"#);
        let error = provider_failure(&mut events).await;
        assert!(error.contains("cluster.json"), "{error}");
        assert_eq!(wait_for_all_of(&more, &[&a, &b]).await, after, "the last known tasks stay");

        let fewer = cluster(&[topic("payments", 3)]);
        write(&path, &fewer);
        wait_for_all_of(&fewer, &[&a, &b]).await;
        a.close().await;
        wait_for_all_of(&fewer, &[&b]).await;
    };
    tokio::select! {
        () = changing => {}
        () = looking => unreachable!("it looks for ever"),
    }
    b.close().await;
    let running = running.lock().unwrap();
    assert_eq!(running.faults, Vec::<String>::new());
    assert!(running.now.is_empty(), "{:?}", running.now);
}

#[test]
fn metadata_that_contradict_themselves_are_refused() {
    let refused = [
        (r#"{"topics": [{"name": "", "partitions": 1}]}"#, "no name"),
        (r#"{"topics": [{"name": "a", "partitions": 0}]}"#, "no partitions"),
        (r#"{"topics": [{"name": "a", "partitions": 1}, {"name": "a", "partitions": 2}]}"#, "twice"),
        (r#"{"topics": [], "consumer_groups": [{"name": "g", "topics": ["a"]}]}"#, "not there"),
        (r#"{"topics": [], "brokers": []}"#, "unknown field"),
        ("", "EOF"),
    ];
    for (text, why) in refused {
        let error = Metadata::parse(text).unwrap_err().to_string();
        assert!(error.contains(why), "{text}: {error}");
    }
}

#[test]
fn the_file_that_comes_with_it_can_be_used() {
    let metadata = Metadata::parse(include_str!("../../examples/kafka-mirror/cluster.json")).unwrap();
    assert_eq!(keys(&metadata).len(), 2 + 9 + 2);
}
