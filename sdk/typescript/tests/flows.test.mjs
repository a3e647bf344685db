// Tests of flows, schedules and unique keys that need no gateway: `node --test tests/`.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Client, FlowBuilder } from "../src/index.js";

test("a flow is written as the API takes it", () => {
  const flow = new FlowBuilder("nightly");
  const one = flow.map("one", "square", [1, 2], { sink: "keep", group: "reports" });
  const two = flow.task("two", "noop", { count: one.result("/succeeded") }, { after: [one], priority: 9000 });
  flow.task("three", "noop", undefined, { after: ["one", two.ended, two.failed] });
  const { name, tasks } = JSON.parse(JSON.stringify(flow));
  assert.equal(name, "nightly");
  const param = { source: { list: [1, 2] }, function: { worker: "square" }, sink: "keep", attempts: 3, timeout_ms: 300_000 };
  assert.deepEqual(tasks.one, { type: "map", param, group: "reports" });
  const after = [{ task: "one", when: "completed" }];
  assert.deepEqual(tasks.two, { type: "noop", param: { count: { $result: "/succeeded", of: "one" } }, after, priority: 9000 });
  const waits = [{ task: "one", when: "completed" }, { task: "two", when: "ended" }, { task: "two", when: "failed" }];
  assert.deepEqual(tasks.three, { type: "noop", param: null, after: waits });
});

test("what cannot be a flow is refused where it is written", () => {
  const flow = new FlowBuilder();
  const one = flow.task("one", "noop");
  assert.throws(() => flow.task("one", "noop"), /in the flow twice/);
  assert.throws(() => flow.task("two", "noop", null, { after: ["three"] }), /"three", which is not in the flow yet; earlier tasks: one/);
  assert.throws(() => flow.task("two", "noop", null, { after: ["two"] }), /"two", which is not in the flow yet/);
  assert.throws(() => one.result("succeeded"), /no JSON pointer/);
  assert.deepEqual(Object.keys(flow.toJSON().tasks), ["one"]);
});

test("a schedule has a task or a flow", async () => {
  const { schedules } = new Client();
  await assert.rejects(schedules.create("n", "@daily", {}), /no task and no flow/);
  await assert.rejects(schedules.create("n", "@daily", { task: { type: "noop" }, flow: new FlowBuilder() }), /a task and a flow/);
});
