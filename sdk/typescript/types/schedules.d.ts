/** @typedef {import("./task.js").Task} Task */
/**
 * A schedule, as the API describes it; further fields are in its OpenAPI description.
 * @typedef {object} Schedule
 * @property {string} name
 * @property {string} when
 * @property {string} words `when` in words.
 * @property {string} zone
 * @property {boolean} paused
 * @property {number[]} upcoming The next ten due times in milliseconds since the Unix epoch.
 */
/**
 * What a schedule creates, and how. In texts of a `param`, `{{due}}` stands for the due time.
 * @typedef {object} ScheduleFields
 * @property {{type: string, param?: unknown} & import("./task.js").TaskFields} [task] The task that each due time creates. Either this or `flow`.
 * @property {import("./flows.js").FlowBuilder} [flow] The flow that each due time creates.
 * @property {string} [zone] The time zone, such as `Europe/Berlin`. Default `UTC`.
 * @property {"skip" | "queue_one" | "allow" | "cancel_other"} [overlap] What happens while a task of it has not ended. Default `skip`.
 * @property {string} [description]
 * @property {number} [catch_up_ms] Due times up to this long ago still create tasks. Default one hour.
 * @property {number} [jitter_ms] Each due time is put off by a span below this one. Default 0.
 * @property {number} [start_at]
 * @property {number} [end_at]
 */
/** The schedules of a service, as `client.schedules`: tasks and flows that are created again and again. */
export class Schedules {
    /** @param {import("./client.js").Calls} calls */
    constructor(calls: import("./client.js").Calls);
    /**
     * Creates a schedule.
     * @param {string} name
     * @param {string} when A cron expression, `@daily` or the like, or an interval such as `@every 90s`.
     * @param {ScheduleFields} fields
     * @returns {Promise<Schedule>}
     */
    create(name: string, when: string, fields: ScheduleFields): Promise<Schedule>;
    /**
     * Returns a schedule.
     * @param {string} name
     * @returns {Promise<Schedule>}
     */
    get(name: string): Promise<Schedule>;
    /**
     * Yields the schedules, by name.
     * @returns {AsyncGenerator<Schedule, void, void>}
     */
    list(): AsyncGenerator<Schedule, void, void>;
    /**
     * Has due times pass without effect.
     * @param {string} name
     * @returns {Promise<Schedule>}
     */
    pause(name: string): Promise<Schedule>;
    /**
     * Resumes a paused schedule.
     * @param {string} name
     * @returns {Promise<Schedule>}
     */
    resume(name: string): Promise<Schedule>;
    /**
     * Creates a task of a schedule at once, and returns it; of a flow, its first one.
     * @param {string} name
     * @returns {Promise<Task>}
     */
    trigger(name: string): Promise<Task>;
    /**
     * Has the tasks of a period's due times created that are missing, so many at once. Times are in milliseconds since the Unix epoch.
     * @param {string} name
     * @param {{from: number, until: number, concurrency?: number}} period `concurrency` is 1 by default.
     * @returns {Promise<Schedule>}
     */
    backfill(name: string, period: {
        from: number;
        until: number;
        concurrency?: number;
    }): Promise<Schedule>;
    /**
     * Deletes a schedule; its tasks stay.
     * @param {string} name
     * @returns {Promise<void>}
     */
    delete(name: string): Promise<void>;
    #private;
}
export type Task = import("./task.js").Task;
/**
 * A schedule, as the API describes it; further fields are in its OpenAPI description.
 */
export type Schedule = {
    name: string;
    when: string;
    /**
     * `when` in words.
     */
    words: string;
    zone: string;
    paused: boolean;
    /**
     * The next ten due times in milliseconds since the Unix epoch.
     */
    upcoming: number[];
};
/**
 * What a schedule creates, and how. In texts of a `param`, `{{due}}` stands for the due time.
 */
export type ScheduleFields = {
    /**
     * The task that each due time creates. Either this or `flow`.
     */
    task?: ({
        type: string;
        param?: unknown;
    } & import("./task.js").CommonFields & {
        name?: string;
        after?: {
            task: number;
            when?: import("./task.js").Condition;
        }[];
        unique?: import("./task.js").Unique;
    }) | undefined;
    /**
     * The flow that each due time creates.
     */
    flow?: import("./flows.js").FlowBuilder | undefined;
    /**
     * The time zone, such as `Europe/Berlin`. Default `UTC`.
     */
    zone?: string | undefined;
    /**
     * What happens while a task of it has not ended. Default `skip`.
     */
    overlap?: "skip" | "queue_one" | "allow" | "cancel_other" | undefined;
    description?: string | undefined;
    /**
     * Due times up to this long ago still create tasks. Default one hour.
     */
    catch_up_ms?: number | undefined;
    /**
     * Each due time is put off by a span below this one. Default 0.
     */
    jitter_ms?: number | undefined;
    start_at?: number | undefined;
    end_at?: number | undefined;
};
