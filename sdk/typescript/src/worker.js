import os from "node:os";
import process from "node:process";
import { Engine, MAX_ITEMS } from "./engine.js";
import { Transport, checkUrls } from "./http.js";

/**
 * Tells a function about the item that it runs on.
 * @typedef {object} Context
 * @property {number} task The id of the task.
 * @property {string} key The idempotency key: the same for every attempt at the item.
 * @property {number} attempt The number of earlier attempts that failed.
 * @property {string} function The name of the function.
 * @property {AbortSignal} signal Aborted once the item is not wanted any more, or its time is over.
 * @property {(fraction: number, message?: string) => void} progress Tells the service how much of the item is done, from 0 to 1, and in a
 *   line what is done now. Only the newest is told, once a second at most.
 * @property {(message: string) => void} log Tells the service in a line what is done now; the first 256 characters count.
 */

/**
 * Options of a function.
 * @typedef {object} FunctionOptions
 * @property {number} [timeout] The time for an item, in seconds, within that of the task. The signal of the context is aborted then, and the
 *   function is not waited for.
 * @property {number} [retries] The most attempts at an item after the first one, within those that the task allows.
 */

/**
 * Options of {@link Worker.run}.
 * @typedef {object} RunOptions
 * @property {number} [concurrency] The number of items that run at once. Default 8.
 * @property {number} [prefetch] The number of items that are fetched ahead. Default: as many as run within 20 ms.
 * @property {boolean} [signals] False leaves SIGTERM and SIGINT alone. Else the first one drains the worker, and the second one ends the
 *   process.
 * @property {AbortSignal} [signal] Drains the worker when it is aborted.
 * @property {(message: string) => void} [log] Takes a line of the log. Default: standard error.
 */

/**
 * A function that a worker offers.
 * @typedef {{name: string, call: (item: any, context: Context) => unknown, timeout: number, retries: number}} Offered
 */

/** Offers functions to a DTF service. */
export class Worker {
  #transport;
  #info;
  /** @type {Map<string, Offered>} */
  #functions = new Map();
  /** @type {Engine | undefined} */
  #engine;

  /**
   * @param {string | string[]} [urls] Gateways: processes of the service with the executor role. With several, the next one is tried when
   *   one does not answer.
   * @param {{token?: string, name?: string, version?: string}} [options] `token` defaults to the environment variable `DTF_TOKEN`, `name` to
   *   the host's.
   */
  constructor(urls = "http://127.0.0.1:7070", { token, name = os.hostname(), version = "" } = {}) {
    this.#transport = new Transport(checkUrls(urls), token);
    this.#info = { name: name.slice(0, 128), language: `javascript node ${process.versions.node}`, version: version.slice(0, 128) };
  }

  /**
   * Offers a function under a name. It is called with an item and a context; what it returns is the result, and what it throws a failure: a
   * final one if it is a {@link FinalError}.
   * @template Item, Result
   * @param {string} name
   * @param {(item: Item, context: Context) => Result | Promise<Result>} call
   * @param {FunctionOptions} [options]
   * @returns {this}
   */
  function(name, call, { timeout = Infinity, retries = Infinity } = {}) {
    if (!name || this.#functions.has(name)) throw new TypeError(`the function ${JSON.stringify(name)} has no name or is offered twice`);
    if (!(timeout > 0)) throw new RangeError(`timeout is ${timeout}; it is a number of seconds above 0`);
    if (!(retries >= 0)) throw new RangeError(`retries is ${retries}; it is 0 or more`);
    this.#functions.set(name, { name, call, timeout: timeout * 1000, retries });
    return this;
  }

  /**
   * Runs until a signal, {@link Worker.stop}, or the service drains the worker; what runs then comes to its end first. Throws if the worker is
   * refused.
   * @param {RunOptions} [options]
   * @returns {Promise<void>}
   */
  async run({ concurrency = 8, prefetch, signals = true, signal, log = (message) => console.error(`dtf: ${message}`) } = {}) {
    if (this.#functions.size === 0) throw new TypeError("the worker has no function; offer one with worker.function(name, call)");
    for (const [name, value, least] of /** @type {const} */ ([["concurrency", concurrency, 1], ["prefetch", prefetch ?? 0, 0]])) {
      if (!Number.isInteger(value) || value < least || value > MAX_ITEMS) {
        throw new RangeError(`${name} is ${value}; allowed is ${least} to ${MAX_ITEMS}`);
      }
    }
    const info = { ...this.#info, slots: concurrency };
    const engine = new Engine({ functions: this.#functions, transport: this.#transport, info, concurrency, prefetch, log });
    this.#engine = engine;
    const stop = () => engine.drain();
    let seen = 0;
    /** @param {NodeJS.Signals} name */
    const handle = (name) => {
      if (++seen > 1) process.exit(128 + os.constants.signals[name]);
      engine.drain();
    };
    const handled = signals ? /** @type {const} */ (["SIGTERM", "SIGINT"]) : [];
    for (const name of handled) process.on(name, handle);
    signal?.addEventListener("abort", stop);
    if (signal?.aborted) stop();
    try {
      await engine.run();
    } finally {
      for (const name of handled) process.off(name, handle);
      signal?.removeEventListener("abort", stop);
    }
  }

  /** Has {@link Worker.run} end as after a signal. */
  stop() {
    this.#engine?.drain();
  }
}
