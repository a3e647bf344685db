//! Parcels whose subtasks are executed at once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dtf::model::plugin::{ExecuteError, MAX_PARCEL_WORK, OnLostSession};
use dtf::model::{ShardKey, TaskParam, TaskStatus};
use lrmf_core::MemoryStore;
use lrmf_core::memory::Outage;

use crate::common::{KIND, Numbers, Stage, count, ok};

const SLOTS: usize = 4;

/// Subtasks that wait for so long each, in parcels that are as large as that allows.
fn waiting(takes: Duration) -> Numbers {
    let mut plugin = Numbers { takes, at_once: usize::MAX, ..Numbers::new(ok) };
    plugin.conf.parcel_work = MAX_PARCEL_WORK;
    plugin
}

/// Counts those that run, and the most that ran at once.
fn counting(plugin: &mut Numbers) -> Arc<AtomicUsize> {
    struct Running(Arc<AtomicUsize>);
    impl Drop for Running {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
    let (running, most) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let noted = most.clone();
    plugin.during = Arc::new(move |_, _| {
        noted.fetch_max(running.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        Box::new(Running(running.clone()))
    });
    most
}

#[tokio::test(start_paused = true)]
async fn subtasks_of_a_parcel_are_executed_at_once_and_counted_once() {
    let stage = Stage::new();
    let mut plugin = waiting(Duration::from_millis(50));
    let (most, books) = (counting(&mut plugin), plugin.books.clone());
    let dtf = stage.process_with_slots("a", plugin, SLOTS);
    dtf.start_all().await.unwrap();
    let row = dtf.client().create_task(KIND, count(5000)).await.unwrap().wait().await.unwrap();
    assert_eq!((row.status, row.counts.succeeded, row.counts.created), (TaskStatus::Completed, 5000, 5000));
    assert!(books.lock().unwrap().values().all(|told| told.len() == 1));
    assert!(most.load(Ordering::Relaxed) > 10 * SLOTS, "{most:?} ran at once");
    dtf.stop().await;
}

/// Those with an ordered key, and those of an executor that does not say so, come one after the other.
#[tokio::test(start_paused = true)]
async fn other_parcels_are_executed_one_by_one() {
    let keyed = Numbers {
        key: |number| Some(ShardKey::new((number % 3).to_string()).ordered()),
        ..waiting(Duration::from_millis(5))
    };
    let single = Numbers { at_once: 1, ..waiting(Duration::from_millis(5)) };
    for mut plugin in [keyed, single] {
        let stage = Stage::new();
        let most = counting(&mut plugin);
        let dtf = stage.process_with_slots("a", plugin, SLOTS);
        dtf.start_all().await.unwrap();
        let row = dtf.client().create_task(KIND, count(300)).await.unwrap().wait().await.unwrap();
        assert_eq!((row.counts.succeeded, row.counts.created), (300, 300));
        assert!(most.load(Ordering::Relaxed) <= SLOTS, "{most:?} ran at once");
        dtf.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_takes_long_keeps_no_neighbour_waiting() {
    let stage = Stage::new();
    // By then parcels are large.
    let mut plugin =
        Numbers { slow: Some((1900, Duration::from_secs(200))), ..waiting(Duration::from_millis(50)) };
    plugin.execute = Arc::new(|number, context| match number % 10 {
        3 if context.attempt == 0 => Err(anyhow::anyhow!("not yet").into()),
        5 => Err(ExecuteError::final_error(anyhow::anyhow!("no"))),
        _ => ok(number, context),
    });
    let books = plugin.books.clone();
    let dtf = stage.process_with_slots("a", plugin, SLOTS);
    dtf.start_all().await.unwrap();
    let task = dtf.client().create_task(KIND, count(2000)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let progress = task.status().await.unwrap().progress();
    assert_eq!(progress.succeeded + progress.failed, 1999, "{progress:?}");
    let row = task.wait().await.unwrap();
    assert_eq!((row.counts.succeeded, row.counts.failed), (1800, 200));
    assert!(books.lock().unwrap().values().all(|told| told.len() == 1));
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn cancelling_reaches_all_of_them_and_a_pause_begins_no_more() {
    let stage = Stage::new();
    let mut plugin = waiting(Duration::from_millis(50));
    plugin.sleeps = |number| number >= 1000;
    let most = counting(&mut plugin);
    let dtf = stage.process_with_slots("a", plugin, SLOTS);
    dtf.start_all().await.unwrap();
    let task = dtf.client().create_task(KIND, count(2000)).await.unwrap();
    let running = async || task.status().await.unwrap().progress().running;
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(running().await > SLOTS as u64, "{most:?}");
    task.pause().await.unwrap();
    tokio::time::sleep(Duration::from_secs(20)).await;
    let paused = running().await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(running().await, paused, "what runs goes on, and nothing begins");
    task.cancel().await.unwrap();
    let row = task.wait().await.unwrap();
    assert_eq!((row.status, row.counts.counted()), (TaskStatus::Cancelled, row.counts.created));
    dtf.stop().await;
}

/// A lost session: what runs comes to its end and counts, unless its type forbids that.
#[tokio::test(start_paused = true)]
async fn they_outlive_a_lost_session_unless_their_type_forbids_it() {
    for choice in [OnLostSession::Finish, OnLostSession::Stop] {
        let coordination = Arc::new(MemoryStore::new());
        let mut stage = Stage::new();
        stage.ports.coordination = coordination.clone();
        let mut plugin = waiting(Duration::from_millis(50));
        // By then parcels are large, and the last ones take an hour.
        plugin.conf.on_lost_session = choice;
        let begun: Arc<Mutex<BTreeMap<u64, usize>>> = Arc::default();
        let noted = begun.clone();
        plugin.on_start = Arc::new(move |number, _| *noted.lock().unwrap().entry(number).or_default() += 1);
        plugin.sleeps = |number| number >= 1000;
        plugin.conf.subtask_timeout = Duration::from_secs(7200);
        let (broken_off, books) = (plugin.broken_off.clone(), plugin.books.clone());
        let dtf = stage.process_with_slots("a", plugin, SLOTS);
        dtf.start_all().await.unwrap();
        let patient = TaskParam { timeout: Duration::from_secs(360_000), ..count(1100) };
        let task = dtf.client().create_task(KIND, patient).await.unwrap();
        while task.status().await.unwrap().progress().succeeded < 1000 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        coordination.set_outage(Some(Outage::Unreachable));
        tokio::time::sleep(Duration::from_secs(25)).await;
        coordination.set_outage(None);
        let row = task.wait().await.unwrap();
        assert_eq!((row.counts.created, row.counts.succeeded), (1100, 1100));
        assert!(books.lock().unwrap().values().all(|told| told.len() == 1));
        let again = begun.lock().unwrap().values().filter(|times| **times > 1).count();
        let stopped = broken_off.lock().unwrap().len();
        match choice {
            OnLostSession::Stop => assert!(stopped > 0 && again > 0, "{stopped} {again}"),
            OnLostSession::Finish => assert_eq!(stopped, 0, "{again} ran again"),
        }
        dtf.stop().await;
    }
}
