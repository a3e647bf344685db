// Chromium, as the system has it.
import { existsSync } from "node:fs";
import process from "node:process";
import { chromium } from "playwright-core";

/** Starts the Chromium that the environment variable CHROMIUM names. */
export function launch() {
  const executablePath = process.env.CHROMIUM;
  if (!executablePath || !existsSync(executablePath)) throw new Error(`CHROMIUM is ${executablePath}; set it to the path of Chromium`);
  // Its sandbox cannot be had by root.
  const args = process.getuid?.() === 0 ? ["--no-sandbox"] : [];
  return chromium.launch({ executablePath, args: [...args, "--disable-gpu", "--disable-dev-shm-usage"] });
}

/** Opens a page of its own, whose `troubles` are the errors of its console, and whatever it asked of other hosts. */
export async function open(browser, server, options = {}) {
  const context = await browser.newContext({ baseURL: server.url, viewport: { width: 1200, height: 800 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  page.troubles = [];
  page.on("pageerror", (error) => page.troubles.push(`${page.url()}: ${error}`));
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) page.troubles.push(`${page.url()}: ${message.text()}`);
  });
  page.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith(server.url) && !url.startsWith("data:")) page.troubles.push(`${page.url()} asks ${url}`);
  });
  return page;
}
