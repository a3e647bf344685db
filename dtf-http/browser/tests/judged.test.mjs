// Actions on servers, judged in the database and in etcd: neither in the page that they were asked for on, nor through the API.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, open } from "../lib/browser.mjs";
import { keys, rows } from "../lib/judge.mjs";
import { Server, until } from "../lib/server.mjs";

let server, browser, page;

before(async () => {
  if (!process.env.STAGE) throw new Error("STAGE names no program: these tests are of servers; dtf-http/browser/test --servers runs them");
  [server, browser] = await Promise.all([Server.start("--tokens"), launch()]);
  page = await open(browser, server);
  await page.goto("/login");
  await page.getByLabel("token", { exact: false }).first().fill(server.token);
  await press("Sign in");
  await page.getByRole("heading", { name: "Overview" }).waitFor();
});

after(async () => {
  await browser?.close();
  await server?.stop();
  assert.deepEqual(page?.troubles, []);
});

const press = (name) => page.getByRole("button", { name, exact: true }).first().click();
/** Waits until a query has exactly these rows. */
const says = (sql, expected) =>
  until(`${JSON.stringify(expected)} of ${sql}`, () => JSON.stringify(rows(server, sql)) === JSON.stringify(expected));
/** Creates a task on its page, and returns its id as the database has it. */
async function create(name, param) {
  await page.goto("/tasks/new?type=noop");
  await page.getByLabel("parameters").fill(JSON.stringify(param));
  await page.getByLabel("name", { exact: true }).fill(name);
  await press("Create");
  await page.waitForURL(/\/tasks\/\d+$/);
  return Number(rows(server, `SELECT id FROM tbl_task WHERE name = '${name}'`)[0][0]);
}
/** The entries of the audit about a target, in the order of time: action, outcome, the name of the actor's token. */
const audit = (target) =>
  rows(server, `SELECT action, outcome, SUBSTRING_INDEX(actor, ' (', 1) FROM tbl_audit WHERE target = '${target}' ORDER BY id`);
const DONE = "1";

test("a task is cancelled", async () => {
  const id = await create("to be cancelled", { count: 3, sleep_ms: 900_000 });
  await says(`SELECT control FROM tbl_task WHERE id = ${id}`, [["0"]]);
  assert.deepEqual(audit(`task ${id}`), [["task.create", DONE, "the test"]]);
  await press("Cancel");
  // Cancelled (4), with all that was counted.
  await says(`SELECT task_status, created_count = cancelled_count, finish_time IS NULL FROM tbl_task WHERE id = ${id}`, [["4", "1", "0"]]);
  assert.deepEqual(audit(`task ${id}`).map(([action]) => action), ["task.create", "task.cancel"]);
});

test("the failures of many tasks are retried", async () => {
  const ids = [];
  for (const n of [1, 2, 3]) ids.push(await create(`fails ${n}`, { count: 2, failure_rate: 1 }));
  await says("SELECT COUNT(*) FROM tbl_task WHERE name LIKE 'fails%' AND finish_time IS NOT NULL", [["3"]]);
  await page.goto("/tasks?name_prefix=fails");
  await page.getByLabel("action").selectOption("retry");
  await press("Count first");
  assert.deepEqual(rows(server, "SELECT COUNT(*) FROM tbl_bulk"), [["0"]], "counting writes nothing");
  await page.getByRole("button", { name: /these 3 tasks/ }).click();
  await says("SELECT retry_of FROM tbl_task WHERE retry_of IS NOT NULL ORDER BY retry_of", ids.map((id) => [`${id}`]));
  await says("SELECT JSON_VALUE(state, '$.applied'), until_time FROM tbl_bulk", [["3", null]]);
  for (const id of ids) assert.deepEqual(audit(`task ${id}`).at(-1), ["task.retry", DONE, "the test"]);
});

test("the quota of a group is changed", async () => {
  await page.goto("/groups");
  await page.getByLabel("name", { exact: true }).fill("nightly");
  await page.getByLabel("quota", { exact: true }).fill("7");
  await press("Make");
  const quota = "SELECT quota FROM tbl_resource_group WHERE name = 'nightly'";
  await says(quota, [["7"]]);
  await page.getByLabel("Quota of nightly").fill("70");
  await page.getByRole("row", { name: /nightly/ }).getByRole("button").click();
  await says(quota, [["70"]]);
  await says("SELECT action, outcome, detail FROM tbl_audit WHERE target = 'group nightly' ORDER BY id", [
    ["group.set", DONE, "quota 7"],
    ["group.set", DONE, "quota 70"],
  ]);
});

test("a process is drained, and has work again", async () => {
  const drained = async () => (await keys(server, "/lrmf/dtf/")).filter((key) => key.includes("/control/drain"));
  assert.deepEqual(await drained(), []);
  await page.goto("/workers");
  await press("Drain");
  await until("a record of each role", async () => (await drained()).length === 5);
  await until("a way back", () => page.getByRole("button", { name: "Undrain" }).first().isVisible());
  await press("Undrain");
  await until("no record", async () => (await drained()).length === 0);
  assert.deepEqual(audit("worker one").map(([action, outcome]) => [action, outcome]), [["worker.drain", DONE], ["worker.undrain", DONE]]);
});
