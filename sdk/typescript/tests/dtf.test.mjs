// Tests of what needs no gateway: `node --test tests/`.
import assert from "node:assert/strict";
import { test } from "node:test";
import { ApiError, Client, ConnectionError, FinalError, Worker } from "../src/index.js";
import { Backoff, checkUrls, read } from "../src/http.js";
import { Item } from "../src/item.js";

const given = { ticket: "t", function: "f", task: 7, key: "7-1-1", attempt: 0, timeout_ms: 5000, body: 1 };

function item({ attempt = 0, retries = Infinity, timeout = Infinity } = {}) {
  return new Item({ ...given, attempt }, { name: "f", call: () => {}, timeout, retries }, "s", 0);
}

function report(value, how = "succeed", options) {
  const one = item(options);
  one[how](value);
  return JSON.parse(one.report);
}

test("a result is JSON", () => {
  const one = item();
  one.succeed({ ключ: [1, null, "🦀"] });
  assert.equal(one.report, '{"ticket":"t","result":{"ключ":[1,null,"🦀"]}}');
  assert.equal(one.succeeded, true);
  assert.equal(report(undefined).result, null);
  assert.equal(report("\\ud800").result, "\\ud800");
});

test("what is no JSON is a final error", () => {
  const circle = {};
  circle.circle = circle;
  for (const value of [10n, () => {}, Symbol("s"), "\ud800", circle]) {
    const { error, retryable } = report(value);
    assert.match(error, /the result is no JSON/);
    assert.equal(retryable, false);
  }
});

test("a result has at most 1 MiB", () => {
  assert.equal(report("x".repeat(1024 * 1024 - 2)).error, undefined);
  assert.match(report("x".repeat(1024 * 1024 - 1)).error, /at most 1048576/);
});

test("an error is retryable unless it is final, or the retries are used up", () => {
  assert.deepEqual(report(new TypeError("bad"), "fail"), { ticket: "t", error: "TypeError: bad", retryable: true });
  assert.deepEqual(report(new FinalError("never"), "fail"), { ticket: "t", error: "never", retryable: false });
  const retryable = [0, 1, 2].map((attempt) => report(new Error("e"), "fail", { attempt, retries: 1 }).retryable);
  assert.deepEqual(retryable, [true, false, false]);
});

test("the shorter timeout counts", () => {
  assert.equal(item({ timeout: 1000 }).timeout, 1000);
  assert.equal(item({ timeout: 60_000 }).timeout, 5000);
});

test("a signal that is asked for late is aborted", () => {
  const one = item();
  one.cancel();
  assert.equal(one.signal.aborted, true);
});

test("arguments are checked", async () => {
  assert.deepEqual(checkUrls("http://a:1/"), ["http://a:1"]);
  for (const wrong of ["localhost:7070", "ftp://a", "http://", []]) assert.throws(() => new Client(wrong), TypeError);
  const worker = new Worker();
  await assert.rejects(worker.run(), /no function/);
  worker.function("one", () => {});
  assert.throws(() => worker.function("one", () => {}), /offered twice/);
  assert.throws(() => worker.function("two", () => {}, { timeout: 0 }), RangeError);
  assert.throws(() => worker.function("two", () => {}, { retries: -1 }), RangeError);
  await assert.rejects(worker.run({ concurrency: 0 }), /concurrency is 0/);
});

test("a problem is an error with a code, and garbage none", () => {
  const headers = { "Retry-After": "7" };
  const problem = JSON.stringify({ code: "too_many_attempts", detail: "d", status: 429 });
  const answer = () => read("http://a", new Response(null, { status: 429, headers }), problem);
  assert.throws(answer, (error) => error instanceof ApiError && error.code === "too_many_attempts" && error.isRetryable);
  assert.throws(() => read("http://a", new Response(null, { status: 200 }), "<html>"), ConnectionError);
  assert.ok(new Backoff().next(new ApiError("unavailable", "d", 503, 7)) >= 7000);
});

test("pauses grow to 5 seconds", () => {
  const backoff = new Backoff();
  const pauses = Array.from({ length: 2000 }, () => backoff.next());
  assert.ok(pauses[0] <= 50);
  assert.ok(pauses.slice(10).every((pause) => pause >= 1250 && pause <= 5000));
});
