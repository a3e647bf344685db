// What people do, with scripts, judged through the API: pages show what happens without being loaded again.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, open } from "../lib/browser.mjs";
import { Server, until } from "../lib/server.mjs";

let server, browser, page;

before(async () => {
  [server, browser] = await Promise.all([Server.start(), launch()]);
  page = await open(browser, server);
});

after(async () => {
  await browser?.close();
  await server?.stop();
  assert.deepEqual(page?.troubles, []);
});

const press = (name) => page.getByRole("button", { name, exact: true }).first().click();
/** Waits until the task's page, as it is open, shows a status. */
const is = (status) => until(`${page.url()} to show that it is ${status}`, async () => (await page.locator("main .status").first().innerText()) === status);
/** Waits until the page, as it is open, shows a text. */
const shows = (text) => until(`${page.url()} to show ${text}`, async () => text.test(await page.locator("main").innerText()));

test("a task is cancelled, and its page follows", async () => {
  const id = await server.task({ count: 500, sleep_ms: 900_000 }, { name: "long", timeout_ms: 86_400_000 });
  await page.goto(`/tasks/${id}`);
  await is("running");
  await press("Pause");
  await server.seen(id, ({ status }) => status === "paused", "paused");
  await is("paused");
  await press("Resume");
  await server.seen(id, ({ status }) => status === "running", "running");
  await page.getByRole("button", { name: "Cancel" }).click();
  const { progress } = await server.seen(id, ({ status }) => status === "cancelled", "cancelled");
  assert.equal(progress.cancelled, 500);
  await is("cancelled");
  assert.equal(await page.getByRole("button", { name: "Cancel" }).count(), 0);
});

test("the failures of many tasks are retried at once", async () => {
  const ids = await Promise.all([1, 2, 3].map((n) => server.task({ count: 4, failure_rate: 1 }, { name: `shop ${n}` })));
  for (const id of ids) await server.seen(id, ({ finished_at }) => finished_at, "ended");
  await page.goto("/tasks?name_prefix=shop");
  await page.getByLabel("action").selectOption("retry");
  await press("Count first");
  await page.getByRole("button", { name: /these 3 tasks/ }).click();
  await shows(/Applied to 3 of 3 tasks/);
  const { tasks } = await server.get("/v1/tasks?name_prefix=shop");
  assert.deepEqual(tasks.map(({ retry_of }) => retry_of).filter(Boolean).sort(), ids.sort());
});

test("a number that is not the counted one any more does nothing", async () => {
  const one = { count: 1, sleep_ms: 900_000 };
  const ids = [await server.task(one, { name: "queue 1" }), await server.task(one, { name: "queue 2" })];
  await page.goto("/tasks?name_prefix=queue");
  await page.getByLabel("action").selectOption("cancel");
  await press("Count first");
  ids.push(await server.task(one, { name: "queue 3" }));
  await page.getByRole("button", { name: /these 2 tasks/ }).click();
  await page.getByRole("alert").waitFor();
  for (const id of ids) assert.equal((await server.get(`/v1/tasks/${id}`)).control, "run");
  // That answer is an error, and its console says so.
  page.troubles = page.troubles.filter((one) => !one.includes("409"));
});

test("a quota is changed", async () => {
  await server.call("PUT", "/v1/groups/reports", { quota: 5 });
  await page.goto("/groups");
  await page.getByLabel("Quota of reports").fill("50");
  await page.getByRole("row", { name: /reports/ }).getByRole("button").click();
  await until("a quota of 50", async () => (await server.get("/v1/groups/reports")).quota === 50);
  await shows(/reports\s+50/);
  await page.getByLabel("Quota of reports").fill("0");
  await page.getByRole("row", { name: /reports/ }).getByRole("button").click();
  assert.equal((await server.get("/v1/groups/reports")).quota, 50);
});

test("a process is drained, and comes back", async () => {
  await page.goto("/workers");
  await press("Drain");
  const drained = async () => (await server.get("/v1/workers")).every(({ roles }) => roles.every((role) => role.drained));
  await until("a drained process", drained);
  await shows(/drained/);
  await page.getByRole("button", { name: "Undrain" }).click();
  await until("a process that is not drained", async () => !(await drained()));
});

