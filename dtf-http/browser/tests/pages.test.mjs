// Every page: no error in its console, nothing asked of other hosts, no serious finding of axe, nothing that overflows sideways; wide and
// at 360 px, light and dark.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { launch, open } from "../lib/browser.mjs";
import { routes } from "../lib/routes.mjs";
import { Server } from "../lib/server.mjs";
import { furnish, pages } from "../lib/stage.mjs";

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
let server, browser, paths;

before(async () => {
  [server, browser] = await Promise.all([Server.start(), launch()]);
  paths = pages(await furnish(server));
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

/** Returns the serious findings of axe, a line each. */
async function findings(page) {
  // The page's policy forbids scripts that are not the server's; the debugger may run some.
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  return violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ html }) => html.slice(0, 120)).join(" | ")}`);
}

/** Returns what is wider than the page, the outermost first. */
function overflow(page) {
  return page.evaluate(() => {
    const { scrollWidth, clientWidth } = document.documentElement;
    if (scrollWidth <= clientWidth) return [];
    const scrolls = (element) => element.closest(".scroll, pre") !== null;
    const wide = [...document.querySelectorAll("body *")].filter((one) => one.getBoundingClientRect().right > clientWidth + 0.5 && !scrolls(one));
    return [`the page is ${scrollWidth - clientWidth} px too wide`, ...wide.slice(0, 3).map((one) => one.outerHTML.slice(0, 120))];
  });
}

test("the pages that are tested are all that there are", async () => {
  const all = (await routes()).filter(({ method, isPage }) => method === "GET" && isPage).map(({ path }) => path);
  assert.deepEqual(Object.keys(paths).sort(), all.sort());
});

for (const [name, width, colorScheme] of [["wide", 1280, "light"], ["narrow", 360, "light"], ["dark", 1280, "dark"]]) {
  test(`every page is in order: ${name}`, async () => {
    const page = await open(browser, server, { viewport: { width, height: 800 }, colorScheme, reducedMotion: "reduce" });
    const wrong = [];
    for (const path of [...Object.values(paths), "/placement/manager", "/audit?target=task%201", "/schedules/reports%20of%20the%20hour%20%E2%82%AC"]) {
      const response = await page.goto(path);
      const found = [
        response.status() === 200 ? [] : [`HTTP ${response.status()}`],
        await overflow(page),
        // What fits at one width may be hidden at another, and each has its colours.
        await findings(page),
        await page.evaluate(() => (document.querySelectorAll("h1").length === 1 && document.title.endsWith(" · dtf") ? [] : ["no title"])),
      ].flat();
      wrong.push(...found.map((one) => `${path}: ${one}`));
    }
    assert.deepEqual([...wrong, ...page.troubles], []);
    await page.context().close();
  });
}

test("dark is dark, and moves nothing where that is unwanted", async () => {
  const look = async (options) => {
    const page = await open(browser, server, options);
    await page.goto("/groups");
    const seen = await page.evaluate(() => {
      const light = (colour) => colour.match(/\d+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0) / 765;
      const of = (selector) => getComputedStyle(document.querySelector(selector));
      return { back: light(of("body").backgroundColor), text: light(of("body").color), motion: of("button").transitionDuration };
    });
    await page.context().close();
    return seen;
  };
  const dark = await look({ colorScheme: "dark", reducedMotion: "reduce" });
  assert.ok(dark.back < 0.2 && dark.text > 0.8, JSON.stringify(dark));
  assert.equal(dark.motion, "0s");
  const light = await look({ colorScheme: "light", reducedMotion: "no-preference" });
  assert.ok(light.back > 0.9 && light.text < 0.2, JSON.stringify(light));
  assert.notEqual(light.motion, "0s");
});

test("a page of nothing says what to do", async () => {
  const empty = await Server.start();
  try {
    const page = await open(browser, empty);
    for (const [path, text] of [
      ["/", "There is no task yet. Create one"], ["/tasks", "There is no task yet. Create one"], ["/flows", "dtf flow submit FILE"],
      ["/schedules", "There is no schedule yet. Create one"], ["/tokens", "There are none"], ["/audit", "There is no such change"],
      ["/tasks?name_prefix=x", "Show all tasks"],
    ]) {
      await page.goto(path);
      assert.match(await page.locator("main").innerText(), new RegExp(text.replaceAll(".", "\\.")), path);
      assert.deepEqual(await findings(page), [], path);
    }
    assert.deepEqual(page.troubles, []);
  } finally {
    await empty.stop();
  }
});

test("a page that is not there says so, and leads back", async () => {
  const page = await open(browser, server);
  assert.equal((await page.goto("/tasks/999999")).status(), 404);
  assert.match(await page.getByRole("alert").innerText(), /999999/);
  await page.getByRole("link", { name: "Overview" }).last().click();
  await page.waitForURL(server.url + "/");
});
