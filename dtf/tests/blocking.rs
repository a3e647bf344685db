//! Plugin code that blocks its thread: it costs its slot, and nobody else anything.
//!
//! A process of its own, as stuck calls are counted by process.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

#[path = "it/common/mod.rs"]
#[expect(dead_code, reason = "these tests use a part of it")]
mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use common::{Books, KIND, Numbers, count, ok};
use dtf::embedded::{self, Database, Embedded};
use dtf::model::Role;
use dtf::model::plugin::TaskPluginRegistration;
use dtf::model::{TaskStatus, TaskTypeId};
use dtf::{Dtf, DtfConfig, Ports};
use dtf_runtime::stuck_calls;

const OTHER: TaskTypeId = TaskTypeId(101);
/// The time limit of anything, on a machine with much else to do.
const AGES: Duration = Duration::from_secs(180);

/// A door that plugin code waits at, blocking its thread.
#[derive(Default)]
struct Door {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Door {
    fn wait(&self) {
        let open = self.open.lock().unwrap();
        drop(self.opened.wait_while(open, |open| !*open).unwrap());
    }

    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }
}

async fn until(what: &str, reached: impl Fn() -> bool) {
    let look = async {
        while !reached() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(AGES, look).await.is_ok(), "it never comes to that: {what}");
}

fn registration(task_type: TaskTypeId, name: &str, plugin: Numbers) -> TaskPluginRegistration {
    let (name, description, plugin) = (name.to_owned(), String::new(), Arc::new(plugin));
    TaskPluginRegistration { task_type, name, description, plugin }
}

/// A process with two threads for plugins, and as many calls that block one: nobody else would find any.
async fn process(blocking: Numbers, other: Numbers) -> Dtf {
    process_on(embedded::ports(Database::Memory).await.unwrap(), blocking, other).await
}

async fn process_on(ports: Ports, blocking: Numbers, other: Numbers) -> Dtf {
    let config = DtfConfig { plugin_threads: 2, ..Embedded { jobs: 3 }.config() };
    let dtf = Dtf::builder(ports).config(config);
    let dtf = dtf.register_task_type(registration(KIND, "blocking", blocking)).unwrap();
    let dtf = dtf.register_task_type(registration(OTHER, "other", other)).unwrap().build().unwrap();
    dtf.start_all().await.unwrap();
    dtf
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn code_that_blocks_is_timed_out_keeps_its_slot_and_harms_no_other_task() {
    let door = Arc::<Door>::default();
    let at = door.clone();
    let mut blocking = Numbers::new(ok);
    blocking.on_start = Arc::new(move |_, _| at.wait());
    blocking.conf.subtask_timeout = Duration::from_millis(100);
    let other = Numbers::new(ok);
    let books: Books = other.books.clone();
    let ports = embedded::ports(Database::Memory).await.unwrap();
    let (coordination, cluster) = (ports.coordination.clone(), Embedded { jobs: 3 }.config().cluster);
    let dtf = process_on(ports, blocking, other).await;
    let stuck = dtf.client().create_task(KIND, count(2)).await.unwrap();
    until("two calls are stuck", || stuck_calls() == 2).await;
    // Everybody learns of it.
    let workers = async || {
        dtf_http::workers(coordination.clone(), &cluster, Some(dtf.client())).await.unwrap().remove(0)
    };
    let told = async || loop {
        let worker = workers().await;
        if worker.stuck_count == 2 {
            break worker;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let told = tokio::time::timeout(AGES, told()).await.unwrap();
    assert!(told.stuck[0].call.contains(&format!("task {}", stuck.id())), "{told:?}");
    assert_eq!(told.slots.map(|slots| slots.total), Some(3));
    // They are counted at once, and the task ends, whatever the code does.
    let row = tokio::time::timeout(AGES, stuck.wait()).await.unwrap().unwrap();
    assert_eq!((row.status, row.counts.timed_out), (TaskStatus::Completed, 2));
    // The third slot works for the others.
    let task = dtf.client().create_task(OTHER, count(500)).await.unwrap();
    let row = tokio::time::timeout(AGES, task.wait()).await.unwrap().unwrap();
    assert_eq!((row.status, row.counts.succeeded), (TaskStatus::Completed, 500));
    assert_eq!(books.lock().unwrap().len(), 500);
    assert_eq!(stuck_calls(), 2);
    door.open();
    until("they have come back", || stuck_calls() == 0).await;
    dtf.stop().await;
}

/// Three tasks whose calls block their threads in a role, and one that others are to get on with meanwhile.
async fn blocks_only_its_own_tasks(role: Role, block: impl Fn(&mut Numbers, Arc<common::OnCall>)) {
    let (door, blocked) = (Arc::<Door>::default(), Arc::<AtomicUsize>::default());
    let (at, count_blocked) = (door.clone(), blocked.clone());
    let mut blocking = Numbers::new(ok);
    block(
        &mut blocking,
        Arc::new(move || {
            count_blocked.fetch_add(1, Ordering::SeqCst);
            at.wait();
        }),
    );
    let dtf = process(blocking, Numbers::new(ok)).await;
    let parts = role.parts(&Embedded { jobs: 3 }.config().shape) as usize;
    let held = dtf.member(role).await.unwrap().held();
    until("it holds everything", || held.borrow().len() == parts).await;
    let held = held.borrow().clone();
    let mut stuck = Vec::new();
    for _ in 0..3 {
        stuck.push(dtf.client().create_task(KIND, count(1)).await.unwrap());
    }
    until("three calls block", || blocked.load(Ordering::SeqCst) == 3).await;
    let task = dtf.client().create_task(OTHER, count(500)).await.unwrap();
    let row = tokio::time::timeout(AGES, task.wait()).await.unwrap().unwrap();
    assert_eq!((row.status, row.counts.succeeded), (TaskStatus::Completed, 500));
    // The session lives, and nothing was taken up anew.
    assert_eq!(*dtf.member(role).await.unwrap().held().borrow(), held);
    for task in &stuck {
        assert!(!task.status().await.unwrap().row.status.is_terminal());
    }
    door.open();
    for task in &stuck {
        let row = tokio::time::timeout(AGES, task.wait()).await.unwrap().unwrap();
        assert_eq!((row.status, row.counts.succeeded), (TaskStatus::Completed, 1));
    }
    dtf.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_generator_that_blocks_its_thread_harms_no_other_task() {
    blocks_only_its_own_tasks(Role::Generator, |plugin, block| plugin.on_batch = block).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_blocks_its_thread_harms_no_other_task() {
    blocks_only_its_own_tasks(Role::Collector, |plugin, block| plugin.on_result = block).await;
}
