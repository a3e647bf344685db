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
export function checkUrls(urls: string | string[]): string[];
/**
 * @param {unknown} error
 * @returns {string}
 */
export function reason(error: unknown): string;
/**
 * Returns the JSON of an answer, or throws the error that it is.
 * @param {string} url
 * @param {Response} response
 * @param {string} text
 * @returns {any}
 */
export function read(url: string, response: Response, text: string): any;
/**
 * @param {number} pause In milliseconds.
 * @param {AbortSignal} [signal]
 * @returns {Promise<void>}
 */
export function sleep(pause: number, signal?: AbortSignal): Promise<void>;
/** The time to wait for an answer, in milliseconds, besides the time that a call asks the server to wait. */
export const CALL_TIMEOUT: 35000;
/** Sends requests. Its connections are kept by `fetch`. */
export class Transport {
    /**
     * @param {string[]} urls
     * @param {string | undefined} token
     */
    constructor(urls: string[], token: string | undefined);
    urls: string[];
    token: string | undefined;
    /**
     * Sends a request and returns its response, whose body is not read yet.
     * @param {number} at The number of the server.
     * @param {Call} call
     * @returns {Promise<Response>}
     */
    open(at: number, { method, path, body, key, type, signal }: Call): Promise<Response>;
    /**
     * Sends a request and returns the JSON of its answer.
     * @param {number} at The number of the server.
     * @param {Call} call
     * @returns {Promise<any>}
     */
    call(at: number, call: Call): Promise<any>;
}
/** Growing pauses with jitter: up to 50 ms first, doubled with each failure, at most 5 s. */
export class Backoff {
    failures: number;
    /**
     * Returns the pause after a failure, in milliseconds.
     * @param {unknown} [error]
     */
    next(error?: unknown): number;
    reset(): void;
}
export type Call = {
    method: string;
    path: string;
    /**
     * JSON, or a JSON value a line.
     */
    body?: string | undefined;
    /**
     * The content type of the body. Default `application/json`.
     */
    type?: string | undefined;
    /**
     * The idempotency key.
     */
    key?: string | undefined;
    /**
     * The time that the server is asked to wait, in milliseconds.
     */
    wait?: number | undefined;
    signal?: AbortSignal | undefined;
};