test("a schedule is paused and triggered", async () => {
  await server.call("POST", "/v1/schedules", { name: "nightly", when: "30 2 * * *", task: { type: "noop", param: { count: 1 } } });
  await page.goto("/schedules/nightly");
  await press("Pause");
  await until("a pause", async () => (await server.get("/v1/schedules/nightly")).paused);
  await shows(/None while it is paused/);
  await press("Resume");
  await until("its end", async () => !(await server.get("/v1/schedules/nightly")).paused);
  await press("Trigger now");
  const { history } = await until("a task", async () => {
    const schedule = await server.get("/v1/schedules/nightly");
    return schedule.history.length > 0 && schedule;
  });
  assert.equal(history[0].cause, "trigger");
  await page.waitForURL(new RegExp(`/tasks/${history[0].task}$`));
  await is("completed");
  await page.goto("/schedules/nightly");
  await page.getByRole("link", { name: String(history[0].task), exact: true }).click();
});

test("a flow is watched to its end, and retried", async () => {
  const tasks = {
    first: { type: "noop", param: { count: 1, sleep_ms: 1500, failure_rate: 1 } },
    then: { type: "noop", param: { count: 1 }, after: ["first"] },
    alarm: { type: "noop", param: { count: 1 }, after: [{ task: "first", when: "failed" }] },
  };
  const { id } = await server.call("POST", "/v1/flows", { name: "fails", tasks });
  await page.goto(`/flows/${id}`);
  const states = () => page.locator("svg.graph text.state").allTextContents();
  assert.deepEqual((await states()).sort(), ["running", "waiting", "waiting"]);
  await until("the graph to show the end", async () => (await states()).sort().join() === "completed,failed,skipped");
  await page.getByRole("button", { name: /^Retry/ }).click();
  await page.waitForURL((url) => !url.pathname.endsWith(`/${id}`));
  assert.equal((await server.get(`/v1${new URL(page.url()).pathname}`)).retry_of, id);
  assert.equal(await page.getByRole("link", { name: `flow ${id}` }).count(), 1);
});

test("the pages of a task and of a flow follow by events", async () => {
  // Without their timers, so that nothing is fetched but when events say so.
  const still = await open(browser, server);
  await still.route(/\/(tasks|flows)\/\d+$/, async (route) => {
    const response = await route.fetch();
    const body = await response.text();
    assert.ok(!body.includes("data-events") || body.includes("changed, every 5s"));
    await route.fulfill({ response, body: body.replace("changed, every 5s", "changed") });
  });
  const slow = { count: 1, sleep_ms: 2500 };
  const id = await server.task(slow, { name: "followed" });
  const tasks = { one: { type: "noop", param: slow }, two: { type: "noop", param: { count: 1 }, after: ["one"] } };
  const flow = (await server.call("POST", "/v1/flows", { name: "followed", tasks })).id;
  for (const [path, end] of [[`/tasks/${id}`, /^completed$/m], [`/flows/${flow}`, /^2\s+completed$/m]]) {
    await still.goto(path);
    await until(`${path} to show the end`, async () => end.test(await still.locator("main").innerText()));
    assert.equal(await still.locator("#live[data-events]").count(), 0);
  }
  assert.deepEqual(still.troubles, []);
  await still.context().close();
});

test("charts show what was recorded, in the colours of the page", async () => {
  const id = await server.task({ count: 100_000, sleep_ms: 100 }, { name: "charted", timeout_ms: 86_400_000 });
  for (const [path, count] of [["/", 3], ["/groups/default", 2], ["/groups", 1]]) {
    await page.goto(path);
    await until(`${count} charts at ${path}`, async () => (await page.locator(".chart canvas").count()) === count);
    assert.equal(await page.locator(".chart.empty").count(), 0);
  }
  assert.match(await page.locator(".chart").innerText(), /default/);
  const { succeeded } = await server.get("/v1/history");
  assert.ok(succeeded.some((rate) => rate > 0), JSON.stringify(succeeded));
  await server.call("POST", `/v1/tasks/${id}/cancel`);
});

test("text of users is text", async () => {
  const name = '<img src=x onerror="document.title=1"> & "quoted" \u202e';
  const id = await server.task({ count: 1 }, { name, description: name });
  for (const path of [`/tasks/${id}`, "/tasks", "/", "/audit"]) {
    // The overview is as new as the last look at all tasks.
    await until(`the text on ${path}`, async () => {
      await page.goto(path);
      return /<img src=x onerror=/.test(await page.locator("main").innerText());
    });
    assert.equal(await page.locator("main img").count(), 0);
  }
});
