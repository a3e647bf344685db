/** @typedef {import("./task.js").Task} Task */
/** @typedef {import("./task.js").Condition} Condition */
/** @typedef {import("./task.js").CommonFields} CommonFields */
/**
 * The end of a task of a flow that another one waits for.
 * @typedef {{task: string, when: Condition}} FlowCondition
 */
/**
 * What stands in a parameter for a part of the result of a task of the flow.
 * @typedef {{$result: string, of: string}} ResultOf
 */
/**
 * What a task of a flow waits for: a condition, or a task that completes, by itself or by its name.
 * @typedef {FlowTask | FlowCondition | string} After
 */
/**
 * The number of a flow's tasks by state.
 * @typedef {{tasks: number, waiting: number, running: number, completed: number, failed: number, cancelled: number, skipped: number}} FlowCounts
 */
/**
 * A flow without its tasks.
 * @typedef {object} FlowSummary
 * @property {number} id
 * @property {string} name
 * @property {number | null} [retry_of] The flow whose failed tasks it runs again.
 * @property {number} created_at
 * @property {FlowCounts} counts
 */
/**
 * A flow, as the API describes it. A task's name in the flow is its `flow_task`.
 * @typedef {FlowSummary & {tasks: Task[], edges: {task: number, on: number, when: Condition}[]}} Flow
 */
/** A task of a flow that is about to be created. In `after` it stands for {@link FlowTask.completed}. */
export class FlowTask {
    /** @param {string} name */
    constructor(name: string);
    name: string;
    /**
     * It completes, and none of its items fails or times out.
     * @returns {FlowCondition}
     */
    get completed(): FlowCondition;
    /**
     * It ends, however it does.
     * @returns {FlowCondition}
     */
    get ended(): FlowCondition;
    /**
     * It ends as exceptional, or completes with items that failed or timed out.
     * @returns {FlowCondition}
     */
    get failed(): FlowCondition;
    /**
     * Returns what stands in a parameter for a part of this task's result, at most 64 KiB. The task with the parameter must wait for this one.
     * @param {string} [pointer] A JSON pointer into `data` of the result, as `/succeeded`. Default: all of it.
     * @returns {ResultOf}
     */
    result(pointer?: string): ResultOf;
}
/**
 * A flow that is about to be created by {@link Flows.create}. A task waits for tasks that were added before it, so that none can wait for
 * itself.
 *
 * ```ts
 * const flow = new FlowBuilder("nightly");
 * const extract = flow.map("extract", "fetch", ["a", "b"]);
 * const load = flow.task("load", "noop", { count: extract.result("/succeeded") }, { after: [extract] });
 * flow.task("alarm", "noop", { count: 1 }, { after: [load.failed] });
 * ```
 */
export class FlowBuilder {
    /** @param {string} [name] The name that people know it by. */
    constructor(name?: string);
    name: string;
    /**
     * Adds a task of any type under a name that no other task of the flow has.
     * @param {string} name
     * @param {string} type
     * @param {unknown} [param]
     * @param {CommonFields & {after?: After[]}} [fields]
     * @returns {FlowTask}
     */
    task(name: string, type: string, param?: unknown, { after, ...fields }?: CommonFields & {
        after?: After[];
    }): FlowTask;
    /**
     * Adds a task that runs a workers' function on every item of a source, as {@link Client.map} does. A part of an earlier task's result may
     * be the list of a source: `{list: earlier.result("/names")}`.
     * @param {string} name
     * @param {string} worker The function.
     * @param {import("./task.js").Source} source
     * @param {Pick<import("./task.js").MapOptions, "sink" | "attempts" | "timeout"> & CommonFields & {after?: After[]}} [options]
     * @returns {FlowTask}
     */
    map(name: string, worker: string, source: import("./task.js").Source, { sink, attempts, timeout, ...fields }?: Pick<import("./task.js").MapOptions, "sink" | "attempts" | "timeout"> & CommonFields & {
        after?: After[];
    }): FlowTask;
    /** Returns the flow as the API and `dtf flow submit` take it. */
    toJSON(): {
        name: string;
        tasks: {
            [k: string]: Record<string, unknown>;
        };
    };
    #private;
}
/** The flows of a service, as `client.flows`. */
export class Flows {
    /** @param {import("./client.js").Calls} calls */
    constructor(calls: import("./client.js").Calls);
    /**
     * Creates all tasks of a flow, or none.
     * @param {FlowBuilder} flow
     * @returns {Promise<Flow>}
     */
    create(flow: FlowBuilder): Promise<Flow>;
    /**
     * Returns a flow with its tasks.
     * @param {number} id
     * @returns {Promise<Flow>}
     */
    get(id: number): Promise<Flow>;
    /**
     * Yields the flows, the newest first.
     * @returns {AsyncGenerator<FlowSummary, void, void>}
     */
    list(): AsyncGenerator<FlowSummary, void, void>;
    /**
     * Pauses the tasks of a flow.
     * @param {number} id
     * @returns {Promise<Flow>}
     */
    pause(id: number): Promise<Flow>;
    /**
     * Resumes the paused tasks of a flow.
     * @param {number} id
     * @returns {Promise<Flow>}
     */
    resume(id: number): Promise<Flow>;
    /**
     * Cancels the tasks of a flow that have not ended.
     * @param {number} id
     * @returns {Promise<Flow>}
     */
    cancel(id: number): Promise<Flow>;
    /**
     * Creates a new flow of what failed in a flow and what was skipped behind it.
     * @param {number} id
     * @returns {Promise<Flow>}
     */
    retry(id: number): Promise<Flow>;
    /**
     * Yields the flow whenever it has changed, at most twice a second; in the last one all tasks have ended.
     * @param {number} id
     * @param {{signal?: AbortSignal}} [options]
     * @returns {AsyncGenerator<Flow, void, void>}
     */
    watch(id: number, { signal }?: {
        signal?: AbortSignal;
    }): AsyncGenerator<Flow, void, void>;
    /**
     * Waits until all tasks of a flow have ended, and returns it.
     * @param {number} id
     * @param {{signal?: AbortSignal}} [options] `AbortSignal.timeout(ms)` bounds the time.
     * @returns {Promise<Flow>}
     */
    wait(id: number, options?: {
        signal?: AbortSignal;
    }): Promise<Flow>;
    #private;
}
export type Task = import("./task.js").Task;
export type Condition = import("./task.js").Condition;
export type CommonFields = import("./task.js").CommonFields;
/**
 * The end of a task of a flow that another one waits for.
 */
export type FlowCondition = {
    task: string;
    when: Condition;
};
/**
 * What stands in a parameter for a part of the result of a task of the flow.
 */
export type ResultOf = {
    $result: string;
    of: string;
};
/**
 * What a task of a flow waits for: a condition, or a task that completes, by itself or by its name.
 */
export type After = FlowTask | FlowCondition | string;
/**
 * The number of a flow's tasks by state.
 */
export type FlowCounts = {
    tasks: number;
    waiting: number;
    running: number;
    completed: number;
    failed: number;
    cancelled: number;
    skipped: number;
};
/**
 * A flow without its tasks.
 */
export type FlowSummary = {
    id: number;
    name: string;
    /**
     * The flow whose failed tasks it runs again.
     */
    retry_of?: number | null | undefined;
    created_at: number;
    counts: FlowCounts;
};
/**
 * A flow, as the API describes it. A task's name in the flow is its `flow_task`.
 */
export type Flow = FlowSummary & {
    tasks: Task[];
    edges: {
        task: number;
        on: number;
        when: Condition;
    }[];
};
