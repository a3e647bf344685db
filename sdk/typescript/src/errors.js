/** The base of all errors of this package. */
export class DtfError extends Error {
  /**
   * @param {string} message
   * @param {ErrorOptions} [options]
   */
  constructor(message, options) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** Says that a server did not answer, or answered something that cannot be read. The request may have been carried out. */
export class ConnectionError extends DtfError {}

/** An error that a server answered. */
export class ApiError extends DtfError {
  /**
   * @param {string} code
   * @param {string} detail
   * @param {number} status
   * @param {number} [retryAfter]
   */
  constructor(code, detail, status, retryAfter) {
    super(`${detail} (${code}, HTTP ${status})`);
    /** Its stable name, such as `not_found`. */
    this.code = code;
    /** A sentence: what was wrong, and what is allowed. */
    this.detail = detail;
    /** The HTTP status. */
    this.status = status;
    /** The pause that the server asks for, in seconds. */
    this.retryAfter = retryAfter;
  }

  /** True if the same request may succeed later. */
  get isRetryable() {
    return this.code !== "refused" && (this.status >= 500 || [408, 425, 429].includes(this.status));
  }
}

/** Thrown by a function of a worker: the item has failed for good. Any other error means that another attempt may succeed. */
export class FinalError extends DtfError {}
