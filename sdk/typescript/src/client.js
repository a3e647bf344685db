import { ApiError, ConnectionError } from "./errors.js";
import { Flows } from "./flows.js";
import { Backoff, Transport, checkUrls, read, reason, sleep } from "./http.js";
import { Schedules } from "./schedules.js";
import { mapParam } from "./task.js";

/** @typedef {import("./task.js").Task} Task */
/** @typedef {import("./task.js").TaskFields} TaskFields */

/** The most characters of the items of a request. */
const FEED_CHARS = 1024 * 1024;

/**
 * The requests of a client, for the parts of it.
 * @typedef {object} Calls
 * @property {(method: string, path: string, body?: unknown, key?: string) => Promise<any>} send
 * @property {(path: string, action: string) => Promise<any>} act
 * @property {(path: string, what: string) => AsyncGenerator<any, void, void>} pages
 */

/**
 * A client of the tasks of a DTF service.
 *
 * With several URLs it turns to the next one when a server does not answer. Requests are tried again, with growing pauses, for as long as
 * `retryFor` seconds; creations carry a key, so that one that is sent twice creates one task.
 */
export class Client {
  #transport;
  #retryFor;
  #at = 0;

  /**
   * @param {string | string[]} [urls]
   * @param {{token?: string, retryFor?: number}} [options] `token` defaults to the environment variable `DTF_TOKEN`.
   */
  constructor(urls = "http://127.0.0.1:7070", { token, retryFor = 30 } = {}) {
    this.#transport = new Transport(checkUrls(urls), token);
    this.#retryFor = retryFor * 1000;
    /** @type {Calls} */
    const calls = {
      send: (method, path, body, key) => this.#send(method, path, body, key),
      act: (path, action) => this.#act(path, action),
      pages: (path, what) => this.#pages(path, what),
    };
    /** Tasks that are created together and wait for each other. */
    this.flows = new Flows(calls);
    /** Tasks and flows that are created again and again. */
    this.schedules = new Schedules(calls);
  }

  /**
   * Creates a task that runs a workers' function on every item of a source.
   * @param {string} name The function.
   * @param {import("./task.js").Source} source
   * @param {import("./task.js").MapOptions} [options]
   * @returns {Promise<Task>}
   */
  map(name, source, options = {}) {
    return this.create("map", mapParam(name, source, options), { name: options.name, group: options.group, ...options.fields });
  }

  /**
   * Creates a task of any type. Where another task has its unique key already, that one is returned, and none is created.
   * @param {string} type
   * @param {unknown} param
   * @param {TaskFields} [fields]
   * @returns {Promise<Task>}
   */
  create(type, param, fields = {}) {
    return this.#send("POST", "/v1/tasks", { type, param, ...fields }, crypto.randomUUID());
  }

  /**
   * Feeds items into a task whose source is `"items"`, and returns the producer's offset behind them.
   *
   * Requests that are sent again add nothing twice. With a name of its own a producer that begins again goes on behind what it has fed, or
   * at an offset: items before those that the service has are passed over. While too many items wait, this waits, too.
   * @param {number} id
   * @param {Iterable<unknown> | AsyncIterable<unknown>} items
   * @param {{producer?: string, offset?: number, batch?: number}} [options] `batch` is the most items of a request. Default 1000.
   * @returns {Promise<number>}
   */
  async feed(id, items, { producer, offset, batch = 1000 } = {}) {
    if (producer === undefined && offset !== undefined) {
      throw new TypeError("an offset is one of a producer; give the producer's name as well");
    }
    const name = producer ?? crypto.randomUUID();
    if (producer === undefined) offset = 0;
    if (offset === undefined) {
      const { next_offset } = await this.#send("GET", `/v1/tasks/${id}/items?producer=${encodeURIComponent(name)}`);
      offset = /** @type {number} */ (next_offset);
    }
    /** @type {string[]} */
    let lines = [];
    let size = 0;
    for await (const item of items) {
      const line = JSON.stringify(item);
      if (line === undefined) throw new TypeError(`${String(item)} is no JSON value`);
      if (lines.length > 0 && (lines.length >= batch || size + line.length >= FEED_CHARS)) {
        offset = await this.#feed(id, name, offset, lines);
        [lines, size] = [[], 0];
      }
      lines.push(line);
      size += line.length + 1;
    }
    return lines.length > 0 ? this.#feed(id, name, offset, lines) : offset;
  }

