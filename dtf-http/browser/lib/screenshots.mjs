// The pictures of the README: `node lib/screenshots.mjs DIRECTORY`.
import { join } from "node:path";
import process from "node:process";
import { launch, open } from "./browser.mjs";
import { Server } from "./server.mjs";
import { furnish } from "./stage.mjs";

const into = process.argv[2];
const [server, browser] = await Promise.all([Server.start(), launch()]);
try {
  const ids = await furnish(server, { count: 5000, sleep_ms: 500 });
  await server.seen(ids.running, ({ progress }) => progress.succeeded > 1200, "under way");
  for (const [name, path, colorScheme] of [
    ["dashboard-overview", "/", "light"],
    ["dashboard-task-dark", `/tasks/${ids.running}`, "dark"],
    ["dashboard-flow", `/flows/${ids.flow}`, "light"],
    ["dashboard-schedule-dark", "/schedules/nightly%20import", "dark"],
  ]) {
    const page = await open(browser, server, { viewport: { width: 1280, height: 900 }, colorScheme });
    await page.goto(path);
    await page.screenshot({ path: join(into, `${name}.png`) });
    await page.context().close();
  }
} finally {
  await browser.close();
  await server.stop();
}
