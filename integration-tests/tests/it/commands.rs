//! The commands on real servers: what they show, what they change, and what they say of servers that are not fit.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Output, Stdio};

use integration_tests::stage::{SHARDS, Site, refused, said, statement, until};
use serde_json::Value;

use test_servers::servers::Redis;

/// The JSON document that a command prints.
fn json(site: &Site, args: &[&str]) -> Value {
    let out = site.run(&[args, &["-o", "json"]].concat());
    assert!(out.status.success(), "{args:?}: {}", said(&out));
    serde_json::from_slice(&out.stdout).unwrap()
}

/// Gives a Redis a command.
fn command(url: &str, words: &str) {
    let address = url.trim_start_matches("redis://").trim_end_matches('/');
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(format!("{words}\r\n").as_bytes()).unwrap();
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"+OK\r\n");
}

#[test]
fn schedules_are_made_met_paused_triggered_and_deleted() {
    let Some(site) = Site::to_harm().map(Site::with_long_sessions) else { return };
    let _all = site.serve("one", "all");
    let create = |when: &str| {
        let args =
            ["schedule", "create", "often", when, "noop", "--param", r#"{"count": 2}"#, "--overlap", "allow"];
        site.run(&[&args[..], &["--zone", "Europe/Berlin"]].concat())
    };
    for wrong in ["0 0 30 2 *", "@every 0s", "now and then"] {
        let out = create(wrong);
        assert!(out.status.code() == Some(2) && said(&out).contains(wrong), "{}", said(&out));
    }
    assert_eq!(json(&site, &["schedule", "list"]), serde_json::json!([]), "nothing was created");
    let out = create("@every 1s");
    assert!(out.status.success(), "{}", said(&out));
    assert_eq!(create("@every 1s").status.code(), Some(2), "the name is taken");
    let totals = || json(&site, &["schedule", "get", "often"])["totals"].clone();
    until("due times have tasks", || totals()["created"].as_u64() > Some(2));
    let paused = json(&site, &["schedule", "pause", "often"]);
    assert_eq!((&paused["paused"], &paused["upcoming"]), (&true.into(), &serde_json::json!([])));
    until("what was decided is created", || {
        let rows = json(&site, &["schedule", "get", "often"]);
        rows["history"].as_array().unwrap().iter().all(|entry| entry["task"].is_u64())
    });
    let task = json(&site, &["schedule", "trigger", "often"])["task"].to_string();
    assert!(site.run(&["task", "watch", &task]).status.success());
    assert!(site.run(&["schedule", "delete", "often"]).status.success());
    let out = site.run(&["schedule", "get", "often"]);
    assert!(out.status.code() == Some(2) && said(&out).contains("does not exist"), "{}", said(&out));
}

#[test]
fn flows_are_submitted_from_files_followed_and_run_again() {
    let Some(site) = Site::to_harm().map(Site::with_long_sessions) else { return };
    let _all = site.serve("one", "all");
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let yaml = file(
        "good.yaml",
        "name: nightly\ntasks:\n  a: {type: noop, param: {count: 3}}\n  b:\n    type: noop\n    param: {count: 1}\n    after: [a, {task: c, when: failed}]\n  c: {type: noop, param: {count: 2, failure_rate: 1.0}}\n",
    );
    let toml = file(
        "good.toml",
        "[tasks.a]\ntype = \"noop\"\nparam = {count = 1}\n[tasks.b]\ntype = \"noop\"\nparam = {count = 1}\nafter = [\"a\"]\n",
    );
    let flow = json(&site, &["flow", "submit", &yaml])["flow"].to_string();
    let out = site.run(&["flow", "watch", &flow]);
    assert_eq!(out.status.code(), Some(1), "c failed: {}", said(&out));
    let shown = json(&site, &["flow", "get", &flow]);
    assert_eq!(
        (&shown["counts"]["completed"], &shown["counts"]["failed"]),
        (&2.into(), &1.into()),
        "{shown}"
    );
    let out = site.run(&["flow", "submit", &toml, "--watch"]);
    assert!(out.status.success(), "{}", said(&out));
    let again = json(&site, &["flow", "retry", &flow])["flow"].to_string();
    let again = json(&site, &["flow", "get", &again]);
    assert_eq!(
        (&again["retry_of"].to_string(), again["tasks"].as_array().unwrap().len()),
        (&flow, 1),
        "{again}"
    );
    assert_eq!(json(&site, &["flow", "list"]).as_array().unwrap().len(), 3);

    let circle = file(
        "circle.json",
        r#"{"tasks": {"a": {"type": "noop", "after": ["b"]}, "b": {"type": "noop", "after": ["a"]}}}"#,
    );
    let unknown = file("unknown.yml", "tasks:\n  a: {type: noop, after: [nobody]}\n");
    let broken = file("broken.yaml", "tasks: [");
    let other = file("flow.txt", "");
    for (path, said_) in [
        (circle, "in a circle: a, b"),
        (unknown, "which is unknown"),
        (broken, "is no flow"),
        (other, "ends in .txt"),
    ] {
        let out = site.run(&["flow", "submit", &path]);
        assert!(out.status.code() == Some(2) && said(&out).contains(said_), "{path}: {}", said(&out));
    }
    assert_eq!(json(&site, &["flow", "list"]).as_array().unwrap().len(), 3, "nothing was created");

    let first = json(
        &site,
        &["task", "submit", "noop", "--param", r#"{"count": 1}"#, "--unique", "k", "--unique-while", "1h"],
    );
    let second = json(&site, &["task", "submit", "noop", "--param", r#"{"count": 1}"#, "--unique", "k"]);
    assert_eq!(first, second);
    let out = site.run(&[
        "task",
        "submit",
        "noop",
        "--param",
        r#"{"count": 1}"#,
        "--after",
        &format!("{}:ended", first["task"]),
        "--watch",
    ]);
    assert!(out.status.success(), "{}", said(&out));
}

#[test]
fn tasks_groups_and_workers_are_shown_and_steered() {
    let Some(site) = Site::to_harm().map(Site::with_long_sessions) else { return };
    let (one, two) = (site.serve("one", "all"), site.serve("two", "executor"));
    let groups = json(&site, &["group", "set-quota", "gold", "70"]);
    assert_eq!((groups[0]["name"].as_str(), groups[0]["quota"].as_u64()), (Some("gold"), Some(70)));
    let groups = json(&site, &["group", "list"]);
    assert!(groups.as_array().unwrap().iter().any(|group| group["name"] == "default"), "{groups}");

    let task = site.submit(100_000, 20, &["--group", "gold", "--name", "long"]);
    let id = task.id.to_string();
    task.goes_on(10);
    let out = site.run(&["task", "result", &id]);
    assert_eq!(out.status.code(), Some(2), "{}", said(&out));
    assert!(said(&out).contains("has no result yet"), "{}", said(&out));
    assert!(site.run(&["task", "pause", &id]).status.success());
    let list = json(&site, &["task", "list", "--status", "paused", "--group", "gold"]);
    assert_eq!(list[0]["id"].as_u64(), Some(task.id), "{list}");
    assert!(site.run(&["task", "resume", &id]).status.success());
    task.goes_on(10);

    until("both hold shards", || one.parts() > 0 && two.parts() > 0);
    assert!(site.run(&["worker", "drain", "two"]).status.success());
    until("the drained one is empty", || two.parts() == 0);
    let row = |instance: &str| {
        let workers = json(&site, &["worker", "list"]);
        let mut rows = workers.as_array().unwrap().iter();
        rows.find(|row| row["instance"] == instance && row["role"] == "executor").unwrap().clone()
    };
    assert_eq!(row("two")["drained"], true);
    // A part has changed hands once the records say so, a moment after its holder has stopped it.
    until("the other one has all parts", || {
        (row("two")["parts"].as_u64(), row("one")["parts"].as_u64()) == (Some(0), Some(SHARDS))
    });
    assert!(site.run(&["worker", "drain", "two", "--undo"]).status.success());
    until("it has work again", || two.parts() > 0);
    let out = site.run(&["worker", "drain", "nobody"]);
    assert!(out.status.code() == Some(2) && said(&out).contains("dtf worker list"), "{}", said(&out));

    assert!(site.run(&["task", "cancel", &id]).status.success());
    let row = site.until_ended(&task);
    assert_eq!(row["status"], "cancelled", "{row}");
    let out = site.run(&["task", "watch", &id, "-o", "json"]);
    assert_eq!(out.status.code(), Some(130), "{}", said(&out));
    let out = site.run(&["task", "pause", &id]);
    assert!(out.status.code() == Some(2) && said(&out).contains("cannot be paused"), "{}", said(&out));
    let out = site.run(&["task", "get", "4711"]);
    assert!(
        out.status.code() == Some(2) && said(&out).contains("task 4711 does not exist"),
        "{}",
        said(&out)
    );
}

#[test]
fn what_failed_is_listed_and_run_again() {
    let Some(site) = Site::to_harm().map(Site::with_long_sessions) else { return };
    let _service = site.serve("one", "all");
    let param = r#"{"count": 40, "failure_rate": 0.5}"#;
    let out = site.run(&["task", "submit", "noop", "--param", param, "--watch"]);
    assert_eq!(out.status.code(), Some(1), "{}", said(&out));
    let first = json(&site, &["task", "list"])[0].clone();
    let (id, failed) = (first["id"].to_string(), first["counts"]["failed"].as_u64().unwrap());
    assert!((1..40).contains(&failed), "{first}");

    let failures = json(&site, &["task", "failures", &id]);
    let failures = failures.as_array().unwrap();
    assert_eq!(failures.len() as u64, failed);
    assert!(failures.iter().all(|failure| failure["error"].as_str().unwrap().contains("fails, as its task")));
    let page = json(&site, &["task", "failures", &id, "--limit", "1"]);
    assert_eq!(page.as_array().unwrap()[..], failures[..1]);
    let after = failures[0]["subtask"].as_str().unwrap();
    let rest = json(&site, &["task", "failures", &id, "--after", after]);
    assert_eq!(rest.as_array().unwrap()[..], failures[1..]);

    let again = json(&site, &["task", "retry", &id])["task"].to_string();
    // The same ones fail again, and nothing else was run.
    let out = site.run(&["task", "watch", &again]);
    assert_eq!(out.status.code(), Some(1), "{}", said(&out));
    let row = json(&site, &["task", "get", &again]);
    assert_eq!(
        (row["counts"]["created"].as_u64(), row["counts"]["failed"].as_u64()),
        (Some(failed), Some(failed))
    );
    assert_eq!(row["param"]["retry_of"].to_string(), id, "{row}");

    let out = site.run(&["task", "submit", "noop", "--param", r#"{"count": 1}"#, "--watch"]);
    assert!(out.status.success(), "{}", said(&out));
    let clean = json(&site, &["task", "list"])[0]["id"].to_string();
    let out = site.run(&["task", "retry", &clean]);
    assert!(out.status.code() == Some(2) && said(&out).lines().count() == 1, "{}", said(&out));
}

#[test]
fn servers_that_are_not_fit_are_refused_in_one_line_that_says_what_to_do() {
    let Some(site) = Site::to_harm() else { return };
    let line = refused(&site, &["task", "list"], &[]);
    assert!(line.contains("run `dtf migrate` on it first"), "{line}");
    let doctor = site.run(&["doctor"]);
    let text = String::from_utf8_lossy(&doctor.stdout);
    assert!(doctor.status.code() == Some(1) && text.contains("BAD      mysql"), "{text}");

    assert!(site.run(&["migrate"]).status.success());
    assert!(site.run(&["migrate"]).status.success());
    assert!(site.run(&["task", "list"]).status.success());
    let findings = json(&site, &["doctor"]);
    assert!(findings.as_array().unwrap().iter().all(|finding| finding["verdict"] != "bad"), "{findings}");

    statement(
        &site.sql.url("mysql"),
        "CREATE USER 'dtf'@'%' IDENTIFIED BY 'right'; GRANT ALL ON dtf.* TO 'dtf'@'%'",
    );
    let url = site.sql.url("dtf").replace("//root@", "//dtf@");
    let user = |password: &str| [("DTF_MYSQL_URL", url.clone()), ("DTF_MYSQL_PASSWORD", password.to_owned())];
    assert!(site.dtf(&["task", "list"]).envs(user("right")).status().unwrap().success());
    let line = refused(&site, &["task", "list"], &user("wr0ng"));
    assert!(
        line.contains("Access denied") && line.contains("DTF_MYSQL_PASSWORD") && !line.contains("wr0ng"),
        "{line}"
    );
    let line = refused(&site, &["serve", "--http-listen", "off"], &user("wr0ng"));
    assert!(line.contains("DTF_MYSQL_PASSWORD"), "{line}");

    for (server, url) in [
        ("ETCD_ENDPOINTS", "http://127.0.0.1:1"),
        ("MYSQL_URL", "mysql://dtf@127.0.0.1:1/dtf"),
        ("REDIS_URL", "redis://127.0.0.1:1"),
    ] {
        let variable = format!("DTF_{server}");
        let serve = ["serve", "--http-listen", "off", "--start-deadline", "1s"];
        let line = refused(&site, &serve, &[(&variable, url.to_owned())]);
        assert!(line.contains("127.0.0.1:1") && line.contains("start it, or correct "), "{line}");
        assert!(line.contains("given up after"), "{line}");
    }

    let redis = |settings: &[&str]| {
        let server = Redis::private_with(settings).unwrap();
        let variable = [("DTF_REDIS_URL", server.url())];
        (server, variable)
    };
    let (_forgets, variable) = redis(&["--appendonly", "no"]);
    let line = refused(&site, &["serve", "--http-listen", "off"], &variable);
    assert!(line.contains("its appendonly is off") && line.contains("redis.require_aof"), "{line}");
    let (_evicts, variable) = redis(&["--maxmemory-policy", "allkeys-lru"]);
    let line = refused(&site, &["serve", "--http-listen", "off"], &variable);
    assert!(line.contains("allkeys-lru") && line.contains("noeviction"), "{line}");
    let (_locked, variable) = redis(&[]);
    command(&variable[0].1, "CONFIG SET requirepass right");
    let line = refused(&site, &["serve", "--http-listen", "off"], &variable);
    assert!(line.contains("redis.password"), "{line}");

    statement(
        &site.sql.url("dtf"),
        "INSERT INTO dtf_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'x', 1, '', 0); \
         UPDATE tbl_cluster SET value = '9999' WHERE name = 'schema.accepts'",
    );
    let line = refused(&site, &["serve", "--http-listen", "off"], &[]);
    assert!(line.contains("version 9999") && line.contains("use a newer program"), "{line}");
}

#[test]
fn a_source_goes_through_a_command_that_the_executors_allow() {
    let Some(mut site) = Site::to_harm().map(Site::with_long_sessions) else { return };
    let file = site.dir.path().join("commands.toml");
    let commands =
        "[square]\nrun = [\"/bin/sh\", \"-c\", \"echo $(($1 * $1))\", \"sh\", \"{}\"]\njson = true\n";
    std::fs::write(&file, commands).unwrap();
    site.further.push(("DTF_EXECUTOR_COMMANDS".to_owned(), file.display().to_string()));
    let _one = site.serve("one", "all");
    let out =
        site.run(&["map", "--on-cluster", "--source", "range:30", "--exec", "square", "--sink", "keep"]);
    assert!(out.status.success(), "{}", said(&out));
    let printed = String::from_utf8(out.stdout).unwrap();
    let mut squares: Vec<u64> = printed.lines().map(|line| line.parse().unwrap()).collect();
    squares.sort_unstable();
    assert_eq!(squares, (0..30).map(|n| n * n).collect::<Vec<_>>());
    let out = site.run(&["map", "--on-cluster", "--source", "range:1", "--", "true"]);
    assert!(out.status.code() == Some(2) && said(&out).contains("--exec"), "{}", said(&out));
}

#[test]
fn an_open_task_is_fed_from_standard_input_and_closed() {
    let Some(mut site) = Site::to_harm().map(Site::with_long_sessions) else { return };
    let file = site.dir.path().join("commands.toml");
    std::fs::write(&file, "[echo]\nrun = [\"/bin/cat\"]\nstdin = true\njson = true\n").unwrap();
    site.further.push(("DTF_EXECUTOR_COMMANDS".to_owned(), file.display().to_string()));
    let mut one = site.serve("one", "all");
    let param = r#"{"source": "items", "function": {"exec": "echo"}, "sink": "keep"}"#;
    let task =
        json(&site, &["task", "submit", "map", "--timeout", "100h", "--param", param])["task"].to_string();
    let feed = |lines: std::ops::Range<u32>, more: &[&str]| {
        let mut command =
            site.dtf(&[&["task", "feed", &task, "--producer", "p", "-o", "json"], more].concat());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let text: String = lines.map(|line| format!("{line}\n")).collect();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let told = |out: Output| -> Value {
        serde_json::from_slice(&out.stdout).unwrap_or_else(|_| panic!("{}", said(&out)))
    };
    assert_eq!(told(feed(0..1500, &[]))["new"], 1500);
    until("something has run", || {
        json(&site, &["task", "get", &task])["progress"]["succeeded"].as_u64() > Some(10)
    });
    // What is in the database outlives the process that generates it.
    one.kill();
    let _two = site.serve("two", "all");
    let again = told(feed(0..2000, &["--close"]));
    assert_eq!((&again["items"], &again["new"]), (&2000.into(), &500.into()));
    let watched = site.run(&["task", "watch", &task]);
    assert!(watched.status.success(), "{}", said(&watched));
    let row = json(&site, &["task", "get", &task]);
    assert_eq!(row["progress"]["succeeded"], 2000, "{row}");
    let late = feed(2000..2001, &[]);
    assert!(late.status.code() == Some(2) && said(&late).contains("cannot be fed"), "{}", said(&late));
}