  /**
   * Says that no more items are fed: the task ends when those that were fed are done.
   * @param {number} id
   * @returns {Promise<Task>}
   */
  closeTask(id) {
    return this.#act(`/v1/tasks/${id}`, "close");
  }

  /**
   * Returns a task.
   * @param {number} id
   * @returns {Promise<Task>}
   */
  get(id) {
    return this.#send("GET", `/v1/tasks/${id}`);
  }

  /**
   * Pauses a task.
   * @param {number} id
   * @returns {Promise<Task>}
   */
  pause(id) {
    return this.#act(`/v1/tasks/${id}`, "pause");
  }

  /**
   * Resumes a paused task.
   * @param {number} id
   * @returns {Promise<Task>}
   */
  resume(id) {
    return this.#act(`/v1/tasks/${id}`, "resume");
  }

  /**
   * Cancels a task.
   * @param {number} id
   * @returns {Promise<Task>}
   */
  cancel(id) {
    return this.#act(`/v1/tasks/${id}`, "cancel");
  }

  /**
   * Creates a new task of the items of a task that failed.
   * @param {number} id
   * @returns {Promise<Task>}
   */
  retry(id) {
    return this.#send("POST", `/v1/tasks/${id}/retry`, undefined, crypto.randomUUID());
  }

  /**
   * Yields the task whenever it has changed, at most twice a second; the last one has ended.
   * @param {number} id
   * @param {{signal?: AbortSignal}} [options]
   * @returns {AsyncGenerator<Task, void, void>}
   */
  async *watch(id, { signal } = {}) {
    const backoff = new Backoff();
    for (;;) {
      let error;
      try {
        for await (const task of this.#events(id, signal)) {
          backoff.reset();
          yield task;
          if (hasEnded(task)) return;
        }
      } catch (thrown) {
        signal?.throwIfAborted();
        if (!(thrown instanceof ConnectionError) && !(thrown instanceof ApiError && thrown.isRetryable)) throw thrown;
        error = thrown;
      }
      await sleep(backoff.next(error), signal);
    }
  }

  /**
   * Waits until a task has ended, and returns it.
   * @param {number} id
   * @param {{signal?: AbortSignal}} [options] `AbortSignal.timeout(ms)` bounds the time.
   * @returns {Promise<Task>}
   */
  async wait(id, options) {
    for await (const task of this.watch(id, options)) {
      if (hasEnded(task)) return task;
    }
    return this.get(id);
  }

  /**
   * Returns the result of a task; null before it has completed.
   * @param {number} id
   * @returns {Promise<import("./task.js").TaskResult | null>}
   */
  result(id) {
    return this.#send("GET", `/v1/tasks/${id}/result`);
  }

  /**
   * Yields the kept results of a task, in the order in which they were collected, to its end. Its sink must be `keep`.
   * @param {number} id
   * @param {{page?: number}} [options]
   * @returns {AsyncGenerator<any, void, void>}
   */
  async *results(id, { page = 1000 } = {}) {
    for (let first = 0; ; ) {
      const answer = await this.#send("GET", `/v1/tasks/${id}/results?from=${first}&limit=${page}`);
      for (const { number, value } of answer.results) {
        yield value;
        first = number + 1;
      }
      if (!answer.more) return;
      if (answer.results.length === 0) await sleep(500);
    }
  }

  /**
   * Yields the items of a task that failed for good.
   * @param {number} id
   * @param {{page?: number}} [options]
   * @returns {AsyncGenerator<import("./task.js").Failure, void, void>}
   */
  async *failures(id, { page = 1000 } = {}) {
    for (let after = ""; ; ) {
      const answer = await this.#send("GET", `/v1/tasks/${id}/failures?limit=${page}${after}`);
      for (const failure of answer.failures) {
        yield failure;
        after = `&after_epoch=${failure.epoch}&after_seq=${failure.seq}`;
      }
      if (!answer.more) return;
    }
  }

