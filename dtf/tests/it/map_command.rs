//! `dtf map`, run as a process.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};

use dtf_model::connection::SqlConnections;
use dtf_sql::NamedConnections;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::command::{dtf, run};
use crate::support::http::ask;

/// A run that waits for workers, its address, and the rest of what it says.
fn start(args: &[&str]) -> (Child, String, impl BufRead + use<>) {
    let mut command = dtf(&["map", "--listen", "127.0.0.1:0"]);
    let mut child = command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut says = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    says.read_line(&mut line).unwrap();
    let address = line.trim().rsplit_once("http://").map(|(_, address)| address.to_owned());
    (child, address.unwrap_or_else(|| panic!("{line}")), says)
}

/// Works on the function `square` until so many items have been reported.
fn work(address: &str, count: usize, outcome: impl Fn(u64) -> Value) {
    let mut session = Value::Null;
    let mut done = 0;
    while done < count {
        let mut poll =
            json!({"most": 100, "wait_ms": 5000, "worker": {"name": "w"}, "functions": ["square"]});
        if !session.is_null() {
            poll = json!({"session": session, "most": 100, "wait_ms": 5000});
        }
        let given = ask(address, "POST", "/v1/work/poll", &poll.to_string());
        session = given["session"].clone();
        let report = |item: &Value| {
            let mut report = outcome(item["body"].as_u64().unwrap());
            report["ticket"] = item["ticket"].clone();
            report
        };
        let reports: Vec<_> = given["items"].as_array().unwrap().iter().map(report).collect();
        done += reports.len();
        let report = json!({"session": session, "reports": reports});
        ask(address, "POST", "/v1/work/report", &report.to_string());
    }
}

fn end(mut child: Child, mut says: impl Read) -> (i32, String, String) {
    let (mut stdout, mut stderr) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
    says.read_to_string(&mut stderr).unwrap();
    (child.wait().unwrap().code().unwrap(), stdout, stderr)
}

#[test]
fn a_worker_applies_its_function_and_what_is_kept_is_printed() {
    let (child, address, says) =
        start(&["--source", "range:5..2005", "--worker", "square", "--sink", "keep"]);
    work(&address, 2000, |n| json!({"result": n * n}));
    let (code, stdout, stderr) = end(child, says);
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("map:square completed"), "{stderr}");
    let mut squares: Vec<u64> = stdout.lines().map(|line| line.parse().unwrap()).collect();
    squares.sort_unstable();
    assert_eq!(squares, (5..2005).map(|n| n * n).collect::<Vec<_>>());
}

#[test]
fn scripts_get_one_object_and_what_fails_decides_the_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("in"), "1\n2\n3\n").unwrap();
    let at = |kind: &str, name: &str| format!("{kind}:{}", dir.path().join(name).display());
    let (source, sink) = (at("jsonl", "in"), at("jsonl", "out"));
    let (child, address, says) =
        start(&["--source", &source, "--worker", "square", "--sink", &sink, "--attempts", "1", "-o", "json"]);
    work(&address, 3, |n| if n == 2 { json!({"error": "no"}) } else { json!({"result": {"n": n}}) });
    let (code, stdout, stderr) = end(child, says);
    assert_eq!((code, stdout.lines().count()), (1, 1), "{stderr}");
    let summary: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&summary["type"], &summary["failed"]), (&json!("map:square"), &json!(1)));
    assert_eq!(summary["result"]["data"]["succeeded"], 2);
    let mut lines: Vec<_> =
        std::fs::read_to_string(dir.path().join("out")).unwrap().lines().map(str::to_owned).collect();
    lines.sort_unstable();
    assert_eq!(lines, [r#"{"n":1}"#, r#"{"n":3}"#]);
}

#[test]
fn a_run_without_workers_is_cancelled_by_a_signal() {
    let (child, _, says) = start(&["--source", "range:10", "--worker", "square"]);
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let (code, _, stderr) = end(child, says);
    assert_eq!(code, 143, "{stderr}");
    assert!(stderr.contains("ended as cancelled"), "{stderr}");
}

#[test]
fn what_is_wrong_is_said_in_one_line_before_anything_is_begun() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let good = ["map", "--source", "range:1", "--worker", "f"];
    for (more, said) in [
        (&["--sink", "drain"][..], "it takes count, keep"),
        (&["--attempts", "0"], "attempts is 0"),
        (&["--each", "31m"], "--each is"),
        (&["--listen", &taken], "choose another with --listen"),
        (&["--listen", "0.0.0.0:0"], "which others can reach"),
        (&["--sink", "keep", "-o", "json"], "--sink jsonl:FILE"),
        (&["--priority", "1"], "priority"),
    ] {
        let (code, stdout, stderr) = run(&[&good, more].concat());
        assert_eq!((code, stderr.lines().count(), stdout.as_str()), (2, 1, ""), "{stderr}");
        assert!(stderr.contains(said), "{more:?}: {stderr}");
    }
    for (args, said) in [
        (&["map", "--worker", "f"][..], "--source"),
        (&["map", "--source", "range:1"], "--worker"),
        (&["map", "--source", "file:x", "--worker", "f"], "it takes list:A,B"),
        (&["map", "--source", "range:1", "--worker", "a b"], "the name of the function"),
    ] {
        let (code, _, stderr) = run(args);
        assert_eq!((code, stderr.lines().count()), (2, 1), "{stderr}");
        assert!(stderr.contains(said), "{args:?}: {stderr}");
    }
}

