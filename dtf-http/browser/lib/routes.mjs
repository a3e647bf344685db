// The routes of the server, as its table of rights has them.
import { readFile } from "node:fs/promises";

const TABLE = new URL("../../src/auth/least.rs", import.meta.url);

/** Returns all routes: method, path, and whether people see it. */
export async function routes() {
  const found = [...(await readFile(TABLE, "utf8")).matchAll(/\(Method::(\w+), "([^"]+)"/g)];
  if (found.length < 50) throw new Error(`${TABLE} has ${found.length} routes that can be read`);
  return found.map(([, method, path]) => ({ method, path, isPage: !/^\/(v1|assets)\/|\.(json|ico)$/.test(path) }));
}
