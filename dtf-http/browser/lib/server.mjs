// A `dtf dev` of a test's own, and its API.
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

/** The time that nothing here needs, in milliseconds. */
export const PATIENCE = 60_000;

/** A server. Its token, if it has any, is an admin's. */
export class Server {
  #process;
  #log = [];

  constructor(process) {
    this.#process = process;
  }

  /** Starts `dtf dev`, which the environment variable DTF names, on a free port. */
  static async start(...options) {
    const program = process.env.DTF;
    if (!program) throw new Error("DTF names no program; set it to the path of dtf, as dtf-http/browser/test does");
    if (process.env.STAGE) return Server.#onServers(process.env.STAGE, options);
    const child = spawn(program, ["dev", "--listen", "127.0.0.1:0", ...options], { stdio: ["ignore", "pipe", "pipe"] });
    const server = new Server(child);
    const said = (text) => server.#log.push(text);
    createInterface(child.stderr).on("line", said);
    createInterface(child.stdout).on("line", said);
    await until("a server that listens", () => {
      if (child.exitCode !== null) throw new Error(`${program} dev ended: ${server.log}`);
      server.url = /http:\/\/[^ ]*:\d+/.exec(server.log)?.[0];
      server.token = /\bdtf_[0-9a-f]+_[0-9a-f]+/.exec(server.log)?.[0];
      return server.url && (server.token || !options.includes("--tokens"));
    });
    return server;
  }

  /** Starts a service on private servers, which ends with its standard input. The first token that it has is needed from then on. */
  static async #onServers(program, options) {
    const child = spawn(program, [], { stdio: ["pipe", "pipe", "pipe"] });
    const server = new Server(child);
    const said = (text) => server.#log.push(text);
    createInterface(child.stderr).on("line", said);
    createInterface(child.stdout).on("line", said);
    await until("a service on servers", () => {
      if (child.exitCode !== null) throw new Error(`${program} ended: ${server.log}`);
      const says = (what) => new RegExp(`^${what}(\\S+)$`, "m").exec(server.log)?.[1];
      [server.database, server.etcd] = [says("database: "), says("etcd: ")];
      server.url = says("(?=http)");
      return server.url;
    });
    await until("all roles", async () => {
      const { roles } = await server.get("/v1/cluster");
      return roles.every(({ parts, held }) => held === parts);
    });
    if (options.includes("--tokens")) {
      server.token = (await server.call("POST", "/v1/tokens", { name: "the test", role: "admin" })).secret;
      await until("requests without a token to be refused", async () => (await fetch(`${server.url}/v1/tasks`)).status === 401);
    }
    return server;
  }

  get log() {
    return this.#log.join("\n");
  }

  /** Sends a request, and returns the JSON of its answer. */
  async call(method, path, body) {
    const headers = { "Idempotency-Key": randomUUID() };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    if (this.token) headers.Authorization = `Bearer ${this.token}`;
    const response = await fetch(this.url + path, { method, headers, body: body && JSON.stringify(body) });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return text ? JSON.parse(text) : null;
  }

  get(path) {
    return this.call("GET", path);
  }

  /** Creates a task, and returns its id. */
  async task(param, fields = {}) {
    return (await this.call("POST", "/v1/tasks", { type: "noop", param, ...fields })).id;
  }

  /** Waits until a task is as a condition wants it, and returns it. */
  seen(id, condition, what) {
    return until(`task ${id} to be ${what}`, async () => {
      const task = await this.get(`/v1/tasks/${id}`);
      return condition(task) && task;
    });
  }

  async stop() {
    if (this.#process.exitCode !== null) return;
    const end = once(this.#process, "exit");
    if (this.#process.stdin) this.#process.stdin.end();
    else this.#process.kill("SIGTERM");
    const late = setTimeout(() => this.#process.kill("SIGKILL"), 15_000);
    await end;
    clearTimeout(late);
  }
}

/** Waits for a condition, and returns what it returned. */
export async function until(what, condition) {
  const end = Date.now() + PATIENCE;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > end) throw new Error(`waited ${PATIENCE / 1000} s for ${what}`);
    await sleep(50);
  }
}
