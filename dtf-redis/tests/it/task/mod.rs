//! A task whose queues tests work on, call by call.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dtf_model::plugin::SubtaskResult;
use dtf_model::queue::{
    CollectorQueue, Commit, ExecutorQueue, Fence, GeneratorQueue, Outcome, Parcel, ParcelReport, Push,
    QueueReader, Report, SchedulerQueue, TakeRequest, TaskControl,
};
use dtf_model::shard::{Capacity, ProcessCredit, ShardQueue, Shipment, SupportedTypes};
use dtf_model::{Control, EmitEpoch, RunEpoch, Seq, Shard, TaskId, TaskParam, TaskSpec, TaskTypeId};
use dtf_redis::{Redis, RedisQueues, RedisShards};
use lrmf_core::Token;
use uuid::Uuid;

pub(crate) const TASK: TaskId = TaskId(77);
pub(crate) const RUN: RunEpoch = RunEpoch(1);
pub(crate) const FENCE: Fence = Fence { task: TASK, run: RUN, token: Token(5) };

pub(crate) fn spec() -> TaskSpec {
    TaskSpec {
        id: TASK,
        request: Uuid::from_u128(77),
        run: RUN,
        task_type: TaskTypeId(1),
        param: Arc::new(TaskParam::default()),
    }
}

pub(crate) fn push(epoch: EmitEpoch, first: u64, count: usize, size: usize) -> Push {
    Push {
        epoch,
        first: Seq(first),
        parcels: vec![1; count],
        keys: Vec::new(),
        bodies: vec![Bytes::from(vec![b'x'; size]); count],
        saved: Some(Bytes::from_static(b"saved")),
        progress: None,
        finished: false,
    }
}

pub(crate) fn offer(window: u32) -> Capacity {
    Capacity { window, kinds: SupportedTypes::all(), credit: ProcessCredit { process: 1, window } }
}

pub(crate) fn success(parcel: &Parcel) -> ParcelReport {
    let reports = parcel.bodies.iter().map(|_| Report::Ended(Outcome::Succeeded(SubtaskResult::new("done"))));
    ParcelReport {
        parcel: parcel.id,
        attempt: parcel.attempt,
        executor_losses: parcel.executor_losses,
        reports: reports.collect(),
        together: 1,
        busy: Duration::ZERO,
    }
}

/// A task with so many subtasks, and the epoch of its generator.
pub(crate) async fn task_with(queues: &RedisQueues, count: usize) -> EmitEpoch {
    queues.open(&spec()).await.unwrap();
    let epoch = queues.load_generator(FENCE).await.unwrap().epoch;
    queues.push(FENCE, push(epoch, 0, count, 10)).await.unwrap();
    epoch
}

/// A store of which no server may use more than 6 MB takes no more when it is full; the tasks that it has go on and make room.
/// `maxmemory` changes how much its servers may use.
pub(crate) async fn a_full_store_takes_no_more(redis: Redis, maxmemory: impl AsyncFn(&'static str)) {
    let (queues, shards) = (RedisQueues::new(redis.clone()), RedisShards::new(redis));
    let epoch = task_with(&queues, 0).await;
    let mut pushed = 0;
    let full = loop {
        match queues.push(FENCE, push(epoch, pushed, 100, 1000)).await {
            Ok(_) => pushed += 100,
            Err(error) => break error,
        }
        assert!(pushed < 10_000, "6 MB hold 10 MB");
    };
    assert!(full.is_retryable() && full.is_definitely_not_applied(), "{full}");
    assert_eq!(queues.state(TASK).await.unwrap().unwrap().counts.created, pushed);
    // From here on it is certainly full, however much its buffers take.
    maxmemory("1mb").await;
    let another = TaskSpec { id: TaskId(78), ..spec() };
    assert!(queues.open(&another).await.unwrap_err().is_retryable());
    // Roles take it up, it is steered, and work goes on and makes room.
    queues.set_control(TASK, RUN, Control::Pause).await.unwrap();
    queues.set_control(TASK, RUN, Control::Run).await.unwrap();
    queues.load_scheduler(FENCE).await.unwrap();
    let epoch = queues.load_generator(FENCE).await.unwrap().epoch;
    let collector = queues.load_collector(FENCE).await.unwrap();
    shards.hold(Shard(0), Token(1), &offer(1)).await.unwrap();
    let mut offset = 0;
    while let Some((_, parcel)) =
        queues.take(FENCE, &TakeRequest::of(&[Shard(0)], 1), u64::MAX).await.unwrap().parcels.pop()
    {
        let shipment = Shipment { task: TASK, run: RUN, parcel: parcel.clone() };
        assert_eq!(shards.ship(Shard(0), std::slice::from_ref(&shipment)).await.unwrap(), 1);
        assert_eq!(shards.claim(Shard(0), Token(1), &offer(1), &[], 1).await.unwrap().len(), 1);
        shards.acknowledge(Shard(0), Token(1), &[shipment.id()]).await.unwrap();
        assert_eq!(queues.complete(TASK, RUN, success(&parcel)).await.unwrap().counted, 1);
        let (epoch, first) = (collector.epoch, collector.next);
        let commit = Commit { epoch, offset, batches: 1, first, ..Commit::default() };
        queues.commit(FENCE, commit).await.unwrap();
        offset += 1;
    }
    let state = queues.state(TASK).await.unwrap().unwrap();
    assert_eq!((state.counts.succeeded, state.collected, state.running), (pushed, pushed, 0));
    maxmemory("6mb").await;
    queues.push(FENCE, push(epoch, pushed, 100, 1000)).await.unwrap();
}
