import { ApiError, ConnectionError, DtfError, FinalError } from "./errors.js";
import { Backoff } from "./http.js";
import { Item } from "./item.js";

/** The most items of an answer, and reports of a request. */
export const MAX_ITEMS = 1000;
const MAX_REPORT = 4 * 1024 * 1024;
const POLL_MS = 20_000;
const BEAT_MS = 10_000;
/** The time that outcomes wait for others while more is running. */
const LINGER_MS = 2;
/**
 * The longest pause before the next poll where the last one brought at least MANY items at once and less than half of what was asked for: more
 * gather meanwhile, and a request costs both sides as much as dozens of small items. There is none while nothing is in hand.
 */
const GATHER_MS = 5;
const MANY = 8;
/** The work that is fetched ahead. */
const AHEAD_MS = 20;
/** The time after which a gateway gives an item that a beat does not name to others, and a little more. */
const UNNAMED_MS = 5500;
/** The time after which an item that waits for a slot goes back where nothing ends. */
const STALE_MS = 2000;
/** The time for which the last outcomes are tried to be reported when the worker ends. */
const LAST_TRIES_MS = 30_000;

/** The least time between two requests with notes. */
const NOTES_MS = 1000;

/** Wakes the one loop that waits for it. */
class Signal {
  #isSet = false;
  #wake = () => {};

  set() {
    this.#isSet = true;
    this.#wake();
  }

  /** @param {number} [longest] In milliseconds. */
  async wait(longest) {
    if (!this.#isSet) {
      await new Promise((resolve) => {
        const timer = longest === undefined ? undefined : setTimeout(resolve, longest);
        this.#wake = () => {
          clearTimeout(timer);
          resolve(undefined);
        };
      });
    }
    this.#isSet = false;
  }
}

/** @typedef {{id: string, gateway: number}} Session */

/** A worker that runs: one loop polls, one reports, one beats, one tells what functions say of their items. */
export class Engine {
  #functions;
  #transport;
  #info;
  #concurrency;
  #prefetch;
  #log;
  #room = new Signal();
  #ready = new Signal();
  #held = new Signal();
  #said = new Signal();
  /**
   * The newest note of each item, by ticket.
   * @type {Map<string, import("./item.js").Note>}
   */
  #notes = new Map();
  /** False once the service has refused notes. */
  #takesNotes = true;
  /**
   * What the worker has, by ticket: all of it is named by beats.
   * @type {Map<string, Item>}
   */
  #items = new Map();
  /** @type {Item[]} */
  #waiting = [];
  /** @type {Item[]} */
  #outcomes = [];
  /** The number of items that have a slot. */
  #running = 0;
  /** The number of items that wait for a slot or have one. */
  #busy = 0;
  #mean = AHEAD_MS;
  #lastEnd = 0;
  /** @type {Session | undefined} */
  #session;
  #lease = 30_000;
  #gateway = 0;
  #failures = 0;
  /** The time at which a beat is due although nothing may run: then the gateway sees what was lost with an answer. */
  #owed = 0;
  /** True if an item was dropped since the last beat. */
  #hurries = false;
  #draining = 0;
  #ended = false;
  /** @type {DtfError | undefined} */
  #fatal;
  #parkedPoll = new AbortController();
  #calls = new AbortController();
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #watch;

  /**
   * @param {object} options
   * @param {Map<string, import("./worker.js").Offered>} options.functions
   * @param {import("./http.js").Transport} options.transport
   * @param {object} options.info
   * @param {number} options.concurrency
   * @param {number | undefined} options.prefetch
   * @param {(message: string) => void} options.log
   */
  constructor({ functions, transport, info, concurrency, prefetch, log }) {
    this.#functions = functions;
    this.#transport = transport;
    this.#info = info;
    this.#concurrency = concurrency;
    this.#prefetch = prefetch;
    this.#log = log;
  }

