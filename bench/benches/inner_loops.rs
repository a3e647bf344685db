//! The loops that everything else waits for: a plan of placement, the leader's step, a turn of the feedback queue, a
//! script's round trip.
//!
//! `cargo bench -p bench --bench inner_loops`. The codec of parcels is private: `cargo bench -p dtf-redis --bench codec`.

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark that fails has no result")]

#[path = "../src/leading.rs"]
#[allow(dead_code, reason = "the benchmarks of whole parts use the rest")]
mod leading;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use dtf::model::queue::{Fence, GeneratorQueue, SchedulerQueue, TakeRequest, TaskControl};
use dtf::model::shard::{Capacity, ProcessCredit, ShardQueue, SupportedTypes};
use dtf::model::{Priority, RunEpoch, Shard, TaskId, TaskParam, TaskSpec, TaskTypeId};
use dtf_redis::{Redis, RedisConfig, RedisQueues, RedisShards};
use dtf_scheduler::scheduler::policy::Policy;
use lrmf_core::assignor::{
    Assignor, Candidate, ConsistentHashing, MemberIx, Problem, StickyBalanced, StringOrderEvenly,
};
use lrmf_core::{InstanceId, Task, Timestamp, Token};
use test_servers::servers;

use leading::Led;

const TASKS: usize = 100_000;
const MEMBERS: usize = 1000;

fn planner(criterion: &mut Criterion) {
    let tasks: Vec<_> = (0..TASKS).map(|task| Task::new(format!("task-{task:06}"), "")).collect();
    let member = |member: usize| Candidate {
        instance: InstanceId::new(&format!("member-{member:04}")).unwrap(),
        capacity: 1,
        zone: None,
        load: None,
    };
    let members: Vec<_> = (0..=MEMBERS).map(member).collect();
    let nobody = vec![None; TASKS];
    let mut group = criterion.benchmark_group("planner, 100,000 tasks on 1,000 members");
    let assignors: [&dyn Assignor; 3] = [&StickyBalanced, &ConsistentHashing::default(), &StringOrderEvenly];
    for assignor in assignors {
        let full = Problem { tasks: &tasks, members: &members[..MEMBERS], holders: &nobody };
        group.bench_function(format!("{}, all anew", assignor.name()), |bencher| {
            bencher.iter(|| assignor.plan(black_box(&full)).unwrap());
        });
        let mut holders: Vec<Option<MemberIx>> = nobody.clone();
        for placement in assignor.plan(&full).unwrap() {
            holders[placement.task as usize] = Some(placement.to);
        }
        let join = Problem { tasks: &tasks, members: &members, holders: &holders };
        group.bench_function(format!("{}, one member more", assignor.name()), |bencher| {
            bencher.iter(|| assignor.plan(black_box(&join)).unwrap());
        });
    }
    group.finish();
}

/// One member more, then one less: what comes of that in the leader, its plan, its records and its transactions.
fn leader_step(criterion: &mut Criterion) {
    let mut led = Led::new(TASKS, MEMBERS).unwrap();
    criterion.bench_function(
        "the leader's step, a member of 1,000 joins and is lost, 100,000 tasks",
        |bencher| {
            bencher.iter(|| (led.join(MEMBERS).unwrap(), led.lose(MEMBERS).unwrap()));
        },
    );
}

fn feedback_queue(criterion: &mut Criterion) {
    let groups: Vec<Arc<str>> = (0..4).map(|group| format!("group-{group}").into()).collect();
    let mut policy = Policy::default();
    let mut now = Timestamp::default();
    for task in 0..10_000 {
        let priority = Priority([2000, 6000, 9000][task % 3]);
        policy.add(TaskId(task as u64), &groups[task % groups.len()], priority);
        policy.pending(TaskId(task as u64), now);
    }
    criterion.bench_function("feedback queue, a turn among 10,000 tasks", |bencher| {
        bencher.iter(|| {
            now = Timestamp(now.0 + Duration::from_millis(1));
            let task = policy.next(now).unwrap();
            policy.charge(task, 1_000_000);
            task
        });
    });
    criterion.bench_function("feedback queue, a task falls quiet and comes back among 10,000", |bencher| {
        let mut task = 0;
        bencher.iter(|| {
            task = (task + 7919) % 10_000;
            policy.quiet(TaskId(task), now);
            policy.pending(TaskId(task), now);
        });
    });
}

fn script_round_trip(criterion: &mut Criterion) {
    let server = servers::Redis::private().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let config = RedisConfig { url: server.url(), ..RedisConfig::default() };
    let redis = runtime.block_on(Redis::connect(config)).unwrap();
    let (queues, shards) = (RedisQueues::new(redis.clone()), RedisShards::new(redis));
    let (task, run) = (TaskId(1), RunEpoch(1));
    let spec = TaskSpec {
        id: task,
        request: uuid::Uuid::nil(),
        run,
        task_type: TaskTypeId(1),
        param: Arc::new(TaskParam::default()),
    };
    let fence = Fence { task, run, token: Token(1) };
    runtime.block_on(queues.open(&spec)).unwrap();
    runtime.block_on(queues.load_scheduler(fence)).unwrap();
    criterion.bench_function("script round trip, the backlog of a task", |bencher| {
        bencher.iter(|| runtime.block_on(queues.backlog(task, run)).unwrap());
    });
    criterion.bench_function("script round trip, take from an empty task", |bencher| {
        bencher.iter(|| runtime.block_on(queues.take(fence, &TakeRequest::of(&[Shard(0)], 1), 1)).unwrap());
    });
    criterion.bench_function("script round trip, claim from an empty shard", |bencher| {
        let offer = Capacity {
            window: 4,
            kinds: SupportedTypes::all(),
            credit: ProcessCredit { process: 1, window: 4 },
        };
        runtime.block_on(shards.hold(Shard(0), Token(1), &offer)).unwrap();
        let claim = || runtime.block_on(shards.claim(Shard(0), Token(1), &offer, &[], 4)).unwrap();
        bencher.iter_batched(|| (), |()| claim(), BatchSize::SmallInput);
    });
}

criterion_group!(inner_loops, planner, leader_step, feedback_queue, script_round_trip);
criterion_main!(inner_loops);
