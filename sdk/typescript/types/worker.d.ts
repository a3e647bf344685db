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
    /**
     * @param {string | string[]} [urls] Gateways: processes of the service with the executor role. With several, the next one is tried when
     *   one does not answer.
     * @param {{token?: string, name?: string, version?: string}} [options] `token` defaults to the environment variable `DTF_TOKEN`, `name` to
     *   the host's.
     */
    constructor(urls?: string | string[], { token, name, version }?: {
        token?: string;
        name?: string;
        version?: string;
    });
    /**
     * Offers a function under a name. It is called with an item and a context; what it returns is the result, and what it throws a failure: a
     * final one if it is a {@link FinalError}.
     * @template Item, Result
     * @param {string} name
     * @param {(item: Item, context: Context) => Result | Promise<Result>} call
     * @param {FunctionOptions} [options]
     * @returns {this}
     */
    function<Item, Result>(name: string, call: (item: Item, context: Context) => Result | Promise<Result>, { timeout, retries }?: FunctionOptions): this;
    /**
     * Runs until a signal, {@link Worker.stop}, or the service drains the worker; what runs then comes to its end first. Throws if the worker is
     * refused.
     * @param {RunOptions} [options]
     * @returns {Promise<void>}
     */
    run({ concurrency, prefetch, signals, signal, log }?: RunOptions): Promise<void>;
    /** Has {@link Worker.run} end as after a signal. */
    stop(): void;
    #private;
}
/**
 * Tells a function about the item that it runs on.
 */
export type Context = {
    /**
     * The id of the task.
     */
    task: number;
    /**
     * The idempotency key: the same for every attempt at the item.
     */
    key: string;
    /**
     * The number of earlier attempts that failed.
     */
    attempt: number;
    /**
     * The name of the function.
     */
    function: string;
    /**
     * Aborted once the item is not wanted any more, or its time is over.
     */
    signal: AbortSignal;
    /**
     * Tells the service how much of the item is done, from 0 to 1, and in a
     * line what is done now. Only the newest is told, once a second at most.
     */
    progress: (fraction: number, message?: string) => void;
    /**
     * Tells the service in a line what is done now; the first 256 characters count.
     */
    log: (message: string) => void;
};
/**
 * Options of a function.
 */
export type FunctionOptions = {
    /**
     * The time for an item, in seconds, within that of the task. The signal of the context is aborted then, and the
     * function is not waited for.
     */
    timeout?: number | undefined;
    /**
     * The most attempts at an item after the first one, within those that the task allows.
     */
    retries?: number | undefined;
};
/**
 * Options of {@link Worker.run}.
 */
export type RunOptions = {
    /**
     * The number of items that run at once. Default 8.
     */
    concurrency?: number | undefined;
    /**
     * The number of items that are fetched ahead. Default: as many as run within 20 ms.
     */
    prefetch?: number | undefined;
    /**
     * False leaves SIGTERM and SIGINT alone. Else the first one drains the worker, and the second one ends the
     * process.
     */
    signals?: boolean | undefined;
    /**
     * Drains the worker when it is aborted.
     */
    signal?: AbortSignal | undefined;
    /**
     * Takes a line of the log. Default: standard error.
     */
    log?: ((message: string) => void) | undefined;
};
/**
 * A function that a worker offers.
 */
export type Offered = {
    name: string;
    call: (item: any, context: Context) => unknown;
    timeout: number;
    retries: number;
};
