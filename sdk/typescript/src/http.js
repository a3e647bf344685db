import process from "node:process";
import { ApiError, ConnectionError } from "./errors.js";

/** The time to wait for an answer, in milliseconds, besides the time that a call asks the server to wait. */
export const CALL_TIMEOUT = 35_000;

/**
 * @typedef {object} Call
 * @property {string} method
 * @property {string} path
 * @property {string} [body] JSON, or a JSON value a line.
 * @property {string} [type] The content type of the body. Default `application/json`.
 * @property {string} [key] The idempotency key.
 * @property {number} [wait] The time that the server is asked to wait, in milliseconds.
 * @property {AbortSignal} [signal]
 */

/**
 * Returns base URLs of servers, checked.
 * @param {string | string[]} urls
 * @returns {string[]}
 */
export function checkUrls(urls) {
  const listed = Array.isArray(urls) ? urls : [urls];
  if (listed.length === 0) {
    throw new TypeError("no URL of a server is given; give at least one, such as http://127.0.0.1:7070");
  }
  for (const url of listed) {
    if (!/^https?:\/\/[^/]/.test(url)) {
      throw new TypeError(`${JSON.stringify(url)} is no URL of a server; write http://HOST:PORT or https://HOST:PORT`);
    }
  }
  return listed.map((url) => url.replace(/\/+$/, ""));
}

/** Sends requests. Its connections are kept by `fetch`. */
export class Transport {
  /**
   * @param {string[]} urls
   * @param {string | undefined} token
   */
  constructor(urls, token) {
    this.urls = urls;
    this.token = token ?? process.env.DTF_TOKEN;
  }

  /**
   * Sends a request and returns its response, whose body is not read yet.
   * @param {number} at The number of the server.
   * @param {Call} call
   * @returns {Promise<Response>}
   */
  async open(at, { method, path, body, key, type, signal }) {
    /** @type {Record<string, string>} */
    const headers = {};
    if (body !== undefined) headers["Content-Type"] = type ?? "application/json";
    if (key !== undefined) headers["Idempotency-Key"] = key;
    if (this.token) headers.Authorization = `Bearer ${this.token}`;
    try {
      return await fetch(this.urls[at] + path, { method, headers, body, signal });
    } catch (error) {
      throw new ConnectionError(`${this.urls[at]} does not answer: ${reason(error)}`, { cause: error });
    }
  }

  /**
   * Sends a request and returns the JSON of its answer.
   * @param {number} at The number of the server.
   * @param {Call} call
   * @returns {Promise<any>}
   */
  async call(at, call) {
    const controller = new AbortController();
    const abort = () => controller.abort();
    const timer = setTimeout(abort, (call.wait ?? 0) + CALL_TIMEOUT);
    call.signal?.addEventListener("abort", abort);
    if (call.signal?.aborted) abort();
    try {
      const response = await this.open(at, { ...call, signal: controller.signal });
      const text = await response.text().catch((error) => {
        throw new ConnectionError(`${this.urls[at]} broke off: ${reason(error)}`, { cause: error });
      });
      return read(this.urls[at], response, text);
    } finally {
      clearTimeout(timer);
      call.signal?.removeEventListener("abort", abort);
    }
  }
}

/**
 * @param {unknown} error
 * @returns {string}
 */
export function reason(error) {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message;
}

/**
 * Returns the JSON of an answer, or throws the error that it is.
 * @param {string} url
 * @param {Response} response
 * @param {string} text
 * @returns {any}
 */
export function read(url, response, text) {
  let answer = null;
  try {
    if (text !== "") answer = JSON.parse(text);
  } catch {
    throw new ConnectionError(`the answer of ${url} (HTTP ${response.status}) is no JSON: ${text.slice(0, 80)}`);
  }
  if (response.ok) return answer;
  const after = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
  throw new ApiError(
    answer?.code ?? "unknown",
    answer?.detail ?? response.statusText,
    response.status,
    Number.isNaN(after) ? undefined : after,
  );
}

/** Growing pauses with jitter: up to 50 ms first, doubled with each failure, at most 5 s. */
export class Backoff {
  failures = 0;

  /**
   * Returns the pause after a failure, in milliseconds.
   * @param {unknown} [error]
   */
  next(error) {
    const longest = Math.min(5000, 50 * 2 ** Math.min(this.failures++, 10));
    const least = error instanceof ApiError ? Math.min(60, error.retryAfter ?? 0) * 1000 : 0;
    return least + longest * (0.25 + 0.75 * Math.random());
  }

  reset() {
    this.failures = 0;
  }
}

/**
 * @param {number} pause In milliseconds.
 * @param {AbortSignal} [signal]
 * @returns {Promise<void>}
 */
export function sleep(pause, signal) {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const end = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", end);
      resolve();
    }, pause);
    signal?.addEventListener("abort", end, { once: true });
  });
}
