// What has become of an action, as the servers have it: neither pages nor the API are asked.
import { execFileSync } from "node:child_process";

/** Returns the rows of a query on the service's database, each a list of texts; null stands for NULL. Needs the client of MariaDB. */
export function rows(server, sql) {
  const { hostname, port, username, password, pathname } = new URL(server.database);
  const args = ["--protocol=tcp", `--host=${hostname}`, `--port=${port}`, `--user=${username}`, "--batch", "--raw", "--skip-column-names"];
  const env = { ...process.env, MYSQL_PWD: decodeURIComponent(password) };
  const text = execFileSync("mariadb", [...args, pathname.slice(1), "--execute", sql], { encoding: "utf8", env });
  return text.split("\n").slice(0, -1).map((line) => line.split("\t").map((value) => (value === "NULL" ? null : value)));
}

/** Returns the keys of etcd below a prefix, by its gateway of JSON. */
export async function keys(server, prefix) {
  const coded = (bytes) => Buffer.from(bytes).toString("base64");
  const end = Buffer.from(prefix);
  end[end.length - 1]++;
  const body = JSON.stringify({ key: coded(prefix), range_end: coded(end), keys_only: true });
  const response = await fetch(`${server.etcd}/v3/kv/range`, { method: "POST", body });
  if (!response.ok) throw new Error(`etcd: ${response.status} ${await response.text()}`);
  return ((await response.json()).kvs ?? []).map(({ key }) => Buffer.from(key, "base64").toString());
}
