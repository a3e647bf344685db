/**
 * The number of a task's items by outcome.
 * @typedef {{created: number, succeeded: number, failed: number, timed_out: number, cancelled: number}} Progress
 */
/**
 * A task, as the API describes it; further fields are in its OpenAPI description.
 * @typedef {object} Task
 * @property {number} id
 * @property {string} type
 * @property {string} name
 * @property {string} group
 * @property {"created" | "running" | "paused" | "cancelled" | "completed" | "exceptional"} status
 * @property {string} reason The reason of the status, where there is something to say.
 * @property {Progress} [progress]
 * @property {string[]} blocked_on The conditions that it waits for, such as a worker that has its function.
 * @property {number | null} [finished_at] The time of its end in milliseconds since the Unix epoch; none before.
 */
/**
 * An item that failed for good.
 * @typedef {object} Failure
 * @property {number} epoch
 * @property {number} seq
 * @property {string} error
 * @property {boolean} timed_out
 * @property {string | null} [body] The item as text, where the service kept it.
 */
/**
 * The result of a task that has completed.
 * @typedef {{code: number, reason: string, data: unknown}} TaskResult
 */
/**
 * The source of a task's items. An array is a list; `"items"` are fed by {@link Client.feed}.
 * @typedef {unknown[] | {list: unknown[]} | {range: {from?: number, to: number}} | {lines: string} | {jsonl: string}} Source
 */
/**
 * Options of {@link Client.map}.
 * @typedef {object} MapOptions
 * @property {"count" | "keep" | {jsonl: string}} [sink] Default `count`.
 * @property {number} [attempts] The number of attempts at an item. Default 3.
 * @property {number} [timeout] The time for an item, in seconds. Default 300.
 * @property {string} [name] The task's name.
 * @property {string} [group] The task's group.
 * @property {Record<string, unknown>} [fields] Further fields of the task, such as `priority`.
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
    /**
     * Creates a task that runs a workers' function on every item of a source.
     * @param {string} name The function.
     * @param {Source} source
     * @param {MapOptions} [options]
     * @returns {Promise<Task>}
     */
    map(name: string, source: Source, { sink, attempts, timeout, name: title, group, fields }?: MapOptions): Promise<Task>;
    /**
     * Creates a task of any type.
     * @param {string} type
     * @param {unknown} param
     * @param {Record<string, unknown>} [fields]
     * @returns {Promise<Task>}
     */
    create(type: string, param: unknown, fields?: Record<string, unknown>): Promise<Task>;
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
     */
    pause(id: number): Promise<Task>;
    /**
     * Resumes a paused task.
     * @param {number} id
     */
    resume(id: number): Promise<Task>;
    /**
     * Cancels a task.
     * @param {number} id
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
     * @returns {Promise<TaskResult | null>}
     */
    result(id: number): Promise<TaskResult | null>;
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
     * @returns {AsyncGenerator<Failure, void, void>}
     */
    failures(id: number, { page }?: {
        page?: number;
    }): AsyncGenerator<Failure, void, void>;
    #private;
}
/**
 * The number of a task's items by outcome.
 */
export type Progress = {
    created: number;
    succeeded: number;
    failed: number;
    timed_out: number;
    cancelled: number;
};
/**
 * A task, as the API describes it; further fields are in its OpenAPI description.
 */
export type Task = {
    id: number;
    type: string;
    name: string;
    group: string;
    status: "created" | "running" | "paused" | "cancelled" | "completed" | "exceptional";
    /**
     * The reason of the status, where there is something to say.
     */
    reason: string;
    progress?: Progress | undefined;
    /**
     * The conditions that it waits for, such as a worker that has its function.
     */
    blocked_on: string[];
    /**
     * The time of its end in milliseconds since the Unix epoch; none before.
     */
    finished_at?: number | null | undefined;
};
/**
 * An item that failed for good.
 */
export type Failure = {
    epoch: number;
    seq: number;
    error: string;
    timed_out: boolean;
    /**
     * The item as text, where the service kept it.
     */
    body?: string | null | undefined;
};
/**
 * The result of a task that has completed.
 */
export type TaskResult = {
    code: number;
    reason: string;
    data: unknown;
};
/**
 * The source of a task's items. An array is a list.
 */
export type Source = unknown[] | {
    list: unknown[];
} | {
    range: {
        from?: number;
        to: number;
    };
} | {
    lines: string;
} | {
    jsonl: string;
} | "items";
/**
 * Options of {@link Client.map}.
 */
export type MapOptions = {
    /**
     * Default `count`.
     */
    sink?: "keep" | {
        jsonl: string;
    } | "count" | undefined;
    /**
     * The number of attempts at an item. Default 3.
     */
    attempts?: number | undefined;
    /**
     * The time for an item, in seconds. Default 300.
     */
    timeout?: number | undefined;
    /**
     * The task's name.
     */
    name?: string | undefined;
    /**
     * The task's group.
     */
    group?: string | undefined;
    /**
     * Further fields of the task, such as `priority`.
     */
    fields?: Record<string, unknown> | undefined;
};
