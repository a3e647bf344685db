//! Processes of this version beside those of another: what a later one wrote is refused by name and number, and everything
//! else goes on; what an earlier one left is taken up.

use crate::left::{KEYS, Left};
use dtf::lrmf::coordination::{Op, Txn};
use dtf::lrmf::keys::Keys;
use dtf::lrmf::{Coordination, InstanceId};
use dtf::model::Role;
use integration_tests::stage::{SHARDS, Site, until};
use lrmf_etcd::{EtcdConfig, EtcdStore};

/// Writes something into etcd.
fn put(site: &Site, key: String, value: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let store = EtcdStore::connect(EtcdConfig::new([site.etcd.url()])).await.unwrap();
        let ops = vec![Op::Put { key, value: value.to_owned().into(), lease: None }];
        store.commit(Txn { guards: Vec::new(), ops }).await.unwrap();
    });
}

/// A leader steps down before what it cannot read, for one that can; until there is one, everything stays where it is.
#[test]
fn a_member_of_a_later_version_is_named_and_left_alone_and_the_others_go_on() {
    let Some(site) = Site::to_harm().map(Site::with_long_sessions) else { return };
    let mut service = site.serve("now", "all");
    until("everything is placed", || service.parts() == 2 + 2 + 1 + SHARDS + 2);
    let keys = Keys::new(&Role::Executor.group("default").unwrap());
    let later = InstanceId::new("later").unwrap();
    put(&site, keys.session(&later), r#"{"format":99,"quite":"different"}"#);
    until("it is named", || {
        let log = service.whole_log();
        log.contains("record format 99") && log.contains("update this process")
    });
    let task = site.submit(2000, 0, &[]);
    site.balance(&task);
    service.ends_well();
}

#[test]
fn a_task_that_a_later_version_runs_is_left_alone_and_the_others_go_on() {
    let Some(site) = Site::to_harm().map(Site::with_long_sessions) else { return };
    let mut service = site.serve("now", "all");
    let theirs = site.submit(1_000_000, 10, &[]);
    theirs.goes_on(10);
    assert!(site.run(&["task", "pause", &theirs.id.to_string()]).status.success());
    let key = format!("dtf.task.spec.{{{}}}", theirs.id);
    let before = site.redis.ask(&["GET", &key]).unwrap();
    assert!(before.contains(r#""format":1"#), "{before}");
    assert!(
        site.redis.ask(&["SET", &key, r#"{"format":99,"quite":"different"}"#]).unwrap().starts_with("+OK")
    );
    let out = site.run(&["task", "get", &theirs.id.to_string()]);
    let said = integration_tests::stage::said(&out);
    assert!(said.contains("has format 99") && said.contains("update this process"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    let ours = site.submit(2000, 0, &[]);
    site.balance(&ours);
    // Whoever takes tasks up meets it.
    service.ends_well();
    let mut next = site.serve("next", "all");
    until("it is named", || next.whole_log().contains("has format 99"));
    let ours = site.submit(2000, 0, &[]);
    site.balance(&ours);
    next.ends_well();
}

#[test]
fn a_parcel_of_a_later_version_is_named_and_the_others_go_on() {
    let Some(site) = Site::to_harm().map(Site::with_long_sessions) else { return };
    let mut service = site.serve("now", "all");
    let theirs = site.submit(1_000_000, 10, &[]);
    theirs.goes_on(10);
    let id = theirs.id.to_string();
    assert!(site.run(&["task", "pause", &id]).status.success());
    site.until_row(&theirs, "it is paused", |row| row["status"] == "paused");
    until("nothing of it runs", || theirs.begun() == theirs.executed());
    let key = format!("dtf.task.pending.{{{id}}}");
    assert_eq!(site.redis.ask(&["LSET", &key, "0", "\u{63}quite different"]).unwrap(), "+OK\r\n");
    assert!(site.run(&["task", "resume", &id]).status.success());
    until("it is named", || {
        let log = service.whole_log();
        log.contains("has format 99") && log.contains("update this process")
    });
    let ours = site.submit(2000, 0, &[]);
    site.balance(&ours);
    assert!(site.run(&["task", "cancel", &id]).status.success());
    service.ends_well();
}

/// Processes that were killed in the middle of their tasks, whose queues and records are as they wrote them.
#[test]
fn what_processes_of_an_earlier_version_left_is_taken_up() {
    let Some(site) = Site::to_harm().map(Site::with_long_sessions) else { return };
    assert!(site.run(&["migrate"]).status.success());
    let left = Left::read();
    let tasks = left.restore(&site);
    for (key, value) in &left.etcd {
        put(&site, key.clone(), value);
    }
    let mut service = site.serve("now", "all");
    for task in &tasks {
        site.balance(task);
        assert_eq!(site.until_ended(task)["run"], 1, "it went on where it was");
    }
    assert_eq!(tasks[0].out_of_order(KEYS), Vec::<String>::new());
    service.ends_well();
}
