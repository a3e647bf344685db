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
    /**
     * @param {string | string[]} [urls]
     * @param {{token?: string, retryFor?: number}} [options] `token` defaults to the environment variable `DTF_TOKEN`.
     */
    constructor(urls?: string | string[], { token, retryFor }?: {
        token?: string;
        retryFor?: number;
    });
    /** Tasks that are created together and wait for each other. */
    flows: Flows;
    /** Tasks and flows that are created again and again. */
    schedules: Schedules;
    /**
     * Creates a task that runs a workers' function on every item of a source.
     * @param {string} name The function.
     * @param {import("./task.js").Source} source
     * @param {import("./task.js").MapOptions} [options]
     * @returns {Promise<Task>}
     */
    map(name: string, source: import("./task.js").Source, options?: import("./task.js").MapOptions): Promise<Task>;
    /**
     * Creates a task of any type. Where another task has its unique key already, that one is returned, and none is created.
     * @param {string} type
     * @param {unknown} param
     * @param {TaskFields} [fields]
     * @returns {Promise<Task>}
     */
    create(type: string, param: unknown, fields?: TaskFields): Promise<Task>;
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
    feed(id: number, items: Iterable<unknown> | AsyncIterable<unknown>, { producer, offset, batch }?: {
        producer?: string;
        offset?: number;
        batch?: number;
    }): Promise<number>;
    /**
     * Says that no more items are fed: the task ends when those that were fed are done.
     * @param {number} id
     * @returns {Promise<Task>}
     */
    closeTask(id: number): Promise<Task>;
    /**
     * Returns a task.
     * @param {number} id
     * @returns {Promise<Task>}
     */
    get(id: number): Promise<Task>;
    /**
     * Pauses a task.
     * @param {number} id
     * @returns {Promise<Task>}
     */
    pause(id: number): Promise<Task>;
    /**
     * Resumes a paused task.
     * @param {number} id
     * @returns {Promise<Task>}
     */
    resume(id: number): Promise<Task>;
    /**
     * Cancels a task.
     * @param {number} id
     * @returns {Promise<Task>}
     */
    cancel(id: number): Promise<Task>;
    /**
     * Creates a new task of the items of a task that failed.
     * @param {number} id
     * @returns {Promise<Task>}
     */
    retry(id: number): Promise<Task>;
    /**
     * Yields the task whenever it has changed, at most twice a second; the last one has ended.
     * @param {number} id
     * @param {{signal?: AbortSignal}} [options]
     * @returns {AsyncGenerator<Task, void, void>}
     */
    watch(id: number, { signal }?: {
        signal?: AbortSignal;
    }): AsyncGenerator<Task, void, void>;
    /**
     * Waits until a task has ended, and returns it.
     * @param {number} id
     * @param {{signal?: AbortSignal}} [options] `AbortSignal.timeout(ms)` bounds the time.
     * @returns {Promise<Task>}
     */
    wait(id: number, options?: {
        signal?: AbortSignal;
    }): Promise<Task>;
    /**
     * Returns the result of a task; null before it has completed.
     * @param {number} id
     * @returns {Promise<import("./task.js").TaskResult | null>}
     */
    result(id: number): Promise<import("./task.js").TaskResult | null>;
    /**
     * Yields the kept results of a task, in the order in which they were collected, to its end. Its sink must be `keep`.
     * @param {number} id
     * @param {{page?: number}} [options]
     * @returns {AsyncGenerator<any, void, void>}
     */
    results(id: number, { page }?: {
        page?: number;
    }): AsyncGenerator<any, void, void>;
    /**
     * Yields the items of a task that failed for good.
     * @param {number} id
     * @param {{page?: number}} [options]
     * @returns {AsyncGenerator<import("./task.js").Failure, void, void>}
     */
    failures(id: number, { page }?: {
        page?: number;
    }): AsyncGenerator<import("./task.js").Failure, void, void>;
    #private;
}
export type Task = import("./task.js").Task;
export type TaskFields = import("./task.js").TaskFields;
/**
 * The requests of a client, for the parts of it.
 */
export type Calls = {
    send: (method: string, path: string, body?: unknown, key?: string) => Promise<any>;
    act: (path: string, action: string) => Promise<any>;
    pages: (path: string, what: string) => AsyncGenerator<any, void, void>;
};
import { Flows } from "./flows.js";
import { Schedules } from "./schedules.js";
