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
  #calls;

  /** @param {import("./client.js").Calls} calls */
  constructor(calls) {
    this.#calls = calls;
  }

  /**
   * Creates a schedule.
   * @param {string} name
   * @param {string} when A cron expression, `@daily` or the like, or an interval such as `@every 90s`.
   * @param {ScheduleFields} fields
   * @returns {Promise<Schedule>}
   */
  async create(name, when, fields) {
    if ((fields.task === undefined) === (fields.flow === undefined)) {
      const what = fields.task === undefined ? "no task and no flow" : "a task and a flow";
      throw new TypeError(`schedule ${JSON.stringify(name)} has ${what}; give it one of them`);
    }
    return this.#calls.send("POST", "/v1/schedules", { name, when, ...fields }, crypto.randomUUID());
  }

  /**
   * Returns a schedule.
   * @param {string} name
   * @returns {Promise<Schedule>}
   */
  get(name) {
    return this.#calls.send("GET", path(name));
  }

  /**
   * Yields the schedules, by name.
   * @returns {AsyncGenerator<Schedule, void, void>}
   */
  list() {
    return this.#calls.pages("/v1/schedules", "schedules");
  }

  /**
   * Has due times pass without effect.
   * @param {string} name
   * @returns {Promise<Schedule>}
   */
  pause(name) {
    return this.#calls.act(path(name), "pause");
  }

  /**
   * Resumes a paused schedule.
   * @param {string} name
   * @returns {Promise<Schedule>}
   */
  resume(name) {
    return this.#calls.act(path(name), "resume");
  }

  /**
   * Creates a task of a schedule at once, and returns it; of a flow, its first one.
   * @param {string} name
   * @returns {Promise<Task>}
   */
  trigger(name) {
    return this.#calls.send("POST", `${path(name)}/trigger`, undefined, crypto.randomUUID());
  }

  /**
   * Has the tasks of a period's due times created that are missing, so many at once. Times are in milliseconds since the Unix epoch.
   * @param {string} name
   * @param {{from: number, until: number, concurrency?: number}} period `concurrency` is 1 by default.
   * @returns {Promise<Schedule>}
   */
  backfill(name, period) {
    return this.#calls.send("POST", `${path(name)}/backfill`, period);
  }

  /**
   * Deletes a schedule; its tasks stay.
   * @param {string} name
   * @returns {Promise<void>}
   */
  async delete(name) {
    await this.#calls.send("DELETE", path(name));
  }
}

/** @param {string} name */
function path(name) {
  return `/v1/schedules/${encodeURIComponent(name)}`;
}
