//! What happens when the server forgets scripts, dies, hangs, is full, or is not fit.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::server::Server;
use crate::task::{FENCE, RUN, TASK, offer, push, spec, success, task_with};
use dtf_model::queue::{
    CollectorQueue, Commit, ExecutorQueue, GeneratorQueue, Push, QueueReader, SchedulerQueue, TakeRequest,
    TaskControl,
};
use dtf_model::shard::{ShardQueue, Shipment};
use dtf_model::wake::{Hint, Topic, WakeUp};
use dtf_model::{Counts, EmitEpoch, RunEpoch, Shard, StoreError, TaskId, TaskSpec};
use dtf_redis::{Redis, RedisConfig, RedisQueues, RedisShards, RedisWakeUp};
use dtf_testkit::until_answered;
use lrmf_core::Token;

/// Loses nothing that was acknowledged. With `everysec` even a killed server may lose the last seconds: it puts writes to the
/// file off while an earlier one is being synced.
const DURABLE: [&str; 2] = ["--appendfsync", "always"];
/// Far more than anything takes: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(120);

async fn keys(redis_url: &str) -> Vec<String> {
    let client = redis::Client::open(redis_url).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    redis::cmd("KEYS").arg("*").query_async(&mut connection).await.unwrap()
}

async fn command(redis_url: &str, words: &[&str]) {
    let client = redis::Client::open(redis_url).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    redis::cmd(words[0]).arg(&words[1..]).exec_async(&mut connection).await.unwrap();
}

#[tokio::test]
async fn forgotten_scripts_are_loaded_again() {
    let server = Server::start();
    let queues = RedisQueues::new(server.connect().await);
    task_with(&queues, 20).await;
    for counted in 1..=20 {
        command(&server.config().url, &["SCRIPT", "FLUSH"]).await;
        let parcel =
            queues.take(FENCE, &TakeRequest::of(&[Shard(0)], 1), u64::MAX).await.unwrap().parcels.remove(0).1;
        command(&server.config().url, &["SCRIPT", "FLUSH"]).await;
        assert_eq!(queues.complete(TASK, RUN, success(&parcel)).await.unwrap().counted, 1);
        assert_eq!(queues.state(TASK).await.unwrap().unwrap().counts.counted(), counted);
    }
}

