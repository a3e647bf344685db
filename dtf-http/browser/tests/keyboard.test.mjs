// By the keyboard alone: everything is reached, the focus is seen, and it stays where a page is fetched again.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, open } from "../lib/browser.mjs";
import { Server, until } from "../lib/server.mjs";
import { furnish, pages } from "../lib/stage.mjs";

let server, browser, page, ids;

before(async () => {
  [server, browser] = await Promise.all([Server.start(), launch()]);
  ids = await furnish(server);
  page = await open(browser, server);
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

/** Presses Tab until the element of a description has the focus. */
async function tabTo(what, has) {
  for (let steps = 0; steps < 300; steps++) {
    await page.keyboard.press("Tab");
    if (await page.evaluate(has)) return;
  }
  assert.fail(`${what} is not reached by Tab on ${page.url()}`);
}

/** Presses Tab until a button or a link with this text has the focus. */
async function tabToText(text) {
  for (let steps = 0; steps < 300; steps++) {
    await page.keyboard.press("Tab");
    if ((await page.evaluate(() => document.activeElement.textContent.trim())) === text) return;
  }
  assert.fail(`${text} is not reached by Tab on ${page.url()}`);
}

test("everything on every page is reached by Tab, in the order of the page, and is seen to be", async () => {
  // Without scripts no page changes meanwhile; what can be reached is the same.
  const still = await open(browser, server, { javaScriptEnabled: false });
  for (const path of Object.values(pages(ids))) {
    await still.goto(path);
    const wanted = await still.evaluate(() => {
      const all = "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']";
      const seen = [...document.querySelectorAll(all)].filter((one) => one.checkVisibility());
      seen.forEach((one, number) => one.setAttribute("data-number", number));
      return seen.length;
    });
    const order = [];
    // A date has a stop for each of its parts.
    for (let steps = 0; steps < wanted * 3 + 40 && order.length < wanted; steps++) {
      await still.keyboard.press("Tab");
      const at = await still.evaluate(() => {
        const element = document.activeElement;
        const { outlineStyle, outlineWidth } = getComputedStyle(element);
        return { number: element.getAttribute("data-number"), seen: outlineStyle !== "none" && parseFloat(outlineWidth) >= 1, html: element.outerHTML.slice(0, 100) };
      });
      if (at.number === null || order.includes(Number(at.number))) continue;
      assert.ok(at.seen, `${path}: no outline around ${at.html}`);
      order.push(Number(at.number));
    }
    assert.deepEqual(order, Array.from({ length: wanted }, (_, number) => number), `${path}: what Tab reaches`);
  }
  await still.context().close();
});

test("the first link skips to the content", async () => {
  await page.goto("/tasks");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  assert.ok(await page.evaluate(() => document.querySelector("main").contains(document.activeElement)));
});

test("a task is created and cancelled", async () => {
  await page.goto("/");
  await tabToText("Create a task");
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/tasks\/new/);
  await tabTo("the parameters", () => document.activeElement.name === "param");
  await page.keyboard.press("ControlOrMeta+a");
  await page.keyboard.type('{"count": 1, "sleep_ms": 900000}');
  await tabTo("the name", () => document.activeElement.name === "name");
  await page.keyboard.type("by keyboard");
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/tasks\/\d+$/);
  const id = Number(page.url().split("/").pop());
  assert.equal((await server.get(`/v1/tasks/${id}`)).name, "by keyboard");
  await tabToText("Cancel");
  await page.keyboard.press("Enter");
  await server.seen(id, ({ status }) => status === "cancelled", "cancelled");
});

test("the focus and the place in a table stay when a page is fetched again", async () => {
  await page.setViewportSize({ width: 360, height: 800 });
  for (const [path, selector] of [[`/tasks/${ids.running}`, "#cancel"], [`/flows/${ids.flow}`, "svg.graph a"], ["/", ".scroll a"]]) {
    await page.goto(path);
    const focus = page.locator(`#live ${selector}`).last();
    await focus.focus();
    const box = page.locator("#live .scroll").last();
    const scrolls = (await box.count()) > 0;
    if (scrolls) await box.evaluate((box) => (box.scrollLeft = 40));
    const href = await focus.getAttribute("href");
    await page.evaluate(() => document.querySelector("#live").setAttribute("data-old", ""));
    await until(`${path} to be fetched again`, () => page.evaluate(() => document.querySelector("#live[data-old]") === null));
    const now = await page.evaluate(() => ({ id: document.activeElement.id, href: document.activeElement.getAttribute("href") }));
    assert.ok(href ? now.href === href : `#${now.id}` === selector, `${path}: the focus is at ${JSON.stringify(now)}, and was at ${href ?? selector}`);
    if (scrolls) assert.equal(await box.evaluate((box) => box.scrollLeft), 40, path);
  }
});

test("what is chosen stays chosen when a page is fetched again", async () => {
  await page.goto("/tasks");
  const box = page.getByLabel(`Choose task ${ids.running}`);
  await tabTo("a task to choose", () => document.activeElement.type === "checkbox");
  await box.focus();
  await page.keyboard.press("Space");
  await page.evaluate(() => document.querySelector("#live").setAttribute("data-old", ""));
  await until("the tasks to be fetched again", () => page.evaluate(() => document.querySelector("#live[data-old]") === null));
  assert.ok(await box.isChecked());
  assert.equal(await page.locator("input[type=checkbox]:checked").count(), 1);
  assert.ok(await box.evaluate((box) => document.activeElement === box), "it keeps the focus");
});

test("what cannot be undone asks first", async () => {
  await page.goto("/schedules/paused");
  await tabToText("Delete this schedule");
  await page.keyboard.press("Enter");
  await tabToText("Delete paused");
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/schedules$/);
  const { schedules } = await server.get("/v1/schedules");
  assert.deepEqual(schedules.map(({ name }) => name), ["nightly import", "reports of the hour €"]);
  assert.deepEqual(page.troubles, []);
});
