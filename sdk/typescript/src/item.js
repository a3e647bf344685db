import { FinalError } from "./errors.js";

/** The most bytes of a result that a gateway takes. */
const MAX_RESULT = 1024 * 1024;
/** The most characters of an error that a gateway keeps. */
const MAX_ERROR = 4096;
/** The most characters of a message about an item that runs. */
const MAX_MESSAGE = 256;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/**
 * An item as a gateway gives it.
 * @typedef {{ticket: string, function: string, task: number, key: string, attempt: number, timeout_ms: number, body: any}} WorkItem
 */

/**
 * What is told of an item that runs.
 * @typedef {{progress?: number, message?: string}} Note
 */

/** An item that the worker has: it waits, runs, or has ended and is not reported yet. */
export class Item {
  /** @type {AbortController | undefined} */
  #controller;
  /** @type {number | undefined} */
  #progress;
  #tell;
  /** The time at which it began, in milliseconds; none while it waits for a slot. */
  began = 0;
  /** True once it has an outcome, or is not wanted any more. */
  over = false;
  /** True once it takes no slot any more. */
  released = false;
  /** The report on it, as JSON, and its bytes. */
  report = "";
  size = 0;
  succeeded = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  timer;

  /**
   * @param {WorkItem} given
   * @param {import("./worker.js").Offered | undefined} offered
   * @param {string} session The session that it was given to.
   * @param {number} now
   * @param {(item: Item, note: Note) => void} tell Takes what the function says of the item.
   */
  constructor(given, offered, session, now, tell) {
    this.#tell = tell;
    this.ticket = given.ticket;
    this.offered = offered;
    this.body = given.body;
    this.task = given.task;
    this.key = given.key;
    this.attempt = given.attempt;
    this.timeout = Math.min(given.timeout_ms, offered?.timeout ?? Infinity);
    this.session = session;
    this.given = now;
  }

  get function() {
    return this.offered?.name ?? "";
  }

  get signal() {
    this.#controller ??= new AbortController();
    return this.#controller.signal;
  }

  // A function may take both out of its context, so they are bound to the item.

  /** @returns {(fraction: number, message?: string) => void} */
  get progress() {
    return (fraction, message) => {
      this.#progress = fraction > 0 ? Math.min(1, fraction) : 0;
      this.#note(message);
    };
  }

  /** @returns {(message: string) => void} */
  get log() {
    return (message) => this.#note(message);
  }

  /** @param {string | undefined} message */
  #note(message) {
    if (this.over) return;
    // Characters are cut, not the halves of some; and what is half of one is replaced.
    const text = message === undefined ? undefined : decoder.decode(encoder.encode(message.slice(0, 2 * MAX_MESSAGE)));
    this.#tell(this, { progress: this.#progress, message: text && [...text].slice(0, MAX_MESSAGE).join("") });
  }

  /** Tells the function that the item is not wanted any more. */
  cancel() {
    // A function that asks for its signal later finds it aborted.
    this.#controller ??= new AbortController();
    this.#controller.abort();
  }

  /** @param {unknown} value */
  succeed(value) {
    try {
      const json = value === undefined ? "null" : JSON.stringify(value);
      if (json === undefined) throw new TypeError(`a ${typeof value} cannot be encoded`);
      // JSON.stringify escapes just those, and control characters.
      if (/(?<!\\)(?:\\\\)*\\ud[89a-f]/.test(json)) throw new TypeError("half a surrogate pair cannot be encoded");
      const size = json.length * 3 <= MAX_RESULT ? json.length * 3 : encoder.encode(json).length;
      if (size > MAX_RESULT) {
        const detail = `the result has ${size} bytes; at most ${MAX_RESULT} are taken; store it and return where it is`;
        return this.#settle("", size, new FinalError(detail));
      }
      this.succeeded = true;
      this.#settle(`{"ticket":"${this.ticket}","result":${json}}`, size + 80);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      this.fail(new FinalError(`the result is no JSON: ${why}`));
    }
  }

  /** @param {unknown} error */
  fail(error) {
    this.succeeded = false;
    this.#settle("", 0, error);
  }

  /**
   * @param {string} report
   * @param {number} size
   * @param {unknown} [error]
   */
  #settle(report, size, error) {
    this.over = true;
    this.body = undefined;
    if (!this.succeeded) {
      const retryable = !(error instanceof FinalError) && this.attempt < (this.offered?.retries ?? Infinity);
      const message = error instanceof FinalError ? error.message : String(error);
      // Halves of surrogate pairs are replaced.
      const text = decoder.decode(encoder.encode(message.slice(0, MAX_ERROR)));
      report = JSON.stringify({ ticket: this.ticket, error: text, retryable });
      size = report.length * 3;
    }
    this.report = report;
    this.size = size;
  }
}
