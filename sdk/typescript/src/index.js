/**
 * DTF in JavaScript and TypeScript: a client for tasks, and workers whose functions run on their items.
 *
 * ```ts
 * import { Client, Worker } from "dtf";
 *
 * const worker = new Worker("http://127.0.0.1:7070");
 * worker.function("square", async (item: number) => item * item, { timeout: 30, retries: 3 });
 * await worker.run({ concurrency: 8 });
 * ```
 *
 * @module
 */
export { ApiError, ConnectionError, DtfError, FinalError } from "./errors.js";
export { Client } from "./client.js";
export { Worker } from "./worker.js";

/** @typedef {import("./client.js").Task} Task */
/** @typedef {import("./client.js").Progress} Progress */
/** @typedef {import("./client.js").Failure} Failure */
/** @typedef {import("./client.js").TaskResult} TaskResult */
/** @typedef {import("./client.js").Source} Source */
/** @typedef {import("./client.js").MapOptions} MapOptions */
/** @typedef {import("./worker.js").Context} Context */
/** @typedef {import("./worker.js").FunctionOptions} FunctionOptions */
/** @typedef {import("./worker.js").RunOptions} RunOptions */
