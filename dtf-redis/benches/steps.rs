//! The number of subtasks a second that go through push, take, complete, peek and commit, and the memory of a pending one.
//!
//! `cargo bench -p dtf-redis` starts servers of its own on this machine and prints a line for each setting. One client calls,
//! with the completes of a round together, as executors would.

#![allow(clippy::unwrap_used, reason = "a benchmark that fails has no result")]

#[path = "../tests/it/server/mod.rs"]
mod server;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use dtf_model::plugin::SubtaskResult;
use dtf_model::queue::{
    CollectorQueue, Commit, ExecutorQueue, Fence, GeneratorQueue, Outcome, Parcel, ParcelReport, Push,
    Report, SchedulerQueue, TakeRequest, TaskControl,
};
use dtf_model::{RunEpoch, Seq, Shard, TaskId, TaskParam, TaskSpec, TaskTypeId};
use dtf_redis::{Redis, RedisConfig, RedisQueues};
use futures::future::join_all;
use lrmf_core::Token;
use server::Server;
use uuid::Uuid;

const BODY: usize = 64;
const SPAN: Duration = Duration::from_secs(3);
/// Parcels a round.
const ROUND: usize = 64;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    for (name, arguments) in [("no AOF", &["--appendonly", "no"][..]), ("AOF everysec", &[][..])] {
        for size in [1, 16, 100] {
            let server = Server::with(arguments);
            let queues = RedisQueues::new(Redis::connect(patient(&server)).await.unwrap());
            let before = info(&server, "used_cpu_user:").await + info(&server, "used_cpu_sys:").await;
            let (subtasks, span) = steps(&queues, size).await;
            let cpu = info(&server, "used_cpu_user:").await + info(&server, "used_cpu_sys:").await - before;
            let (rate, micros) = (subtasks / span.as_secs_f64(), cpu * 1e6 / (subtasks / size as f64));
            println!(
                "{name}, parcels of {size}: {rate:.0} subtasks/s; the server takes {micros:.1} us of CPU a parcel"
            );
        }
    }
    for size in [1, 16, 100] {
        let server = Server::start();
        let redis = Redis::connect(patient(&server)).await.unwrap();
        let bytes = pending(&redis, &server, size).await;
        println!("pending in parcels of {size}: {BODY} + {:.1} bytes a subtask", bytes - BODY as f64);
    }
}

fn patient(server: &Server) -> RedisConfig {
    RedisConfig { url: server.config().url, ..RedisConfig::default() }
}

fn spec(task: u64) -> TaskSpec {
    let param = Arc::new(TaskParam::default());
    TaskSpec { id: TaskId(task), request: Uuid::nil(), run: RunEpoch(1), task_type: TaskTypeId(1), param }
}

fn batch(first: Seq, parcels: usize, size: usize) -> Push {
    Push {
        epoch: dtf_model::EmitEpoch(0),
        first,
        parcels: vec![size; parcels],
        keys: Vec::new(),
        bodies: (0..parcels * size).map(|_| Bytes::from(vec![b'x'; BODY])).collect(),
        saved: Some(Bytes::from_static(b"checkpoint")),
        progress: None,
        finished: false,
    }
}

fn report(parcel: &Parcel) -> ParcelReport {
    let reports =
        parcel.bodies.iter().map(|body| Report::Ended(Outcome::Succeeded(SubtaskResult::new(body.clone()))));
    let busy = Duration::from_micros(10);
    let (attempt, executor_losses) = (parcel.attempt, parcel.executor_losses);
    ParcelReport {
        parcel: parcel.id,
        attempt,
        executor_losses,
        reports: reports.collect(),
        together: 1,
        busy,
    }
}

/// Measures the number of subtasks that went through, and the time.
async fn steps(queues: &RedisQueues, size: usize) -> (f64, Duration) {
    let fence = Fence { task: TaskId(1), run: RunEpoch(1), token: Token(1) };
    queues.open(&spec(1)).await.unwrap();
    let generator = queues.load_generator(fence).await.unwrap();
    let collector = queues.load_collector(fence).await.unwrap();
    let (mut next, mut offset) = (Seq(0), 0);
    let started = Instant::now();
    while started.elapsed() < SPAN {
        let push = Push { epoch: generator.epoch, ..batch(next, ROUND, size) };
        next = next.plus((ROUND * size) as u64);
        queues.push(fence, push).await.unwrap();
        let taken = queues.take(fence, &TakeRequest::of(&[Shard(0); ROUND], 1), u64::MAX).await.unwrap();
        let reports =
            taken.parcels.iter().map(|(_, parcel)| queues.complete(fence.task, fence.run, report(parcel)));
        for reported in join_all(reports).await {
            assert_eq!(reported.unwrap().counted, size as u64);
        }
        let batches = queues.peek(fence, offset, ROUND).await.unwrap().len() as u64;
        let commit =
            Commit { epoch: collector.epoch, offset, batches, first: collector.next, ..Commit::default() };
        queues.commit(fence, commit).await.unwrap();
        offset += batches;
    }
    (next.0 as f64, started.elapsed())
}

async fn pending(redis: &Redis, server: &Server, size: usize) -> f64 {
    const SUBTASKS: usize = 200_000;
    let queues = RedisQueues::new(redis.clone());
    let fence = Fence { task: TaskId(1), run: RunEpoch(1), token: Token(1) };
    queues.open(&spec(1)).await.unwrap();
    let epoch = queues.load_generator(fence).await.unwrap().epoch;
    let before = info(server, "used_memory_dataset:").await;
    let mut next = Seq(0);
    while next.0 < SUBTASKS as u64 {
        let push = Push { epoch, ..batch(next, 4000 / size, size) };
        next = next.plus(push.bodies.len() as u64);
        queues.push(fence, push).await.unwrap();
    }
    (info(server, "used_memory_dataset:").await - before) / next.0 as f64
}

/// A number that the server says of itself.
async fn info(server: &Server, field: &str) -> f64 {
    let client = redis::Client::open(server.config().url).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let info: String = redis::cmd("INFO").query_async(&mut connection).await.unwrap();
    info.lines().find_map(|line| line.strip_prefix(field)).unwrap().parse().unwrap()
}
