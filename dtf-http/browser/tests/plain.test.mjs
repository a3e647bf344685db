// Without JavaScript every action once, as a form, judged through the API.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { launch, open } from "../lib/browser.mjs";
import { routes } from "../lib/routes.mjs";
import { Server, until } from "../lib/server.mjs";

let server, browser, page;
const posted = new Set();

before(async () => {
  [server, browser] = await Promise.all([Server.start("--tokens"), launch()]);
  page = await open(browser, server, { javaScriptEnabled: false });
  page.on("request", (request) => request.method() === "POST" && posted.add(new URL(request.url()).pathname));
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

const press = (name) => page.getByRole("button", { name, exact: true }).first().click();
const fill = (label, value) => page.getByLabel(label, { exact: false }).first().fill(value);
const long = { count: 1, sleep_ms: 900_000 };

test("without a token the way in is shown, and a wrong one is refused", async () => {
  await page.goto("/tasks?status=running");
  await page.waitForURL(/\/login/);
  await fill("token", "dtf_wrong_wrong");
  await press("Sign in");
  assert.match(await page.getByRole("alert").innerText(), /token/);
  await fill("token", server.token);
  await press("Sign in");
  // Back to where it was asked for.
  await page.waitForURL(/\/tasks\?status=running$/);
});

test("a task is created, paused, resumed, cancelled, and retried", async () => {
  await page.goto("/tasks");
  await page.getByRole("link", { name: "Create a task" }).click();
  await fill("parameters", "{");
  await press("Create");
  assert.match(await page.getByRole("alert").innerText(), /not JSON/);
  await fill("parameters", JSON.stringify(long));
  await fill("name", "by hand");
  await press("Create");
  await page.waitForURL(/\/tasks\/\d+$/);
  const id = Number(page.url().split("/").pop());
  assert.equal((await server.get(`/v1/tasks/${id}`)).name, "by hand");
  await press("Pause");
  await server.seen(id, ({ control }) => control === "pause", "paused");
  await until("a button to resume it", async () => (await page.goto(`/tasks/${id}`), page.getByRole("button", { name: "Resume" }).isVisible()));
  await press("Resume");
  await server.seen(id, ({ control }) => control === "run", "resumed");
  await press("Cancel");
  await server.seen(id, ({ status }) => status === "cancelled", "cancelled");
  const failed = await server.task({ count: 3, failure_rate: 1 }, { name: "fails" });
  await server.seen(failed, ({ finished_at }) => finished_at, "ended");
  await page.goto(`/tasks/${failed}`);
  await press("Retry failed subtasks");
  await page.waitForURL((url) => /\/tasks\/\d+$/.test(url) && !url.pathname.endsWith(`/${failed}`));
  assert.equal((await server.get(`/v1${new URL(page.url()).pathname}`)).retry_of, failed);
});

test("the message of a hook is delivered again", async () => {
  let received = 0;
  const receiver = createServer((request, response) => {
    received++;
    request.resume().on("end", () => response.writeHead(204).end());
  });
  await new Promise((resolve) => receiver.listen(0, "127.0.0.1", resolve));
  try {
    const url = `http://127.0.0.1:${receiver.address().port}/`;
    const id = await server.task({ count: 1 }, { name: "with a hook", hooks: [{ url }] });
    await server.seen(id, ({ hooks }) => hooks[0].state === "delivered", "told of");
    assert.equal(received, 1);
    await page.goto(`/tasks/${id}`);
    await press("Deliver again");
    await until("a second message", () => received === 2);
  } finally {
    receiver.close();
  }
});

test("an action on many tasks is counted first", async () => {
  const ids = await Promise.all([1, 2, 3].map((n) => server.task(long, { name: `many ${n}` })));
  const other = await server.task(long, { name: "another" });
  await page.goto("/tasks");
  await fill("name begins with", "many");
  await press("Filter");
  await page.getByLabel("action").selectOption("cancel");
  await press("Count first");
  assert.match(await page.locator("main").innerText(), /selects 3 tasks/);
  assert.equal((await server.get(`/v1/tasks/${ids[0]}`)).control, "run");
  await page.locator("main form button").click();
  await page.waitForURL(/\/bulk\/[-0-9a-f]+$/);
  await until("its end", async () => {
    await page.reload();
    return /Applied to 3 of 3 tasks/.test(await page.locator("main").innerText());
  });
  for (const id of ids) await server.seen(id, ({ status }) => status === "cancelled", "cancelled");
  assert.equal((await server.get(`/v1/tasks/${other}`)).control, "run");
});

test("tasks are chosen one by one, and counted before anything is done", async () => {
  const [one, two, three] = await Promise.all([1, 2, 3].map((n) => server.task(long, { name: `chosen ${n}` })));
  await page.goto("/tasks?name_prefix=chosen");
  for (const id of [one, three]) await page.getByLabel(`Choose task ${id}`).check();
  await page.getByLabel("chosen tasks").selectOption("cancel");
  await press("Act on the chosen tasks");
  assert.match(await page.locator("main").innerText(), /You have chosen 2 tasks/);
  assert.equal((await server.get(`/v1/tasks/${one}`)).control, "run");
  await page.locator("main form button").click();
  await page.waitForURL(/\/bulk\/[-0-9a-f]+$/);
  for (const id of [one, three]) await server.seen(id, ({ status }) => status === "cancelled", "cancelled");
  assert.equal((await server.get(`/v1/tasks/${two}`)).control, "run");
});

test("a task is created by the form of its type", async () => {
  await server.call("PUT", "/v1/types/pictures", {
    schema: { required: ["below"], properties: { below: { type: "integer", description: "the limit" }, crop: { type: "boolean" }, kind: { enum: ["a", "b"] } } },
    template: { source: { range: { to: { $param: "/below" } } }, function: { worker: "nobody" }, sink: "count" },
  });
  await page.goto("/types");
  await page.getByRole("link", { name: "pictures", exact: true }).click();
  await fill("below: the limit", "7");
  await page.getByLabel("kind").selectOption({ label: '"b"' });
  await press("Create");
  await page.waitForURL(/\/tasks\/\d+$/);
  const [task] = (await server.get("/v1/tasks?type=pictures")).tasks;
  assert.deepEqual(task.param, { below: 7, kind: "b" });
});

test("a group is made, and its quota is changed", async () => {
  await page.goto("/groups");
  await page.getByLabel("name", { exact: true }).fill("new & shiny");
  await page.getByLabel("quota", { exact: true }).fill("7");
  await press("Make");
  assert.equal((await server.get("/v1/groups/new%20%26%20shiny")).quota, 7);
  await page.getByLabel("Quota of new & shiny").fill("70");
  await page.getByRole("row", { name: /new & shiny/ }).getByRole("button").click();
  await until("a quota of 70", async () => (await server.get("/v1/groups/new%20%26%20shiny")).quota === 70);
});

test("a group is limited, paused and resumed on its page", async () => {
  await page.goto("/groups");
  await page.getByRole("link", { name: "new & shiny" }).click();
  const group = () => server.get("/v1/groups/new%20%26%20shiny");
  await press("Pause the group");
  await until("a pause", async () => (await group()).paused);
  assert.match(await page.locator("main").innerText(), /It is paused/);
  await press("Resume the group");
  await until("its end", async () => !(await group()).paused);
  await page.getByLabel("most running").fill("3");
  await press("Set");
  await until("a limit", async () => (await group()).limits.running === 3);
  await page.getByLabel("most running").fill("");
  await press("Set");
  await until("no limit", async () => (await group()).limits.running === null);
  assert.equal((await group()).quota, 70);
});

test("a process is drained and comes back", async () => {
  for (const [button, drained] of [["Drain", true], ["Undrain", false]]) {
    await page.goto("/workers");
    await press(button);
    await until(`drained to be ${drained}`, async () => {
      const workers = await server.get("/v1/workers");
      return workers.every(({ roles }) => roles.every((role) => role.drained === drained));
    });
  }
});

test("a schedule is created, paused, resumed, triggered, backfilled and deleted", async () => {
  await page.goto("/schedules");
  await page.getByRole("link", { name: "Create a schedule" }).click();
  await fill("name", "by hand");
  await fill("when", "@every 1m");
  await fill("parameters", '{"count": 1}');
  await press("Create");
  await page.waitForURL(/\/schedules\/by%20hand$/);
  const seen = () => server.get("/v1/schedules/by%20hand");
  await press("Pause");
  await until("a pause", async () => (await seen()).paused);
  await press("Resume");
  await until("its end", async () => !(await seen()).paused);
  await press("Trigger now");
  await until("a triggered task", async () => (await seen()).history.some(({ cause }) => cause === "trigger"));
  const minute = (ago) => new Date(Date.now() - ago).toISOString().slice(0, 16);
  await page.goto("/schedules/by%20hand");
  await fill("from (UTC)", minute(300_000));
  await fill("until (UTC)", minute(120_000));
  await press("Backfill");
  const entries = await server.get("/v1/audit?target=schedule%20by%20hand");
  assert.ok(entries.entries.some(({ action }) => action === "schedule.backfill"), JSON.stringify(entries));
  await page.goto("/schedules/by%20hand");
  await page.getByText("Delete this schedule").click();
  await press("Delete by hand");
  await page.waitForURL(/\/schedules$/);
  assert.deepEqual((await server.get("/v1/schedules")).schedules, []);
});

test("a flow is paused, resumed, cancelled, and retried", async () => {
  const tasks = { one: { type: "noop", param: long }, two: { type: "noop", param: { count: 1 }, after: ["one"] } };
  const { id } = await server.call("POST", "/v1/flows", { name: "slow", tasks });
  const controls = async () => (await server.get(`/v1/flows/${id}`)).tasks.map(({ control }) => control);
  await page.goto(`/flows/${id}`);
  await press("Pause");
  await until("a pause", async () => (await controls()).includes("pause"));
  await press("Resume");
  await until("its end", async () => !(await controls()).includes("pause"));
  await press("Cancel");
  await until("its end", async () => (await server.get(`/v1/flows/${id}`)).counts.cancelled === 2);
  tasks.one.param = { count: 2, failure_rate: 1 };
  const failed = (await server.call("POST", "/v1/flows", { name: "fails", tasks })).id;
  await until("its end", async () => (await server.get(`/v1/flows/${failed}`)).counts.skipped === 1);
  await page.goto(`/flows/${failed}`);
  await press("Retry what failed and what was skipped behind it");
  await page.waitForURL((url) => /\/flows\/\d+$/.test(url) && !url.pathname.endsWith(`/${failed}`));
  assert.equal((await server.get(`/v1${new URL(page.url()).pathname}`)).retry_of, failed);
});

test("a token is made, shown once, and revoked", async () => {
  await page.goto("/tokens");
  await page.getByLabel("name", { exact: true }).fill("ada");
  await page.getByLabel("role").selectOption("operator");
  await press("Make");
  const secret = await page.locator(".notice pre").innerText();
  const asks = async () => (await fetch(`${server.url}/v1/tasks`, { headers: { Authorization: `Bearer ${secret}` } })).status;
  assert.equal(await asks(), 200);
  await page.goto("/tokens");
  assert.ok(!(await page.content()).includes(secret.split("_")[2]), "the secret is shown again");
  await page.getByRole("row", { name: /ada/ }).getByText("Revoke").first().click();
  await press("Revoke ada");
  await until("the token to be refused", async () => (await asks()) === 401);
});

test("a part is pinned and released, a role's work is frozen, and a process is evicted", async () => {
  const path = "/placement/collector";
  const placement = () => server.get(`/v1${path}`);
  const { part } = await until("a part that is held", async () => (await placement()).parts.find(({ state }) => state === "held"));
  const of = async () => (await placement()).parts.find((one) => one.part === part);
  await page.goto(path);
  await page.getByLabel("part").first().selectOption(part);
  await press("Pin");
  await until("a pin", async () => (await of()).pinned_to);
  await press(`Unpin ${part}`);
  await until("its end", async () => !(await of()).pinned_to);
  await press("Freeze");
  await until("a freeze", async () => (await placement()).frozen);
  assert.match(await page.locator("main").innerText(), /Parts stay where they are/);
  await press("Unfreeze");
  await until("its end", async () => !(await placement()).frozen);
  await page.getByText("Declare a part to be released").click();
  await page.getByLabel("part to release").selectOption(part);
  await press("Force release");
  await page.goto(path);
  await page.getByText("Evict a process").click();
  await press("Evict");
  // It stays away for the time to live of a session, so this comes last.
  await until("it to give its parts up", async () => (await of())?.state !== "held");
  const actions = (await server.get("/v1/audit?target=role%20collector")).entries.map(({ action }) => action);
  assert.deepEqual(actions, ["evict", "force_release", "unfreeze", "freeze", "unpin", "pin"].map((one) => `placement.${one}`));
});

test("whoever signs out is out", async () => {
  await page.goto("/login");
  await press("Sign out");
  await page.goto("/tasks");
  await page.waitForURL(/\/login/);
});

test("the actions that are tested are all that there are", async () => {
  const patterns = (await routes()).filter(({ method, isPage }) => method === "POST" && isPage).map(({ path }) => path);
  const missing = patterns.filter((path) => ![...posted].some((one) => new RegExp(`^${path.replace(/\{\w+\}/g, "[^/]+")}$`).test(one)));
  assert.deepEqual(missing, []);
  assert.deepEqual(page.troubles.filter((one) => !/40[0-9]|422/.test(one)), []);
});