#[tokio::test]
async fn a_killed_server_fails_calls_at_once_and_comes_back_with_everything() {
    let mut server = Server::with(&DURABLE);
    let redis = server.connect().await;
    let (queues, shards) = (RedisQueues::new(redis.clone()), RedisShards::new(redis));
    task_with(&queues, 10).await;
    let taken = queues.take(FENCE, &TakeRequest::of(&[Shard(1), Shard(1)], 1), u64::MAX).await.unwrap();
    let parcel = taken.parcels[0].1.clone();
    queues.complete(TASK, RUN, success(&parcel)).await.unwrap();
    shards.hold(Shard(1), Token(3), &offer(4)).await.unwrap();
    let shipment = Shipment { task: TASK, run: RUN, parcel: taken.parcels[1].1.clone() };
    shards.ship(Shard(1), std::slice::from_ref(&shipment)).await.unwrap();
    let before = queues.state(TASK).await.unwrap();

    server.kill();
    let mut refused = 0;
    for _ in 0..10 {
        let started = Instant::now();
        let error = queues.push(FENCE, push(EmitEpoch(1), 10, 1, 10)).await.unwrap_err();
        assert!(error.is_retryable(), "{error}");
        assert!(started.elapsed() < PATIENCE);
        refused += u32::from(error.is_definitely_not_applied());
    }
    assert!(refused >= 8, "a server that is not there was reached {} times", 10 - refused);

    server.restart();
    assert_eq!(until_answered(|| queues.state(TASK)).await, before);
    let load = until_answered(|| queues.load_scheduler(FENCE)).await;
    let running = load.running.iter().map(|running| (running.id, running.shard)).collect::<Vec<_>>();
    assert_eq!(running, [(shipment.parcel.id, Shard(1))]);
    assert_eq!(until_answered(|| shards.contents(Shard(1))).await, [shipment.id()]);
    // What may have been applied is sent again and has its effect once.
    assert_eq!(queues.complete(TASK, RUN, success(&parcel)).await.unwrap().counted, 0);
    let claimed = shards.claim(Shard(1), Token(3), &offer(4), &[], 9).await.unwrap();
    assert_eq!(claimed, [shipment]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_counts_once_across_kills() {
    const SUBTASKS: usize = 3000;
    let mut server = Server::with(&DURABLE);
    let queues = Arc::new(RedisQueues::new(server.connect().await));
    let epoch = task_with(&queues, SUBTASKS).await;
    queues.push(FENCE, Push { finished: true, ..push(epoch, SUBTASKS as u64, 0, 0) }).await.unwrap();
    let worker = tokio::spawn({
        let queues = queues.clone();
        async move {
            loop {
                // The reply to a take may be lost, and the parcels with it: whoever takes a task up finds them.
                let load = until_answered(|| queues.load_scheduler(FENCE)).await;
                let lost: Vec<_> = load.running.iter().map(|running| running.id).collect();
                until_answered(|| queues.put_back(FENCE, &lost, Duration::ZERO)).await;
                let Ok(taken) = queues.take(FENCE, &TakeRequest::of(&[Shard(0); 3], 1), u64::MAX).await
                else {
                    continue;
                };
                if taken.parcels.is_empty() {
                    return;
                }
                for (_, parcel) in taken.parcels {
                    until_answered(|| queues.complete(TASK, RUN, success(&parcel))).await;
                }
            }
        }
    });
    let collector = tokio::spawn({
        let queues = queues.clone();
        async move {
            let load = until_answered(|| queues.load_collector(FENCE)).await;
            let (mut offset, mut seen) = (load.offset, HashSet::new());
            while seen.len() < SUBTASKS {
                let batches = until_answered(|| queues.peek(FENCE, offset, 5)).await;
                for (seq, _) in batches.iter().flat_map(|batch| &batch.results) {
                    assert!(seen.insert(*seq), "{seq} was collected twice");
                }
                if batches.is_empty() {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                    continue;
                }
                let (epoch, batches, first) = (load.epoch, batches.len() as u64, load.next);
                let commit = Commit { epoch, offset, batches, first, ..Commit::default() };
                until_answered(|| queues.commit(FENCE, commit.clone())).await;
                offset += batches;
            }
        }
    });
    for kill in 1..=4 {
        let counted = async || until_answered(|| queues.state(TASK)).await.unwrap().counts.counted();
        while counted().await < kill * SUBTASKS as u64 / 5 {}
        server.kill();
        server.restart();
    }
    worker.await.unwrap();
    collector.await.unwrap();
    let state = until_answered(|| queues.state(TASK)).await.unwrap();
    let all = SUBTASKS as u64;
    assert_eq!(state.counts, Counts { created: all, succeeded: all, ..Counts::default() });
    assert!(state.is_complete());
}

#[tokio::test]
async fn a_server_that_hangs_leaves_the_outcome_unknown_in_bounded_time() {
    let mut server = Server::start();
    let epoch = task_with(&RedisQueues::new(server.connect().await), 1).await;
    let config = RedisConfig { response_timeout: Duration::from_millis(500), ..server.config() };
    let hasty = until_answered(|| Redis::connect(config.clone())).await;
    let queues = RedisQueues::new(hasty);
    until_answered(|| queues.state(TASK)).await;
    server.stop();
    let late = tokio::time::timeout(PATIENCE, queues.push(FENCE, push(epoch, 1, 1, 10))).await.unwrap();
    assert!(matches!(late, Err(StoreError::Unknown { .. })), "{late:?}");
    server.cont();
    // It was applied, and is not applied again.
    assert_eq!(until_answered(|| queues.push(FENCE, push(epoch, 1, 1, 10))).await.waiting, 2);
}

#[tokio::test]
async fn a_full_server_takes_no_more_and_everything_else_goes_on() {
    let server = Server::with(&["--maxmemory", "6mb"]);
    let url = server.config().url;
    crate::task::a_full_store_takes_no_more(server.connect().await, async |bytes| {
        command(&url, &["CONFIG", "SET", "maxmemory", bytes]).await;
    })
    .await;
}

#[tokio::test]
async fn nothing_is_left_of_a_purged_task() {
    let server = Server::start();
    let queues = RedisQueues::new(server.connect().await);
    let epoch = task_with(&queues, 5).await;
    let long = Push { parcels: vec![200_000, 3], ..push(epoch, 5, 200_003, 0) };
    queues.push(FENCE, long).await.unwrap();
    let taken = queues.take(FENCE, &TakeRequest::of(&[Shard(0); 7], 1), u64::MAX).await.unwrap().parcels;
    queues.put_back(FENCE, &[taken[6].1.id], Duration::from_secs(60)).await.unwrap();
    for (_, parcel) in &taken[1..6] {
        queues.complete(TASK, RUN, success(parcel)).await.unwrap();
    }
    // A late success leaves a mark until its parcel comes round again.
    queues.complete(TASK, RUN, success(&taken[6].1)).await.unwrap();
    assert!(keys(&server.config().url).await.len() > 9);
    queues.purge(TASK, RUN).await.unwrap();
    assert_eq!(keys(&server.config().url).await, Vec::<String>::new());
    // Nor of one that was run again.
    task_with(&queues, 5).await;
    queues.open(&TaskSpec { run: RunEpoch(2), ..spec() }).await.unwrap();
    assert_eq!(keys(&server.config().url).await.len(), 2, "what it is, and how it stands");
}

#[tokio::test]
async fn no_epoch_is_drawn_again_by_a_server_that_forgot() {
    let server = Server::start();
    let queues = RedisQueues::new(server.connect().await);
    let mut drawn = HashSet::new();
    for _ in 0..20 {
        queues.open(&spec()).await.unwrap();
        assert!(drawn.insert(queues.load_generator(FENCE).await.unwrap().epoch));
        assert!(drawn.insert(queues.load_collector(FENCE).await.unwrap().epoch));
        command(&server.config().url, &["FLUSHALL"]).await;
        let forgotten = queues.backlog(TASK, RUN).await;
        assert!(matches!(forgotten, Err(StoreError::Gone { .. })), "{forgotten:?}");
    }
}

#[tokio::test]
async fn after_a_lost_connection_listeners_look_at_everything() {
    let mut server = Server::start();
    let redis = server.connect().await;
    let [here, there] = [(); 2].map(|()| RedisWakeUp::start(redis.clone()));
    let topic = Topic::Shard(3);
    let mut listener = there.listen(topic);
    // The subscription stands.
    assert_eq!(tokio::time::timeout(PATIENCE, listener.next()).await, Ok(Hint::Anything));
    server.kill();
    here.notify(topic, TaskId(1)); // lost
    server.restart();
    assert_eq!(tokio::time::timeout(PATIENCE, listener.next()).await, Ok(Hint::Anything));
    let until = Instant::now() + PATIENCE;
    loop {
        here.notify(topic, TaskId(2));
        match tokio::time::timeout(Duration::from_millis(100), listener.next()).await {
            Ok(Hint::Tasks(tasks)) if tasks == [TaskId(2)] => break,
            _ => assert!(Instant::now() < until, "nothing is heard any more"),
        }
    }
}

#[tokio::test]
async fn a_server_that_is_not_fit_or_not_there_is_refused() {
    let evicting = Server::with(&["--maxmemory-policy", "allkeys-lru"]);
    let refused = Redis::connect(evicting.config()).await.unwrap_err();
    assert!(matches!(refused, StoreError::Refused { .. }), "{refused}");
    assert!(refused.to_string().contains("noeviction"), "{refused}");

    let guarded = Server::start();
    command(&guarded.config().url, &["CONFIG", "SET", "requirepass", "right"]).await;
    let url = guarded.config().url.replace("redis://", "redis://:secret@");
    let refused = Redis::connect(RedisConfig { url, ..guarded.config() }).await.unwrap_err();
    assert!(!refused.to_string().contains("secret"), "{refused}");
    assert!(!refused.is_retryable(), "{refused}");

    let mut gone = Server::start();
    gone.kill();
    let started = Instant::now();
    let refused = Redis::connect(gone.config()).await.unwrap_err();
    assert!(matches!(refused, StoreError::Unreachable { .. }), "{refused}");
    assert!(started.elapsed() < PATIENCE);
}

#[tokio::test]
async fn a_stored_format_of_a_newer_version_is_refused() {
    let server = Server::start();
    let shards = RedisShards::new(server.connect().await);
    shards.hold(Shard(1), Token(1), &offer(4)).await.unwrap();
    command(&server.config().url, &["RPUSH", "dtf.shard.ready.{1}", "1:1:1:0:0"]).await;
    command(&server.config().url, &["HSET", "dtf.shard.shipped.{1}", "1:1:1:0:0", "\u{3}later"]).await;
    let refused = shards.claim(Shard(1), Token(1), &offer(4), &[], 1).await.unwrap_err();
    assert!(refused.to_string().contains("format 3"), "{refused}");
}

/// A task whose subtasks end in an order far from that of their numbers has a bitmap open for each 65,536 of them.
#[tokio::test]
async fn a_task_with_very_many_open_bitmaps_is_deleted() {
    const BITMAPS: usize = 20_000;
    let server = Server::start();
    let queues = RedisQueues::new(server.connect().await);
    task_with(&queues, 1).await;
    let client = redis::Client::open(server.config().url.as_str()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    for first in (0..BITMAPS).step_by(500) {
        let mut open = redis::pipe();
        for bitmap in first..first + 500 {
            open.hset(format!("dtf.task.chunks.{{{TASK}}}"), bitmap, 1).ignore();
            open.set(format!("dtf.task.done.{{{TASK}}}.{bitmap}"), "x").ignore();
        }
        open.exec_async(&mut connection).await.unwrap();
    }
    queues.purge(TASK, RUN).await.unwrap();
    let left = keys(&server.config().url).await;
    assert!(left.iter().all(|key| !key.starts_with("dtf.task.")), "{} are left", left.len());
}