  /** Runs until the worker has been drained. */
  async run() {
    this.#watch = setInterval(() => this.#giveBackStale(), 500);
    if (this.#draining) this.#notify();
    await Promise.all([this.#poll(), this.#report(), this.#beat(), this.#tell()]);
    clearInterval(this.#watch);
    if (this.#session) {
      const body = JSON.stringify({ session: this.#session.id });
      const signal = AbortSignal.timeout(5000);
      await this.#transport.call(this.#session.gateway, { method: "POST", path: "/v1/work/leave", body, signal }).catch((error) => {
        this.#log(`the gateway did not hear that the worker leaves: ${error.message}`);
      });
    }
    if (this.#fatal) throw this.#fatal;
  }

  /** Takes nothing more; what runs comes to its end, and what waits goes back. */
  drain() {
    if (this.#draining) return;
    this.#log(`draining: ${this.#running} items run`);
    this.#draining = performance.now();
    for (const item of this.#items.values()) {
      if (!item.began && !item.over) this.#forget(item);
    }
    this.#breakOffPoll();
    this.#notify();
  }

  /** Ends a poll that waits. What its answer may have brought is not named by the next beat. */
  #breakOffPoll() {
    this.#owe(performance.now());
    this.#parkedPoll.abort();
    this.#parkedPoll = new AbortController();
  }

  // Running.

  #pump() {
    while (this.#running < this.#concurrency) {
      const item = this.#waiting.shift();
      if (!item) return;
      if (!item.over) this.#start(item);
    }
  }

  /** @param {Item} item */
  #start(item) {
    this.#running++;
    item.began = performance.now();
    item.timer = setTimeout(() => this.#overrun(item), Math.min(item.timeout, 2 ** 31 - 1));
    this.#execute(item).finally(() => {
      clearTimeout(item.timer);
      this.#lastEnd = performance.now();
      this.#mean += 0.05 * (this.#lastEnd - item.began - this.#mean);
      this.#leaveSlot(item);
    });
  }

  /** @param {Item} item */
  async #execute(item) {
    const { offered } = item;
    if (!offered) return;
    try {
      const result = await offered.call(item.body, item);
      this.#settle(item, () => item.succeed(result));
    } catch (error) {
      this.#settle(item, () => item.fail(error));
    }
  }

  /** @param {Item} item */
  #overrun(item) {
    this.#settle(item, () => item.fail(new Error(`the function took longer than ${item.timeout / 1000} s`)));
    item.cancel();
    this.#leaveSlot(item);
  }

