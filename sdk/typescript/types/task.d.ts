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
 * @property {"created" | "running" | "paused" | "cancelled" | "completed" | "exceptional" | "skipped"} status
 * @property {string} reason The reason of the status, where there is something to say.
 * @property {Progress} [progress]
 * @property {string[]} blocked_on The conditions that it waits for, such as a worker that has its function.
 * @property {number | null} [finished_at] The time of its end in milliseconds since the Unix epoch; none before.
 * @property {string | null} [flow_task] Its name in its flow, if it was created with one.
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
 * The source of a task's items. An array is a list; so is what {@link FlowTask.result} returns. `"items"` are fed by {@link Client.feed}.
 * @typedef {unknown[] | {list: unknown[] | import("./flows.js").ResultOf} | {range: {from?: number, to: number}} | {lines: string} | {jsonl: string} | "items"} Source
 */
/**
 * The condition on the end of a task: completed with no item failed; ended, however; exceptional, or completed with items that failed.
 * @typedef {"completed" | "ended" | "failed"} Condition
 */
/**
 * A key that no other task has for a time: until the first run begins, until the end, or for `period_ms` from the creation. Creating again
 * meanwhile returns the task that has it.
 * @typedef {object} Unique
 * @property {string} key
 * @property {"pending" | "running" | "period"} [while] Default `running`.
 * @property {number} [period_ms] With `period` only.
 */
/**
 * Fields that tasks and tasks of flows have, besides type and parameter.
 * @typedef {object} CommonFields
 * @property {string} [description]
 * @property {{uid?: number, name?: string}} [creator]
 * @property {string} [group] Default `default`.
 * @property {number} [priority] From 2000 (low) to 9000 (high). Default 6000.
 * @property {number} [timeout_ms] The longest it may run. Default 30 minutes.
 * @property {number} [start_at] The earliest time at which it starts, in milliseconds since the Unix epoch.
 * @property {Record<string, unknown>} [limits]
 */
/**
 * Further fields of a task.
 * @typedef {CommonFields & {name?: string, after?: {task: number, when?: Condition}[], unique?: Unique}} TaskFields
 */
/**
 * Options of {@link Client.map}.
 * @typedef {object} MapOptions
 * @property {"count" | "keep" | {jsonl: string}} [sink] Default `count`.
 * @property {number} [attempts] The number of attempts at an item. Default 3.
 * @property {number} [timeout] The time for an item, in seconds. Default 300.
 * @property {string} [name] The task's name.
 * @property {string} [group] The task's group.
 * @property {TaskFields} [fields] Further fields of the task, such as `priority` or `unique`.
 */
/**
 * Returns the parameter of a task that runs a workers' function on every item of a source.
 * @param {string} name
 * @param {Source} source
 * @param {MapOptions} options
 */
export function mapParam(name: string, source: Source, { sink, attempts, timeout }: MapOptions): {
    source: {
        list: unknown[] | import("./flows.js").ResultOf;
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
    function: {
        worker: string;
    };
    sink: "keep" | {
        jsonl: string;
    } | "count";
    attempts: number;
    timeout_ms: number;
};
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
    status: "created" | "running" | "paused" | "cancelled" | "completed" | "exceptional" | "skipped";
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
    /**
     * Its name in its flow, if it was created with one.
     */
    flow_task?: string | null | undefined;
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
 * The source of a task's items. An array is a list; so is what {@link FlowTask.result} returns. `"items"` are fed by {@link Client.feed}.
 */
export type Source = unknown[] | {
    list: unknown[] | import("./flows.js").ResultOf;
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
 * The condition on the end of a task: completed with no item failed; ended, however; exceptional, or completed with items that failed.
 */
export type Condition = "completed" | "ended" | "failed";
/**
 * A key that no other task has for a time: until the first run begins, until the end, or for `period_ms` from the creation. Creating again
 * meanwhile returns the task that has it.
 */
export type Unique = {
    key: string;
    /**
     * Default `running`.
     */
    while?: "running" | "pending" | "period" | undefined;
    /**
     * With `period` only.
     */
    period_ms?: number | undefined;
};
/**
 * Fields that tasks and tasks of flows have, besides type and parameter.
 */
export type CommonFields = {
    description?: string | undefined;
    creator?: {
        uid?: number;
        name?: string;
    } | undefined;
    /**
     * Default `default`.
     */
    group?: string | undefined;
    /**
     * From 2000 (low) to 9000 (high). Default 6000.
     */
    priority?: number | undefined;
    /**
     * The longest it may run. Default 30 minutes.
     */
    timeout_ms?: number | undefined;
    /**
     * The earliest time at which it starts, in milliseconds since the Unix epoch.
     */
    start_at?: number | undefined;
    limits?: Record<string, unknown> | undefined;
};
/**
 * Further fields of a task.
 */
export type TaskFields = CommonFields & {
    name?: string;
    after?: {
        task: number;
        when?: Condition;
    }[];
    unique?: Unique;
};
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
     * Further fields of the task, such as `priority` or `unique`.
     */
    fields?: TaskFields | undefined;
};
