// Jobs on BullMQ: `node main.mjs WORKLOAD JOBS REDIS_PORT` prints one JSON object.
//
// A worker is one thread, so each core has a worker process of its own. Completed jobs are removed, as its guide for
// production recommends; those of the latency are kept.

import { fork } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { Queue, QueueEvents, Worker } from 'bullmq';
import { Redis } from 'ioredis';

const CLIENTS = 64;
const BATCH = 1000;
const QUEUE = 'bench';

const [workload, count, port] = process.argv.slice(2);
const connect = () => new Redis({ host: '127.0.0.1', port: Number(port), maxRetriesPerRequest: null });
const jobs = Number(count);
const body = (job) => ({ body: String(job).padStart(64, '0') });
const sleep = (millis) => new Promise((resolve) => setTimeout(resolve, millis));
const cpuMicros = () => { const { user, system } = process.cpuUsage(); return user + system; };
const print = (figures) => console.log(JSON.stringify(figures));

/** The life of a worker process: it tells its parent how many jobs were recorded as completed, and the time it used. */
async function work(concurrency, millis) {
  const worker = new Worker(QUEUE, () => (millis > 0 ? sleep(millis) : undefined), { connection: connect(), concurrency });
  let completed = 0;
  worker.on('completed', () => { completed += 1; });
  await worker.waitUntilReady();
  setInterval(() => process.send({ completed, cpu: cpuMicros() }), 10);
}

async function startWorkers(concurrency, millis) {
  const processes = availableParallelism();
  const states = [];
  for (let number = 0; number < processes; number += 1) {
    const child = fork(process.argv[1], ['worker', String(Math.ceil(concurrency / processes)), port, String(millis)]);
    const state = { child, completed: 0, cpu: 0 };
    await new Promise((resolve) => child.on('message', (message) => { Object.assign(state, message); resolve(); }));
    states.push(state);
  }
  const sum = (of) => states.reduce((total, state) => total + state[of], 0);
  return { completed: () => sum('completed'), cpu: () => sum('cpu'), kill: () => states.forEach(({ child }) => child.kill()) };
}

/** Measures from the first job added until the last one is recorded as completed. */
async function throughput(concurrency, millis, add) {
  const workers = await startWorkers(concurrency, millis);
  const queue = new Queue(QUEUE, { connection: connect(), defaultJobOptions: { removeOnComplete: true } });
  await queue.waitUntilReady();
  const begin = performance.now();
  const cpu = cpuMicros() + workers.cpu();
  await add(queue);
  while (workers.completed() < jobs) await sleep(5);
  const seconds = (performance.now() - begin) / 1000;
  await sleep(30); // the last report of the workers' time
  const used = cpuMicros() + workers.cpu() - cpu;
  workers.kill();
  print({ jobs_per_s: jobs / seconds, client_us_per_job: used / jobs });
}

async function addBatches(queue) {
  for (let begin = 0; begin < jobs; begin += BATCH) {
    const size = Math.min(BATCH, jobs - begin);
    await queue.addBulk(Array.from({ length: size }, (_, at) => ({ name: 'job', data: body(begin + at) })));
  }
}

async function addSingly(queue) {
  let next = 0;
  const client = async () => { while (next < jobs) { next += 1; await queue.add('job', body(next)); } };
  await Promise.all(Array.from({ length: CLIENTS }, client));
}

/** Measures from adding a job until the event of its recorded completion, one job after the other. */
async function latency() {
  const workers = await startWorkers(10, 0);
  const queue = new Queue(QUEUE, { connection: connect() });
  const events = new QueueEvents(QUEUE, { connection: connect() });
  await events.waitUntilReady();
  const times = [];
  for (let number = 0; number < jobs; number += 1) {
    const begin = performance.now();
    const job = await queue.add('job', body(number));
    await job.waitUntilFinished(events);
    times.push(performance.now() - begin);
  }
  workers.kill();
  times.sort((a, b) => a - b);
  print({ p50_ms: times[Math.floor(jobs / 2)], p99_ms: times[Math.floor(jobs * 0.99)] });
}

const workloads = {
  worker: () => work(jobs, Number(process.argv[5])),
  noop: () => throughput(100, 0, addBatches),
  single: () => throughput(100, 0, addSingly),
  wait: () => throughput(1024, 30, addBatches),
  latency,
  waiting: async () => { await addBatches(new Queue(QUEUE, { connection: connect() })); print({ jobs }); },
};

if (!(workload in workloads)) throw new Error('usage: main.mjs noop|wait|single|latency|waiting JOBS REDIS_PORT');
await workloads[workload]();
if (workload !== 'worker') process.exit(0);
