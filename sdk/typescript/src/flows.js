import { sleep } from "./http.js";
import { mapParam } from "./task.js";

/** The time between two looks at a flow that is watched, in milliseconds. */
const PAUSE = 500;

/** @typedef {import("./task.js").Task} Task */
/** @typedef {import("./task.js").Condition} Condition */
/** @typedef {import("./task.js").CommonFields} CommonFields */

/**
 * The end of a task of a flow that another one waits for.
 * @typedef {{task: string, when: Condition}} FlowCondition
 */

/**
 * What stands in a parameter for a part of the result of a task of the flow.
 * @typedef {{$result: string, of: string}} ResultOf
 */

/**
 * What a task of a flow waits for: a condition, or a task that completes, by itself or by its name.
 * @typedef {FlowTask | FlowCondition | string} After
 */

/**
 * The number of a flow's tasks by state.
 * @typedef {{tasks: number, waiting: number, running: number, completed: number, failed: number, cancelled: number, skipped: number}} FlowCounts
 */

/**
 * A flow without its tasks.
 * @typedef {object} FlowSummary
 * @property {number} id
 * @property {string} name
 * @property {number | null} [retry_of] The flow whose failed tasks it runs again.
 * @property {number} created_at
 * @property {FlowCounts} counts
 */

/**
 * A flow, as the API describes it. A task's name in the flow is its `flow_task`.
 * @typedef {FlowSummary & {tasks: Task[], edges: {task: number, on: number, when: Condition}[]}} Flow
 */

/** A task of a flow that is about to be created. In `after` it stands for {@link FlowTask.completed}. */
export class FlowTask {
  /** @param {string} name */
  constructor(name) {
    this.name = name;
  }

  /**
   * It completes, and none of its items fails or times out.
   * @returns {FlowCondition}
   */
  get completed() {
    return { task: this.name, when: "completed" };
  }

  /**
   * It ends, however it does.
   * @returns {FlowCondition}
   */
  get ended() {
    return { task: this.name, when: "ended" };
  }

  /**
   * It ends as exceptional, or completes with items that failed or timed out.
   * @returns {FlowCondition}
   */
  get failed() {
    return { task: this.name, when: "failed" };
  }

  /**
   * Returns what stands in a parameter for a part of this task's result, at most 64 KiB. The task with the parameter must wait for this one.
   * @param {string} [pointer] A JSON pointer into `data` of the result, as `/succeeded`. Default: all of it.
   * @returns {ResultOf}
   */
  result(pointer = "") {
    if (pointer !== "" && !pointer.startsWith("/")) {
      throw new TypeError(`${JSON.stringify(pointer)} is no JSON pointer; write "" for all of the result, or "/NAME" for a part of it`);
    }
    return { $result: pointer, of: this.name };
  }
}

/**
 * A flow that is about to be created by {@link Flows.create}. A task waits for tasks that were added before it, so that none can wait for
 * itself.
 *
 * ```ts
 * const flow = new FlowBuilder("nightly");
 * const extract = flow.map("extract", "fetch", ["a", "b"]);
 * const load = flow.task("load", "noop", { count: extract.result("/succeeded") }, { after: [extract] });
 * flow.task("alarm", "noop", { count: 1 }, { after: [load.failed] });
 * ```
 */
export class FlowBuilder {
  /** @type {Map<string, Record<string, unknown>>} */
  #tasks = new Map();

  /** @param {string} [name] The name that people know it by. */
  constructor(name = "") {
    this.name = name;
  }

