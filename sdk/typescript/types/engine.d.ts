/** The most items of an answer, and reports of a request. */
export const MAX_ITEMS: 1000;
/** @typedef {{id: string, gateway: number}} Session */
/** A worker that runs: one loop polls, one reports, one beats, one tells what functions say of their items. */
export class Engine {
    /**
     * @param {object} options
     * @param {Map<string, import("./worker.js").Offered>} options.functions
     * @param {import("./http.js").Transport} options.transport
     * @param {object} options.info
     * @param {number} options.concurrency
     * @param {number | undefined} options.prefetch
     * @param {(message: string) => void} options.log
     */
    constructor({ functions, transport, info, concurrency, prefetch, log }: {
        functions: Map<string, import("./worker.js").Offered>;
        transport: import("./http.js").Transport;
        info: object;
        concurrency: number;
        prefetch: number | undefined;
        log: (message: string) => void;
    });
    /** Runs until the worker has been drained. */
    run(): Promise<void>;
    /** Takes nothing more; what runs comes to its end, and what waits goes back. */
    drain(): void;
    #private;
}
export type Session = {
    id: string;
    gateway: number;
};
