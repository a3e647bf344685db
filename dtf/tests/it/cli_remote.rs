//! The commands that ask the HTTP API of a server, with no other server in reach.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::command::{dtf, eventually};

/// `dtf dev` that answers only requests with a token, and the file with that of an admin.
struct Site {
    child: Child,
    url: String,
    token: PathBuf,
    dir: tempfile::TempDir,
    /// Kept open, so that it may go on writing.
    _log: BufReader<ChildStderr>,
}

impl Site {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut command = dtf(&["dev", "--listen", "127.0.0.1:0", "--tokens"]);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut word = |begin: &str| {
            let mut line = String::new();
            log.read_line(&mut line).unwrap();
            let found = line.split_whitespace().find(|word| word.starts_with(begin)).map(str::to_owned);
            found.unwrap_or_else(|| panic!("{line}"))
        };
        let (url, secret) = (word("http://"), word("dtf_"));
        let token = dir.path().join("token");
        std::fs::write(&token, secret + "\n").unwrap();
        Self { child, url, token, dir, _log: log }
    }

    /// Runs a command, and returns its exit code and what it wrote.
    fn run(&self, args: &[&str]) -> (i32, String, String) {
        let mut command = dtf(args);
        command.args(["--server", &self.url, "--token-file"]).arg(&self.token).current_dir(self.dir.path());
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    }

    /// Runs a command that succeeds, and returns its document.
    fn document(&self, args: &[&str]) -> Value {
        let (code, out, err) = self.run(&[args, &["--output", "json"]].concat());
        assert_eq!(code, 0, "{args:?}: {err}");
        serde_json::from_str(&out).unwrap()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn groups_tokens_and_the_cluster_are_asked_for_over_http() {
    let site = Site::start();
    let made = site.document(&["group", "set-quota", "night & day", "7"]);
    assert_eq!((&made[0]["name"], &made[0]["quota"]), (&json!("night & day"), &json!(7)));
    let (code, out, _) = site.run(&["group", "list"]);
    assert_eq!(
        (code, out.lines().next().unwrap().split_whitespace().collect::<Vec<_>>()),
        (0, vec!["group", "quota", "description"])
    );
    assert!(out.contains("night & day"), "{out}");
    let secret = site.document(&["group", "signing-secret", "default"]);
    assert!(secret["secret"].as_str().unwrap().starts_with("whsec_"), "{secret}");

    let (code, out, err) = site.run(&["doctor"]);
    assert!(code == 0 && out.lines().all(|line| line.starts_with("good ")), "{out}{err}");
    let cluster = site.document(&["cluster", "show"]);
    assert!(cluster["cluster"].is_string() && cluster["shape"]["shards"] == json!(4), "{cluster}");

    let token = site.document(&["token", "create", "--name", "ada", "--role", "reader"]);
    let id = token["token"]["id"].as_str().unwrap();
    let listed = site.document(&["token", "list"]);
    assert!(listed.as_array().unwrap().contains(&token["token"]), "{listed}");
    assert_eq!(
        site.document(&["token", "revoke", token["secret"].as_str().unwrap()]),
        json!({ "revoked": id })
    );
    assert_eq!(site.document(&["token", "list"]).as_array().unwrap().len(), 1);
}

#[test]
fn what_cannot_be_asked_for_is_a_line_and_an_exit_code() {
    let site = Site::start();
    let line = |args: &[&str]| {
        let (code, out, err) = site.run(args);
        assert!(out.is_empty() && err.lines().count() == 1, "{args:?}: {out}{err}");
        (code, err)
    };
    let (code, said) = line(&["group", "set-quota", "x", "0"]);
    assert!(code == 2 && said.contains("quota"), "{said}");
    let (code, said) = line(&["token", "revoke", "nobody"]);
    assert!(code == 2 && said.contains("nobody"), "{said}");
    let (code, said) = line(&["cluster", "grow"]);
    assert!(code == 2 && said.contains("--server"), "{said}");
    std::fs::write(&site.token, "dtf_wrong_wrong").unwrap();
    let (code, said) = line(&["group", "list"]);
    assert!(code == 2 && said.contains("token") && !said.contains("wrong_wrong"), "{said}");
    std::fs::remove_file(&site.token).unwrap();
    let (code, said) = line(&["group", "list"]);
    assert!(code == 2 && said.contains("--token-file"), "{said}");
}

#[test]
fn the_server_and_the_token_may_be_variables() {
    let site = Site::start();
    let asked = |server: &str, token: &str| {
        let mut command = dtf(&["group", "list", "--output", "json"]);
        let output = command.env("DTF_SERVER", server).env("DTF_TOKEN", token).current_dir(site.dir.path());
        let output = output.output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let token = std::fs::read_to_string(&site.token).unwrap();
    assert_eq!(asked(&site.url, &token).0, 0);
    assert_eq!(asked(&site.url, "").0, 2);
    let (code, said) = asked("http://127.0.0.1:1", &token);
    assert!(code == 1 && said.contains("cannot be reached") && said.lines().count() == 1, "{said}");
    let (code, said) = asked("7070", &token);
    assert!(code == 2 && said.contains("write a URL"), "{said}");
}

#[test]
fn tasks_are_created_followed_and_steered_over_http() {
    let site = Site::start();
    let created = site.document(&[
        "task",
        "submit",
        "noop",
        "--param",
        r#"{"count": 20}"#,
        "--name",
        "over http",
        "--watch",
        "--quiet",
    ]);
    assert_eq!(
        (&created["status"], &created["counts"]["succeeded"]),
        (&json!("completed"), &json!(20)),
        "{created}"
    );
    let id = created["task"].to_string();
    let (code, out, _) = site.run(&["task", "get", &id]);
    assert!(code == 0 && out.contains("succeeded  20") && out.contains("name       over http"), "{out}");
    let (code, out, _) = site.run(&["task", "list", "--name", "over http"]);
    assert_eq!((code, out.lines().count()), (0, 2), "{out}");
    assert!(out.lines().nth(1).unwrap().contains("completed"), "{out}");
    assert_eq!(site.document(&["task", "result", &id])["counts"]["created"], json!(20));

    // The same name makes one task.
    let request = "6c2b9b3a-7d1c-4a61-9d0a-0a2f0b8d6c11";
    let long =
        ["task", "submit", "noop", "--param", r#"{"count": 1, "sleep_ms": 600000}"#, "--request-id", request];
    let long = (site.document(&long), site.document(&long));
    assert_eq!(long.0, long.1);
    let id = long.0["task"].to_string();
    for (action, asked) in [("pause", "paused"), ("resume", "resumed"), ("cancel", "cancelled")] {
        let (code, _, said) = site.run(&["task", action, &id]);
        assert_eq!((code, said.trim()), (0, format!("dtf: task {id} is to be {asked}").as_str()));
    }
    assert_eq!(site.run(&["task", "watch", &id, "--quiet"]).0, 130);

    let failed =
        ["task", "submit", "noop", "--param", r#"{"count": 4, "failure_rate": 1}"#, "--watch", "--quiet"];
    let (code, out, _) = site.run(&[&failed[..], &["--output", "json"]].concat());
    assert_eq!(code, 1);
    let id = serde_json::from_str::<Value>(&out).unwrap()["task"].to_string();
    assert_eq!(site.document(&["task", "failures", &id]).as_array().unwrap().len(), 4);
    assert_eq!(site.document(&["task", "failures", &id, "--by-error"])[0]["count"], json!(4));
    assert_eq!(site.document(&["task", "retry", &id])["retry_of"].to_string(), id);
    assert_eq!(site.document(&["task", "list", "--limit", "2"]).as_array().unwrap().len(), 2);
    for wrong in [&["task", "get", "4711"][..], &["task", "submit", "nonsense"], &["task", "close", "4711"]] {
        let (code, out, err) = site.run(wrong);
        assert!(code == 2 && out.is_empty() && err.lines().count() == 1, "{wrong:?}: {err}");
    }
}

#[test]
fn items_are_fed_and_many_tasks_are_steered_over_http() {
    let site = Site::start();
    let param = r#"{"source": "items", "function": {"worker": "nobody"}, "sink": "count"}"#;
    let id = site.document(&["task", "submit", "map", "--param", param])["task"].to_string();
    let feed = |lines: &str, more: &[&str]| {
        let mut command = dtf(&["task", "feed", &id, "--producer", "one", "-o", "json"]);
        command.args(more).args(["--server", &site.url, "--token-file"]).arg(&site.token);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    assert_eq!(
        (&feed("1\n2\n", &[])["new"], &feed("1\n2\n3\n", &["--close"])["new"]),
        (&json!(2), &json!(1))
    );
    let (code, _, said) = site.run(&["task", "feed", &id]);
    assert!(code == 0, "nothing is fed: {said}");

    for name in ["many 1", "many 2", "other"] {
        let param = r#"{"count": 1, "sleep_ms": 600000}"#;
        site.document(&["task", "submit", "noop", "--param", param, "--name", name]);
    }
    let bulk = ["task", "bulk", "cancel", "--name-prefix", "many"];
    let (code, out, said) = site.run(&bulk);
    assert!(code == 2 && out.is_empty() && said.contains("--expect"), "{said}");
    let (code, out, _) = site.run(&[&bulk[..], &["--dry-run"]].concat());
    assert_eq!((code, out.trim()), (0, "2 tasks fit"));
    let done = site.document(&[&bulk[..], &["--expect", "2"]].concat());
    assert_eq!((&done["status"], &done["applied"]), (&json!("finished"), &json!(2)), "{done}");
    let (code, _, said) = site.run(&[&bulk[..], &["--expect", "7"]].concat());
    assert!(code == 2 && said.contains("not 7"), "{said}");
    // Nothing that runs is waited for at the end.
    assert_eq!(site.run(&["task", "bulk", "cancel", "--status", "running", "--yes"]).0, 0);
}

#[test]
fn workers_flows_schedules_types_and_pauses_of_groups_are_asked_for_over_http() {
    let site = Site::start();
    let file = |name: &str, text: &str| {
        let path = site.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let workers = site.document(&["worker", "list"]);
    let name = workers[0]["instance"].as_str().unwrap().to_owned();
    assert_eq!(workers.as_array().unwrap().len(), 5, "a row a role: {workers}");
    for (undo, drained) in [(&[][..], true), (&["--undo"], false)] {
        let args = [&["worker", "drain", &name][..], undo].concat();
        let answer = site.document(&args);
        assert_eq!((&answer["drained"], answer["roles"].as_array().unwrap().len()), (&json!(drained), 5));
    }
    let (code, _, said) = site.run(&["worker", "drain", "nobody"]);
    assert!(code == 2 && said.contains("nobody"), "{said}");
    let (code, out, _) = site.run(&["worker", "list"]);
    assert!(code == 0 && out.trim_start().starts_with("instance"), "{out}");

    let yaml = file(
        "flow.yaml",
        "name: nightly\ntasks:\n  a: {type: noop, param: {count: 3}}\n  b: {type: noop, param: {count: 1}, after: [a]}\n",
    );
    let flow = site.document(&["flow", "submit", &yaml])["flow"].to_string();
    let (code, out, _) = site.run(&["flow", "watch", &flow]);
    assert!(code == 0 && out.contains("a completed"), "{out}");
    assert_eq!(site.document(&["flow", "get", &flow])["tasks"][1]["after"], json!(["a completed"]));
    assert_eq!(site.document(&["flow", "list"])[0]["counts"]["completed"], json!(2));
    let (code, _, said) = site.run(&["flow", "retry", &flow]);
    assert!(code == 2 && said.lines().count() == 1, "{said}");

    let create =
        ["schedule", "create", "every now & then", "@every 1h", "noop", "--param", r#"{"count": 1}"#];
    let made = site.document(&create);
    assert_eq!(
        (&made["name"], &made["task"]["type"]),
        (&json!("every now & then"), &json!("noop")),
        "{made}"
    );
    assert_eq!(site.run(&create).0, 2, "the name is taken");
    assert_eq!(site.document(&["schedule", "pause", "every now & then"])["paused"], json!(true));
    assert_eq!(site.document(&["schedule", "resume", "every now & then"])["paused"], json!(false));
    let task = site.document(&["schedule", "trigger", "every now & then"])["task"].to_string();
    assert_eq!(site.run(&["task", "watch", &task, "--quiet"]).0, 0);
    let (code, out, _) = site.run(&["schedule", "list"]);
    assert!(code == 0 && out.contains("every now & then"), "{out}");
    assert_eq!(site.run(&["schedule", "delete", "every now & then"]).0, 0);
    assert_eq!(site.document(&["schedule", "list"]), json!([]));

    let define = file(
        "type.yaml",
        "description: squares\ntemplate: {source: {range: {to: {$param: /to}}}, function: {worker: square}, sink: count}\n",
    );
    assert_eq!(site.document(&["type", "define", "squares", &define])["version"], json!(1));
    let known = site.document(&["type", "list"]);
    let of =
        |name: &str| known.as_array().unwrap().iter().find(|known| known["name"] == name).unwrap().clone();
    assert_eq!((&of("squares")["defined"], &of("noop")["defined"]), (&json!(true), &json!(false)));
    assert_eq!(site.document(&["type", "get", "squares"])["template"]["sink"], json!("count"));
    assert_eq!(site.run(&["type", "delete", "squares"]).0, 0);
    assert_eq!(site.run(&["type", "get", "squares"]).0, 2);

    assert_eq!(site.document(&["group", "pause", "default"])[0]["paused"], json!(true));
    // A pause takes effect within a second: what was created before that may still run.
    let waits = eventually(|| {
        let created = site.document(&["task", "submit", "noop", "--param", r#"{"count": 1}"#]);
        let id = created["task"].to_string();
        std::thread::sleep(Duration::from_secs(2));
        let task = site.document(&["task", "get", &id]);
        let waits = task["blocked_on"].to_string().contains("paused");
        (waits && task["progress"]["succeeded"] == json!(0)).then_some(id)
    });
    assert_eq!(site.document(&["group", "resume", "default"])[0]["paused"], json!(false));
    assert_eq!(site.run(&["task", "watch", &waits, "--quiet"]).0, 0);
    assert_eq!(site.run(&["group", "pause", "mistyped"]).0, 2);
}

#[test]
fn the_settings_of_services_are_in_the_help_of_services_only() {
    let help = |args: &[&str]| {
        let output = dtf(&[args, &["--help"]].concat()).output().unwrap();
        assert!(output.status.success(), "{args:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(help(&["serve"]).contains("--redis-url") && help(&["serve"]).contains("--executor-slots"));
    for command in
        ["task", "flow", "schedule", "group", "worker", "type", "token", "cluster", "doctor", "config", "map"]
    {
        let help = help(&[command]);
        assert!(!help.contains("--redis-url") && help.contains("--config <FILE>"), "{command}: {help}");
    }
    assert!(help(&["task", "submit"]).contains("--server <URL>"));
}