  /**
   * @param {number} id
   * @param {string} producer
   * @param {number} offset
   * @param {string[]} lines
   * @returns {Promise<number>}
   */
  async #feed(id, producer, offset, lines) {
    const path = `/v1/tasks/${id}/items?producer=${encodeURIComponent(producer)}&offset=${offset}`;
    for (;;) {
      try {
        await this.#sendData("POST", path, lines.join("\n"), { type: "application/x-ndjson" });
        return offset + lines.length;
      } catch (error) {
        // It is full for as long as its items take.
        if (!(error instanceof ApiError && error.code === "full")) throw error;
      }
    }
  }

  /**
   * @param {string} path
   * @param {string} action
   * @returns {Promise<any>}
   */
  async #act(path, action) {
    const tries = { count: 0 };
    try {
      return await this.#send("POST", `${path}/${action}`, undefined, undefined, tries);
    } catch (error) {
      // The answer to an earlier try was lost: this says only that it has been done.
      if (error instanceof ApiError && error.code === "not_allowed" && tries.count > 1) return this.#send("GET", path);
      throw error;
    }
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {unknown} [body]
   * @param {string} [key]
   * @param {{count: number}} [tries]
   * @returns {Promise<any>}
   */
  #send(method, path, body, key, tries) {
    return this.#sendData(method, path, body === undefined ? undefined : JSON.stringify(body), { key }, tries);
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {string | undefined} data
   * @param {{key?: string, type?: string}} headers
   * @param {{count: number}} [tries]
   * @returns {Promise<any>}
   */
  async #sendData(method, path, data, headers, tries = { count: 0 }) {
    const backoff = new Backoff();
    const end = performance.now() + this.#retryFor;
    for (;;) {
      const at = this.#at;
      let failed;
      try {
        tries.count++;
        return await this.#transport.call(at, { method, path, body: data, ...headers });
      } catch (error) {
        if (error instanceof ConnectionError) this.#turnFrom(at);
        else if (!(error instanceof ApiError && error.isRetryable)) throw error;
        failed = error;
      }
      const pause = backoff.next(failed);
      if (performance.now() + pause > end) throw failed;
      await sleep(pause);
    }
  }

  /**
   * @param {string} path
   * @param {string} what
   * @returns {AsyncGenerator<any, void, void>}
   */
  async *#pages(path, what) {
    for (let query = ""; ; ) {
      const page = await this.#send("GET", path + query);
      yield* page[what];
      if (page.next === null || page.next === undefined) return;
      query = `?cursor=${encodeURIComponent(page.next)}`;
    }
  }

  /** @param {number} at */
  #turnFrom(at) {
    if (at === this.#at) this.#at = (at + 1) % this.#transport.urls.length;
  }

  /**
   * @param {number} id
   * @param {AbortSignal} [signal]
   * @returns {AsyncGenerator<Task, void, void>}
   */
  async *#events(id, signal) {
    const at = this.#at;
    const url = this.#transport.urls[at];
    try {
      const response = await this.#transport.open(at, { method: "GET", path: `/v1/tasks/${id}/events`, signal });
      if (!response.ok) read(url, response, await response.text());
      for await (const [name, data] of serverEvents(response)) {
        const answer = JSON.parse(data);
        if (name === "error") throw new ApiError(answer.code, answer.detail, answer.status);
        yield answer;
      }
    } catch (error) {
      if (error instanceof ApiError) throw error;
      this.#turnFrom(at);
      throw new ConnectionError(`the events of task ${id} broke off: ${reason(error)}`, { cause: error });
    }
  }
}

/** @param {Task} task */
function hasEnded(task) {
  return task.finished_at !== null && task.finished_at !== undefined;
}

/**
 * Yields the server-sent events of a response: their names and data.
 * @param {Response} response
 * @returns {AsyncGenerator<[string, string], void, void>}
 */
async function* serverEvents(response) {
  if (!response.body) return;
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let [text, name] = ["", "message"];
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      text += decoder.decode(value, { stream: true });
      const lines = text.split("\n");
      text = lines.pop() ?? "";
      for (const line of lines) {
        if (line.startsWith("event:")) name = line.slice(6).trim();
        else if (line.startsWith("data:")) yield [name, line.slice(5)];
      }
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}
