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
    /**
     * @param {WorkItem} given
     * @param {import("./worker.js").Offered | undefined} offered
     * @param {string} session The session that it was given to.
     * @param {number} now
     * @param {(item: Item, note: Note) => void} tell Takes what the function says of the item.
     */
    constructor(given: WorkItem, offered: import("./worker.js").Offered | undefined, session: string, now: number, tell: (item: Item, note: Note) => void);
    /** The time at which it began, in milliseconds; none while it waits for a slot. */
    began: number;
    /** True once it has an outcome, or is not wanted any more. */
    over: boolean;
    /** True once it takes no slot any more. */
    released: boolean;
    /** The report on it, as JSON, and its bytes. */
    report: string;
    size: number;
    succeeded: boolean;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    timer: ReturnType<typeof setTimeout> | undefined;
    ticket: string;
    offered: import("./worker.js").Offered | undefined;
    body: any;
    task: number;
    key: string;
    attempt: number;
    timeout: number;
    session: string;
    given: number;
    get function(): string;
    get signal(): AbortSignal;
    /** @returns {(fraction: number, message?: string) => void} */
    get progress(): (fraction: number, message?: string) => void;
    /** @returns {(message: string) => void} */
    get log(): (message: string) => void;
    /** Tells the function that the item is not wanted any more. */
    cancel(): void;
    /** @param {unknown} value */
    succeed(value: unknown): void;
    /** @param {unknown} error */
    fail(error: unknown): void;
    #private;
}
/**
 * An item as a gateway gives it.
 */
export type WorkItem = {
    ticket: string;
    function: string;
    task: number;
    key: string;
    attempt: number;
    timeout_ms: number;
    body: any;
};
/**
 * What is told of an item that runs.
 */
export type Note = {
    progress?: number;
    message?: string;
};
