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
export { FlowBuilder, FlowTask } from "./flows.js";
export { Worker } from "./worker.js";

/** @typedef {import("./task.js").Task} Task */
/** @typedef {import("./task.js").TaskFields} TaskFields */
/** @typedef {import("./task.js").Unique} Unique */
/** @typedef {import("./task.js").Condition} Condition */
/** @typedef {import("./task.js").Progress} Progress */
/** @typedef {import("./task.js").Failure} Failure */
/** @typedef {import("./task.js").TaskResult} TaskResult */
/** @typedef {import("./task.js").Source} Source */
/** @typedef {import("./task.js").MapOptions} MapOptions */
/** @typedef {import("./flows.js").Flow} Flow */
/** @typedef {import("./flows.js").FlowSummary} FlowSummary */
/** @typedef {import("./flows.js").FlowCounts} FlowCounts */
/** @typedef {import("./flows.js").FlowCondition} FlowCondition */
/** @typedef {import("./flows.js").After} After */
/** @typedef {import("./schedules.js").Schedule} Schedule */
/** @typedef {import("./schedules.js").ScheduleFields} ScheduleFields */
/** @typedef {import("./worker.js").Context} Context */
/** @typedef {import("./worker.js").FunctionOptions} FunctionOptions */
/** @typedef {import("./worker.js").RunOptions} RunOptions */