  /**
   * Adds a task of any type under a name that no other task of the flow has.
   * @param {string} name
   * @param {string} type
   * @param {unknown} [param]
   * @param {CommonFields & {after?: After[]}} [fields]
   * @returns {FlowTask}
   */
  task(name, type, param = null, { after = [], ...fields } = {}) {
    if (this.#tasks.has(name)) throw new TypeError(`task ${JSON.stringify(name)} is in the flow twice; give one of them another name`);
    const waits = after.map((on) => this.#condition(name, on));
    this.#tasks.set(name, { type, param, ...(waits.length > 0 && { after: waits }), ...fields });
    return new FlowTask(name);
  }

  /**
   * Adds a task that runs a workers' function on every item of a source, as {@link Client.map} does. A part of an earlier task's result may
   * be the list of a source: `{list: earlier.result("/names")}`.
   * @param {string} name
   * @param {string} worker The function.
   * @param {import("./task.js").Source} source
   * @param {Pick<import("./task.js").MapOptions, "sink" | "attempts" | "timeout"> & CommonFields & {after?: After[]}} [options]
   * @returns {FlowTask}
   */
  map(name, worker, source, { sink, attempts, timeout, ...fields } = {}) {
    return this.task(name, "map", mapParam(worker, source, { sink, attempts, timeout }), fields);
  }

  /** Returns the flow as the API and `dtf flow submit` take it. */
  toJSON() {
    return { name: this.name, tasks: Object.fromEntries(this.#tasks) };
  }

  /**
   * @param {string} task
   * @param {After} on
   * @returns {FlowCondition}
   */
  #condition(task, on) {
    const condition = typeof on === "string" ? new FlowTask(on).completed : on instanceof FlowTask ? on.completed : on;
    if (!this.#tasks.has(condition.task)) {
      const earlier = [...this.#tasks.keys()].join(", ") || "none";
      throw new TypeError(
        `task ${JSON.stringify(task)} waits for ${JSON.stringify(condition.task)}, which is not in the flow yet; earlier tasks: ${earlier}`,
      );
    }
    return condition;
  }
}

/** The flows of a service, as `client.flows`. */
export class Flows {
  #calls;

  /** @param {import("./client.js").Calls} calls */
  constructor(calls) {
    this.#calls = calls;
  }

  /**
   * Creates all tasks of a flow, or none.
   * @param {FlowBuilder} flow
   * @returns {Promise<Flow>}
   */
  create(flow) {
    return this.#calls.send("POST", "/v1/flows", flow, crypto.randomUUID());
  }

  /**
   * Returns a flow with its tasks.
   * @param {number} id
   * @returns {Promise<Flow>}
   */
  get(id) {
    return this.#calls.send("GET", `/v1/flows/${id}`);
  }

  /**
   * Yields the flows, the newest first.
   * @returns {AsyncGenerator<FlowSummary, void, void>}
   */
  list() {
    return this.#calls.pages("/v1/flows", "flows");
  }

  /**
   * Pauses the tasks of a flow.
   * @param {number} id
   * @returns {Promise<Flow>}
   */
  pause(id) {
    return this.#calls.act(`/v1/flows/${id}`, "pause");
  }

  /**
   * Resumes the paused tasks of a flow.
   * @param {number} id
   * @returns {Promise<Flow>}
   */
  resume(id) {
    return this.#calls.act(`/v1/flows/${id}`, "resume");
  }

  /**
   * Cancels the tasks of a flow that have not ended.
   * @param {number} id
   * @returns {Promise<Flow>}
   */
  cancel(id) {
    return this.#calls.act(`/v1/flows/${id}`, "cancel");
  }

  /**
   * Creates a new flow of what failed in a flow and what was skipped behind it.
   * @param {number} id
   * @returns {Promise<Flow>}
   */
  retry(id) {
    return this.#calls.send("POST", `/v1/flows/${id}/retry`, undefined, crypto.randomUUID());
  }

  /**
   * Yields the flow whenever it has changed, at most twice a second; in the last one all tasks have ended.
   * @param {number} id
   * @param {{signal?: AbortSignal}} [options]
   * @returns {AsyncGenerator<Flow, void, void>}
   */
  async *watch(id, { signal } = {}) {
    for (let last = ""; ; await sleep(PAUSE, signal)) {
      signal?.throwIfAborted();
      const flow = await this.get(id);
      const text = JSON.stringify(flow);
      if (text !== last) yield flow;
      if (hasEnded(flow)) return;
      last = text;
    }
  }

  /**
   * Waits until all tasks of a flow have ended, and returns it.
   * @param {number} id
   * @param {{signal?: AbortSignal}} [options] `AbortSignal.timeout(ms)` bounds the time.
   * @returns {Promise<Flow>}
   */
  async wait(id, options) {
    for await (const flow of this.watch(id, options)) {
      if (hasEnded(flow)) return flow;
    }
    return this.get(id);
  }
}

/** @param {FlowSummary} flow */
function hasEnded({ counts }) {
  return counts.waiting + counts.running === 0;
}