  /**
   * @param {Item} item
   * @param {() => void} outcome
   */
  #settle(item, outcome) {
    if (item.over) return;
    outcome();
    this.#outcomes.push(item);
    this.#ready.set();
  }

  /** @param {Item} item */
  #leaveSlot(item) {
    if (item.released) return;
    this.#running--;
    this.#release(item);
    this.#pump();
  }

  /** @param {Item} item */
  #release(item) {
    if (item.released) return;
    item.released = true;
    this.#busy--;
    if (this.#wanted() > 0) this.#room.set();
    if (this.#draining) this.#notify();
  }

  /**
   * Gives back an item that has not begun: beats do not name it any more.
   * @param {Item} item
   */
  #forget(item) {
    item.over = true;
    this.#items.delete(item.ticket);
    this.#release(item);
    this.#owe(item.given);
  }

  /** Gives back what waits too long for a slot. */
  #giveBackStale() {
    const now = performance.now();
    if (now - this.#lastEnd <= STALE_MS) return;
    const stale = this.#waiting.filter((item) => !item.over && now - item.given > STALE_MS);
    if (stale.length === 0) return;
    // Nothing is fetched ahead until functions are fast again.
    this.#mean = Math.max(this.#mean, STALE_MS);
    this.#breakOffPoll();
    for (const item of stale) this.#forget(item);
    this.#waiting = this.#waiting.filter((item) => !item.over);
  }

  /** @param {number} since */
  #owe(since) {
    this.#owed = Math.max(this.#owed, since + UNNAMED_MS);
    this.#held.set();
  }

  /** @param {string} ticket */
  #drop(ticket) {
    const item = this.#items.get(ticket);
    if (!item) return;
    this.#items.delete(ticket);
    // The service learns from a beat that does not name it that it is over here; nothing else may run that would make one.
    this.#hurries = true;
    this.#held.set();
    const wasOver = item.over;
    item.over = true;
    if (!item.began) this.#release(item);
    else if (!wasOver) item.cancel();
  }

  /** Returns the number of items to ask for: none while enough wait for a slot. */
  #wanted() {
    const ahead = this.#prefetch ?? Math.min(MAX_ITEMS, Math.floor((this.#concurrency * AHEAD_MS) / Math.max(this.#mean, 0.001)));
    const waiting = this.#busy - this.#concurrency;
    if (waiting > ahead / 2 || (ahead === 0 && waiting >= 0)) return 0;
    return Math.min(MAX_ITEMS, this.#concurrency + ahead - this.#busy);
  }

  #notify() {
    this.#room.set();
    this.#ready.set();
    this.#held.set();
    this.#said.set();
    if (this.#draining && this.#busy <= 0 && this.#items.size === 0 && !this.#ended) {
      this.#ended = true;
      this.#calls.abort();
    }
  }

  /**
   * A session has ended. What runs goes on, and its successes are reported in the next one.
   * @param {Session | undefined} session
   */
  #lost(session) {
    if (session === undefined || session !== this.#session) return;
    this.#log("the session has ended; a new one begins");
    this.#session = undefined;
    this.#notify();
  }

  /**
   * Takes an error of a call, and pauses where it is to be tried again later.
   * @param {unknown} error
   * @param {Session | undefined} session
   * @param {number} gateway
   * @param {Backoff} backoff
   */
  async #failed(error, session, gateway, backoff) {
    if (!(error instanceof DtfError)) throw error;
    if (error instanceof ApiError) {
      if (error.code === "no_session") return this.#lost(session);
      const elsewhere = this.#transport.urls.length > 1 && ["not_allowed", "not_found"].includes(error.code);
      if (!error.isRetryable && !elsewhere) {
        this.#fatal ??= error;
        this.drain();
        return this.#wait(backoff.next(error));
      }
    }
    this.#log(`${this.#transport.urls[gateway]}: ${error.message}`);
    if (gateway === this.#gateway && ++this.#failures >= 2 && this.#transport.urls.length > 1) {
      // The next gateway is tried.
      this.#failures = 0;
      this.#gateway = (gateway + 1) % this.#transport.urls.length;
      this.#lost(this.#session);
    }
    return this.#wait(backoff.next(error));
  }

  /** @param {number} longest In milliseconds. */
  async #wait(longest) {
    const end = performance.now() + longest;
    // Several loops may pause: each looks at the end of the worker now and then.
    while (!this.#ended && performance.now() < end) {
      await new Promise((resolve) => setTimeout(resolve, Math.min(100, Math.max(1, end - performance.now()))));
    }
  }

  /**
   * @param {string} path
   * @param {number} gateway
   * @param {string} body
   * @param {string[]} fields The fields that the answer must have.
   * @param {{wait?: number, signal?: AbortSignal}} [options]
   */
  async #call(path, gateway, body, fields, { wait, signal } = {}) {
    const answer = await this.#transport.call(gateway, {
      method: "POST",
      path: `/v1/work/${path}`,
      body,
      wait,
      signal: signal ?? this.#calls.signal,
    });
    const missing = fields.find((field) => answer?.[field] === undefined);
    if (missing) throw new ConnectionError(`the answer to ${path} lacks ${missing}: ${JSON.stringify(answer)?.slice(0, 80)}`);
    return answer;
  }

  /** @param {{dropped: string[], drain: boolean}} news */
  #heard({ dropped, drain }) {
    for (const ticket of dropped) this.#drop(ticket);
    if (drain) this.drain();
  }

  // Polling.

  async #poll() {
    const backoff = new Backoff();
    const fields = ["session", "lease_ms", "items", "dropped", "drain"];
    while (!this.#ended) {
      if (!this.#mustPoll()) {
        await this.#room.wait();
        continue;
      }
      const [session, gateway, { signal }] = [this.#session, this.#gateway, this.#parkedPoll];
      // A session begins without items, so that none are lost with the answer.
      const wait = session ? Math.min(POLL_MS, (this.#lease * 2) / 3) | 0 : 0;
      const body = session
        ? { session: session.id, most: this.#wanted(), wait_ms: wait }
        : { worker: this.#info, functions: [...this.#functions.keys()], most: 0, wait_ms: 0 };
      try {
        const [asked, { most }] = [performance.now(), body];
        const answer = await this.#call("poll", gateway, JSON.stringify(body), fields, { wait, signal });
        this.#take(answer, gateway, session === undefined);
        backoff.reset();
        const got = answer.items.length;
        if (got >= MANY && got < most / 2 && performance.now() - asked < 50) await this.#gather();
      } catch (error) {
        this.#owe(performance.now());
        // It was broken off.
        if (signal.aborted) continue;
        await this.#failed(error, session, gateway, backoff);
      }
    }
  }

  /** Waits while there is something in hand, but not for long. */
  async #gather() {
    const end = performance.now() + GATHER_MS;
    for (let left = GATHER_MS; left > 0 && this.#items.size > 0; left = end - performance.now()) await this.#room.wait(left);
  }

  #mustPoll() {
    if (!this.#draining) return this.#session === undefined || this.#wanted() > 0;
    return this.#session === undefined && this.#fatal === undefined && this.#items.size > 0;
  }

  /**
   * @param {{session: string, lease_ms: number, items: import("./item.js").WorkItem[], dropped: string[], drain: boolean}} answer
   * @param {number} gateway
   * @param {boolean} isNew
   */
  #take(answer, gateway, isNew) {
    this.#failures = 0;
    if (isNew) {
      this.#session = { id: answer.session, gateway };
      this.#lease = answer.lease_ms;
      this.#notify();
    }
    const now = performance.now();
    for (const given of answer.items) this.#accept(given, answer.session, now);
    this.#heard(answer);
    this.#pump();
  }

  /**
   * @param {import("./item.js").WorkItem} given
   * @param {string} session
   * @param {number} now
   */
  #accept(given, session, now) {
    if (this.#draining) return;
    const held = this.#items.get(given.ticket);
    if (held) {
      // It was given to others meanwhile, and comes back: the execution that there is counts again.
      held.session = session;
      held.given = now;
      return;
    }
    const item = new Item(given, this.#functions.get(given.function), session, now, this.#note);
    if (this.#items.size === 0) this.#held.set();
    this.#items.set(item.ticket, item);
    this.#busy++;
    if (item.offered) {
      this.#waiting.push(item);
      return;
    }
    this.#release(item);
    this.#settle(item, () => item.fail(new Error(`this worker has no function ${JSON.stringify(given.function)}`)));
  }

  // Reporting.

  async #report() {
    while (!this.#ended) {
      if (this.#outcomes.length === 0) {
        await this.#ready.wait();
        continue;
      }
      const lingers = this.#busy > 0 && this.#outcomes.length < MAX_ITEMS && !this.#draining;
      if (lingers) await this.#wait(LINGER_MS);
      await this.#send(this.#batch());
    }
  }

  #batch() {
    let [size, taken] = [128, 0];
    const batch = [];
    for (const item of this.#outcomes) {
      size += item.size + 1;
      if (batch.length === MAX_ITEMS || (batch.length > 0 && size > MAX_REPORT)) break;
      taken++;
      // What was dropped meanwhile is not reported.
      if (this.#items.get(item.ticket) === item) batch.push(item);
    }
    this.#outcomes.splice(0, taken);
    return batch;
  }

  /**
   * Sends reports until they are taken, or do not count any more.
   * @param {Item[]} batch
   * @returns {Promise<void>}
   */
  async #send(batch) {
    const backoff = new Backoff();
    while (batch.length > 0 && !this.#ended) {
      const session = await this.#awaitSession();
      if (!session) return this.#reported(batch);
      // A failure counts only from the session that was given the item.
      const counts = (/** @type {Item} */ item) => item.succeeded || item.session === session.id;
      this.#reported(batch.filter((item) => !counts(item)));
      batch = batch.filter(counts);
      if (batch.length === 0) return;
      const body = `{"session":"${session.id}","reports":[${batch.map((item) => item.report).join(",")}]}`;
      try {
        await this.#call("report", session.gateway, body, ["accepted", "unknown"]);
        this.#failures = 0;
        return this.#reported(batch);
      } catch (error) {
        if (error instanceof ApiError && ["too_large", "invalid_request"].includes(error.code)) return this.#sendApart(batch, error);
        await this.#failed(error, session, session.gateway, backoff);
      }
    }
  }

  /** Returns the session; none if the worker ends and none can be had. */
  async #awaitSession() {
    for (;;) {
      if (this.#draining) {
        const late = performance.now() - Math.max(this.#draining, this.#lastEnd) > LAST_TRIES_MS;
        if (late || (this.#fatal && !this.#session)) {
          this.#log(`${this.#items.size} outcomes could not be reported; their items will run again`);
          return undefined;
        }
      }
      if (this.#session) return this.#session;
      this.#room.set();
      await this.#ready.wait(200);
    }
  }

  /**
   * Finds the report that is refused, and makes it a failure.
   * @param {Item[]} batch
   * @param {ApiError} error
   * @returns {Promise<void>}
   */
  async #sendApart(batch, error) {
    const half = batch.length >> 1;
    if (half > 0) {
      await this.#send(batch.slice(0, half));
      return this.#send(batch.slice(half));
    }
    const [item] = batch;
    if (item.succeeded) {
      item.fail(new FinalError(`the result was refused: ${error.detail}`));
      return this.#send(batch);
    }
    this.#log(`a report is refused: ${error.message}`);
    this.#reported(batch);
  }

  /** @param {Item[]} batch */
  #reported(batch) {
    for (const item of batch) {
      if (this.#items.get(item.ticket) === item) this.#items.delete(item.ticket);
    }
    if (this.#items.size === 0) this.#room.set();
    if (this.#draining) this.#notify();
  }

  // Beating.

  async #beat() {
    const backoff = new Backoff();
    while (!this.#ended) {
      const [session, now] = [this.#session, performance.now()];
      const left = this.#owed ? Math.max(0, this.#owed - now) : Infinity;
      if (!session || (this.#items.size === 0 && left > 0 && !this.#hurries)) {
        await this.#held.wait(session && left < Infinity ? left : undefined);
        continue;
      }
      const running = this.#heldIn(session);
      const hurries = this.#hurries;
      this.#hurries = false;
      const wait = hurries ? 0 : Math.min(BEAT_MS, this.#lease / 3, left) | 0;
      try {
        const body = JSON.stringify({ session: session.id, running, wait_ms: wait });
        const news = await this.#call("beat", session.gateway, body, ["dropped", "drain"], { wait });
        backoff.reset();
        this.#failures = 0;
        if (this.#owed && this.#owed <= now) this.#owed = 0;
        this.#heard(news);
      } catch (error) {
        this.#hurries ||= hurries;
        if (!this.#ended) await this.#failed(error, session, session.gateway, backoff);
      }
    }
  }

  /**
   * Returns the tickets of all items that a session has.
   * @param {Session} session
   */
  #heldIn(session) {
    const tickets = [];
    for (const item of this.#items.values()) {
      if (item.session === session.id) tickets.push(item.ticket);
    }
    return tickets;
  }

  // Notes.

  #note = (/** @type {Item} */ item, /** @type {import("./item.js").Note} */ note) => {
    if (!this.#takesNotes) return;
    this.#notes.set(item.ticket, note);
    this.#said.set();
  };

  /** Sends the newest notes, once a second at most, with a beat of their own beside the one that waits. */
  async #tell() {
    const backoff = new Backoff();
    while (!this.#ended) {
      await this.#said.wait();
      const [session, told] = [this.#session, [...this.#notes].filter(([ticket]) => this.#items.has(ticket))];
      this.#notes.clear();
      if (session && told.length > 0) {
        const running = this.#heldIn(session);
        const notes = told.map(([ticket, note]) => ({ ticket, ...note }));
        const body = JSON.stringify({ session: session.id, running, wait_ms: 0, notes });
        try {
          this.#heard(await this.#call("beat", session.gateway, body, ["dropped", "drain"]));
          backoff.reset();
        } catch (error) {
          if (error instanceof ApiError && error.code === "invalid_request") {
            this.#log(`the service takes no progress of items: ${error.message}`);
            this.#takesNotes = false;
            return;
          }
          if (!(error instanceof DtfError)) throw error;
          for (const [ticket, note] of told) if (!this.#notes.has(ticket)) this.#notes.set(ticket, note);
          this.#said.set();
          await this.#wait(backoff.next(error));
        }
      } else if (!session) {
        for (const [ticket, note] of told) this.#notes.set(ticket, note);
      }
      await this.#wait(NOTES_MS);
    }
  }
}
