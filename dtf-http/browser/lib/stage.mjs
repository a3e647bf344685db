// What the pages of a server show: tasks in every state, flows, schedules, groups, tokens.

/** Creates it, and returns the ids. One task runs for minutes, in a part of the slots. */
export async function furnish(server, pictures = { count: 20_000, sleep_ms: 2000 }) {
  await server.call("PUT", "/v1/groups/nightly", { quota: 300 });
  await server.call("PUT", "/v1/groups/reports", { quota: 100 });
  const done = await server.task({ count: 2000 }, { name: "import customers", group: "nightly" });
  const failed = await server.task(
    { count: 40, failure_rate: 0.3 },
    {
      name: "import orders", group: "nightly", description: "Orders of the day, one subtask a shop",
      // Nobody listens there.
      hooks: [{ url: "http://127.0.0.1:9/a/rather/long/path/of/a/receiver/that/is/not/there" }],
    },
  );
  const flow = await server.call("POST", "/v1/flows", {
    name: "nightly",
    tasks: {
      extract: { type: "noop", param: { count: 300 }, group: "nightly" },
      check: { type: "noop", param: { count: 50, failure_rate: 1 }, after: ["extract"] },
      load: { type: "noop", param: { count: 20, sleep_ms: 900_000 }, after: ["extract"], timeout_ms: 86_400_000 },
      publish: { type: "noop", param: { count: 10 }, after: ["load", "check"] },
      index: { type: "noop", param: { count: 10 }, after: ["load"] },
      "tell somebody who is awake": { type: "noop", param: { count: 1 }, after: [{ task: "check", when: "failed" }] },
      "clean up": { type: "noop", param: { count: 5 }, after: [{ task: "load", when: "ended" }, { task: "publish", when: "ended" }] },
    },
  });
  const shown = { name: "resize pictures", group: "reports", timeout_ms: 86_400_000, limits: { running: 200 } };
  const running = await server.task(pictures, shown);
  await server.task({ count: 1 }, { name: "of next year", start_at: Date.now() + 86_400_000 * 365 });
  await server.task({ count: 1 }, { name: "after the pictures", after: [{ task: running }] });
  const worker = { source: { list: [1, 2, 3] }, function: { worker: "thumbnail" }, sink: "count" };
  const blocked = (await server.call("POST", "/v1/tasks", { type: "map", param: worker, name: "thumbnails" })).id;
  await server.call("PUT", "/v1/types/thumbnails", {
    description: "Thumbnails of the pictures in a list",
    schema: {
      type: "object",
      required: ["files", "format"],
      properties: {
        files: { type: "string", description: "a file with the name of a picture on each line" },
        width: { type: "integer", default: 200 },
        quality: { type: "number" },
        format: { enum: ["png", "jpeg"] },
        crop: { type: "boolean" },
        tags: { type: "array", items: { type: "string" } },
      },
    },
    template: { source: { lines: { $param: "/files" } }, function: { worker: "thumbnail" }, sink: "count" },
  });
  const param = { count: 10 };
  const schedules = [
    { name: "nightly import", when: "30 2 * * *", zone: "Europe/Berlin", task: { type: "noop", param, group: "nightly" } },
    { name: "reports of the hour €", when: "@every 1h", flow: { name: "reports", tasks: { one: { type: "noop", param }, two: { type: "noop", param, after: ["one"] } } } },
    { name: "paused", when: "0 9 * * mon-fri", task: { type: "noop", param }, description: "Until the new importer is there" },
  ];
  for (const schedule of schedules) await server.call("POST", "/v1/schedules", schedule);
  await server.call("POST", "/v1/schedules/paused/pause");
  await server.call("POST", "/v1/schedules/nightly%20import/trigger");
  const bulk = await server.call("POST", "/v1/bulk", { action: "resume", filter: { name: "import customers" } });
  await server.seen(failed, ({ finished_at }) => finished_at, "ended");
  await server.seen(done, ({ finished_at }) => finished_at, "ended");
  await server.seen(running, ({ progress }) => progress?.running > 0, "running");
  return { done, failed, running, blocked, flow: flow.id, bulk: bulk.id };
}

/** Returns the path of every page, by the pattern of its route. */
export function pages({ failed, flow, bulk }) {
  return {
    "/": "/",
    "/tasks": "/tasks?name_prefix=import",
    "/tasks/new": "/tasks/new?type=noop",
    "/tasks/{id}": `/tasks/${failed}`,
    "/bulk/{id}": `/bulk/${bulk}`,
    "/groups": "/groups",
    "/groups/{name}": "/groups/nightly",
    "/types": "/types",
    "/types/{name}": "/types/thumbnails",
    "/workers": "/workers",
    "/placement/{role}": "/placement/executor",
    "/cluster": "/cluster",
    "/schedules": "/schedules",
    "/schedules/new": "/schedules/new",
    "/schedules/{name}": "/schedules/nightly%20import",
    "/flows": "/flows",
    "/flows/{id}": `/flows/${flow}`,
    "/tokens": "/tokens",
    "/audit": "/audit",
    "/login": "/login",
    "/docs": "/docs",
  };
}
