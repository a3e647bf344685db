// The worker and the client of the scenarios: `worker.mjs worker`, `client` or `flow`, with the URL in DTF_URL.
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { ApiError, Client, FinalError, FlowBuilder, Worker } from "../src/index.js";

const urls = (process.env.DTF_URL ?? "").split(",");

async function work() {
  const worker = new Worker(urls, { name: process.env.DTF_NAME, version: "test" });
  worker.function("echo", (item) => item);
  worker.function("noop", () => {});
  worker.function("square", (item) => item * item);
  worker.function("large", (item) => "é".repeat(item));
  worker.function("flaky", async (_, { attempt, task, key }) => {
    if (attempt === 0) throw new Error("not at the first attempt");
    return [task > 0, attempt, key.length > 0];
  });
  worker.function("sleep", async (item, { signal }) => {
    console.log("begun");
    try {
      await sleep(item * 1000, undefined, { signal });
    } catch (error) {
      console.log("cancelled");
      throw error;
    }
    return "slept";
  });
  worker.function("steps", async (item, { progress, log, signal }) => {
    for (let step = 0; step < 200; step++) {
      progress(step / 200, `step ${step} ✓`);
      await sleep(5);
    }
    progress(1.5);
    log("✓".repeat(300));
    await sleep(item * 1000, undefined, { signal });
    return "done";
  });
  worker.function("hang", () => new Promise(() => {}), { timeout: 0.4 });
  worker.function("mixed", (item) => (item === "hang" ? new Promise(() => {}) : item), { timeout: 2 });
  worker.function("poison", (item) => { throw new FinalError(`poison ${item}`); });
  worker.function("raise", async (item) => { throw new TypeError(`bad ${item}`); }, { retries: 1 });
  worker.function("unencodable", () => ({ result: 10n }));
  worker.function("crash", () => process.kill(process.pid, "SIGKILL"));
  await worker.run({ concurrency: Number(process.env.DTF_CONCURRENCY ?? 8) });
  console.log("drained");
}

async function all(generator) {
  const values = [];
  for await (const value of generator) values.push(value);
  return values;
}

async function code(promise) {
  try {
    await promise;
    return "no error";
  } catch (error) {
    return error instanceof ApiError ? error.code : String(error);
  }
}

// Goes through the client once, and prints what it saw as JSON.
async function client() {
  const dtf = new Client(urls);
  const task = await dtf.map("square", [1, 2, 3], { sink: "keep", name: "ünïcode ✓", attempts: 2 });
  const last = (await all(dtf.watch(task.id))).at(-1);
  const seen = { id: task.id, name: last.name, status: last.status, succeeded: last.progress.succeeded };
  seen.results = (await all(dtf.results(task.id, { page: 2 }))).sort();
  seen.result = (await dtf.result(task.id)) !== null;
  const bad = await dtf.wait((await dtf.map("poison", ["ä", "b", "c"])).id);
  seen.failed = bad.progress.failed;
  seen.failures = (await all(dtf.failures(bad.id, { page: 2 }))).map(({ error }) => error);
  seen.retried = (await dtf.wait((await dtf.retry(bad.id)).id)).progress.failed;
  const slow = await dtf.map("sleep", [60, 60]);
  seen.paused = (await dtf.pause(slow.id)).status;
  seen.resumed = (await dtf.resume(slow.id)).status;
  await dtf.cancel(slow.id);
  seen.cancelled = (await dtf.wait(slow.id)).status;
  const queue = await dtf.map("square", "items", { sink: "keep" });
  const five = [0, 1, 2, 3, 4];
  seen.fed = await dtf.feed(queue.id, five, { producer: "pröducer", batch: 2 });
  seen.fed_again = await dtf.feed(queue.id, five, { producer: "pröducer", offset: 0 });
  seen.fed_on = await dtf.feed(queue.id, [5], { producer: "pröducer" });
  await dtf.closeTask(queue.id);
  seen.closed = (await dtf.wait(queue.id)).status;
  seen.squares = (await all(dtf.results(queue.id))).sort((a, b) => a - b);
  seen.late = await code(dtf.feed(queue.id, [6]));
  seen.error = await code(dtf.get(999_999));
  seen.invalid = await code(dtf.create("map", { source: 7 }));
  console.log(JSON.stringify(seen));
}

function states({ tasks }) {
  return Object.fromEntries(tasks.map(({ flow_task, status }) => [flow_task, status]));
}

// Goes through flows, schedules and unique keys once, and prints what it saw as JSON.
async function flow() {
  const dtf = new Client(urls);
  const flow = new FlowBuilder("ünïcode ✓");
  const good = flow.map("good", "square", [1, 2, 3]);
  flow.map("next", "square", { list: [good.result("/succeeded")] }, { after: [good], sink: "keep" });
  const bad = flow.map("bad", "poison", ["ä", "b"]);
  const never = flow.map("never", "square", [1], { after: ["good", bad] });
  flow.map("alarm", "square", [1], { after: [bad.failed] });
  flow.map("clean", "square", [1], { after: [bad.ended, never.ended] });
  const ended = (await all(dtf.flows.watch((await dtf.flows.create(flow)).id))).at(-1);
  const seen = { states: states(ended), counts: ended.counts, completed: ended.counts.completed === ended.counts.tasks };
  seen.result = await all(dtf.results(ended.tasks.find(({ flow_task }) => flow_task === "next").id));
  seen.listed = (await all(dtf.flows.list())).some(({ id }) => id === ended.id);
  const again = await dtf.flows.wait((await dtf.flows.retry(ended.id)).id);
  seen.retried = states(again);
  seen.retry_of = again.retry_of === ended.id;
  const slow = new FlowBuilder("slow");
  slow.map("behind", "square", [1], { after: [slow.map("slow", "sleep", [60, 60])] });
  const steered = await dtf.flows.create(slow);
  seen.paused = states(await dtf.flows.pause(steered.id)).slow;
  await dtf.flows.resume(steered.id);
  await dtf.flows.cancel(steered.id);
  seen.cancelled = states(await dtf.flows.wait(steered.id));
  await scheduled(dtf, seen);
  console.log(JSON.stringify(seen));
}

async function scheduled(dtf, seen) {
  const name = `jährlich ✓ ${process.env.DTF_NAME}`;
  const unique = { key: name };
  const { id } = await dtf.map("sleep", [60], { fields: { unique } });
  seen.unique = (await dtf.map("sleep", [60], { fields: { unique } })).id === id;
  await dtf.cancel(id);
  const wrong = new FlowBuilder("wrong");
  wrong.task("wrong", "no such type");
  seen.refused = await code(dtf.flows.create(wrong));
  const flow = new FlowBuilder();
  flow.map("one", "square", [1]);
  seen.schedule = (await dtf.schedules.create(name, "@yearly", { flow })).when;
  seen.schedule_listed = (await all(dtf.schedules.list())).some((schedule) => schedule.name === name);
  seen.schedule_paused = [(await dtf.schedules.pause(name)).paused, (await dtf.schedules.resume(name)).paused];
  seen.triggered = (await dtf.wait((await dtf.schedules.trigger(name)).id)).status;
  await dtf.schedules.delete(name);
  seen.deleted = await code(dtf.schedules.get(name));
}

await ({ client, flow }[process.argv[2]] ?? work)();