/// A manifest of a directory: each of its files with its digest, as `sha256sum` would have it.
#[test]
fn checksums_of_a_directory_make_a_manifest() {
    let dir = tempfile::tempdir().unwrap();
    let (files, manifest) = (dir.path().join("files"), dir.path().join("manifest.csv"));
    std::fs::create_dir_all(files.join("deep")).unwrap();
    for number in 0..30 {
        std::fs::write(files.join(format!("deep/{number}.txt")), "abc").unwrap();
    }
    let (source, sink) = (format!("files:{}", files.display()), format!("csv:{}", manifest.display()));
    let (code, _, stderr) = run(&["map", "--source", &source, "--checksum", "sha256", "--sink", &sink]);
    assert_eq!(code, 0, "{stderr}");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let mut lines: Vec<_> = text.lines().collect();
    let header: Vec<_> = lines.remove(0).split(',').collect();
    let at = |name: &str| header.iter().position(|column| *column == name).unwrap();
    let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert!(lines.iter().all(|line| line.split(',').nth(at("sha256")) == Some(sha256)), "{text}");
    let mut paths: Vec<_> = lines.iter().filter_map(|line| line.split(',').nth(at("path"))).collect();
    paths.sort_unstable();
    paths.dedup();
    assert_eq!(paths.len(), 30, "{text}");
}

/// Rows in, a statement for each of them out; over a connection that a file names.
#[test]
fn rows_of_a_database_are_items_and_statements_are_a_function() {
    let dir = tempfile::tempdir().unwrap();
    let (database, file) = (dir.path().join("shop.db"), dir.path().join("connections.toml"));
    std::fs::write(&database, "").unwrap();
    let url = format!("sqlite://{}", database.display());
    std::fs::write(&file, format!("shop = \"{url}\"\n")).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let connections = runtime.block_on(async {
        let connections = NamedConnections::new([("shop".to_owned(), url)]).unwrap();
        let execute = async |statement: &str| connections.execute("shop", statement, &[]).await.unwrap();
        execute("CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, length INTEGER)").await;
        execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500) INSERT INTO customers SELECT i, 'c' || i, 0 FROM n").await;
        connections
    });
    let query = "SELECT id, name FROM customers WHERE id > ? ORDER BY id LIMIT ?";
    let source = json!({"sql": {"connection": "shop", "query": query, "key": "id"}}).to_string();
    let statement = "UPDATE customers SET length = length(?) WHERE id = ?";
    let function = json!({"sql": {"connection": "shop", "statement": statement, "values": ["/name", "/id"]}})
        .to_string();
    let file = file.display().to_string();
    let args = ["map", "--source", &source, "--function", &function, "--connections", &file, "-o", "json"];
    let (code, stdout, stderr) = run(&args);
    assert_eq!(code, 0, "{stderr}");
    let summary: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(
        summary.pointer("/counts/succeeded").or(summary.get("succeeded")),
        Some(&json!(2500)),
        "{stdout}"
    );
    let sum = "SELECT COUNT(*) AS rows_of, SUM(length = length(name)) AS right_ones FROM customers";
    let rows = runtime.block_on(connections.query("shop", sum, &[], 1)).unwrap();
    assert_eq!(Value::from(rows), json!([{"rows_of": 2500, "right_ones": 2500}]));

    let (code, _, stderr) = run(&["map", "--source", &source, "--function", &function, "--timeout", "2s"]);
    assert_ne!(code, 0, "there is no such connection: {stderr}");
    let (code, _, stderr) =
        run(&["map", "--source", "range:1", "--function", &function, "--connections", "/none"]);
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("--connections cannot be used: /none: No such file"), "{stderr}");
}
