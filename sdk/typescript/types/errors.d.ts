/** The base of all errors of this package. */
export class DtfError extends Error {
    /**
     * @param {string} message
     * @param {ErrorOptions} [options]
     */
    constructor(message: string, options?: ErrorOptions);
}
/** Says that a server did not answer, or answered something that cannot be read. The request may have been carried out. */
export class ConnectionError extends DtfError {
}
/** An error that a server answered. */
export class ApiError extends DtfError {
    /**
     * @param {string} code
     * @param {string} detail
     * @param {number} status
     * @param {number} [retryAfter]
     */
    constructor(code: string, detail: string, status: number, retryAfter?: number);
    /** Its stable name, such as `not_found`. */
    code: string;
    /** A sentence: what was wrong, and what is allowed. */
    detail: string;
    /** The HTTP status. */
    status: number;
    /** The pause that the server asks for, in seconds. */
    retryAfter: number | undefined;
    /** True if the same request may succeed later. */
    get isRetryable(): boolean;
}
/** Thrown by a function of a worker: the item has failed for good. Any other error means that another attempt may succeed. */
export class FinalError extends DtfError {
}
