//! The commands that need servers, without any: what they refuse and how they say it.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

/// The command with this environment, in this directory.
fn command(args: &[&str], environment: &[(&str, &str)], dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dtf"));
    command.args(args).stdin(Stdio::null()).current_dir(dir);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("DTF_") || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    command.envs(environment.iter().copied());
    command
}

/// Runs the command with this environment, in an empty directory.
fn run(args: &[&str], environment: &[(&str, &str)]) -> (i32, String, String) {
    let dir = tempfile::tempdir().unwrap();
    let output = command(args, environment, dir.path()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

/// Returns the log of a service up to the line with some words; then the service is ended.
fn says_first(args: &[&str], environment: &[(&str, &str)], what: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let mut child = command(args, environment, dir.path()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    while !said.contains(what) {
        assert_ne!(log.read_line(&mut said).unwrap(), 0, "it ended, and did not say {what}: {said}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    said
}

/// A port that nobody listens on: none that is given to anybody by itself.
const CLOSED_PORT: u16 = 1;

/// The one line that it refuses with.
fn refused(code: i32, args: &[&str], environment: &[(&str, &str)]) -> String {
    let (found, out, err) = run(args, environment);
    let mut lines = err.lines().filter(|line| line.starts_with("dtf: "));
    let line = lines.next().unwrap_or_default().to_owned();
    assert_eq!((found, out.as_str(), lines.next()), (code, "", None), "{err}");
    line
}

#[test]
fn a_configuration_that_cannot_be_used_is_refused_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bad.toml");
    std::fs::write(&path, "[redis]\nulr = 'x'\n").unwrap();
    let file = path.to_str().unwrap();
    for command in
        [vec!["serve"], vec!["config", "check"], vec!["task", "list"], vec!["migrate"], vec!["doctor"]]
    {
        let args = [command, vec!["--config", file]].concat();
        let line = refused(2, &args, &[]);
        assert_eq!(line, format!("dtf: {file}: the key redis.ulr is unknown; did you mean redis.url?"));
    }
    let line = refused(2, &["serve", "--executor-slots", "many", "--http-listen", "off"], &[]);
    assert!(line.contains("--executor-slots") && line.contains("1 to 10000"), "{line}");
    let line = refused(2, &["task", "get", "seven"], &[]);
    assert!(line.contains("'seven'") && line.contains("must be a whole number"), "{line}");
    let line = refused(2, &["serve", "--redis-ulr", "x"], &[]);
    assert!(line.contains("--redis-url"), "{line}");
    let line = refused(2, &["serve", "--http-listen", "off"], &[("DTF_EXECUTOR_SLOT", "1")]);
    assert!(line.contains("did you mean DTF_EXECUTOR_SLOTS?"), "{line}");
    let line = refused(2, &["serve", "--http-listen", "off"], &[]);
    assert!(line.starts_with("dtf: etcd.endpoints is not set; name it in the file"), "{line}");
}

#[test]
fn the_effective_values_are_shown_without_secrets() {
    let environment = [
        ("DTF_MYSQL_URL", "mysql://me:s3cret@db/dtf"),
        ("DTF_REDIS_PASSWORD", "s3cret"),
        ("DTF_EXECUTOR_SLOTS", "7"),
    ];
    let (code, out, err) = run(&["config", "check", "--cluster", "blue", "-o", "json"], &environment);
    assert_eq!(code, 0, "{err}");
    let rows: Vec<serde_json::Value> = serde_json::from_str(&out).unwrap();
    let of = |key: &str| rows.iter().find(|row| row["key"] == key).unwrap().clone();
    assert_eq!(of("mysql.url")["value"], "mysql://***@db/dtf");
    assert_eq!(of("redis.password")["value"], "***");
    assert_eq!(
        (of("executor.slots")["value"].as_u64(), of("executor.slots")["from"].as_str()),
        (Some(7), Some("DTF_EXECUTOR_SLOTS"))
    );
    assert_eq!(
        (of("cluster")["value"].as_str(), of("cluster")["from"].as_str()),
        (Some("blue"), Some("--cluster"))
    );
    let (code, text, _) = run(&["config", "check"], &environment);
    assert!(code == 0 && !text.contains("s3cret") && !out.contains("s3cret"), "{text}");
    let (code, keys, _) = run(&["config", "keys"], &[]);
    assert!(code == 0 && keys.contains("membership.ttl"), "{keys}");
}

#[test]
fn servers_that_are_not_there_are_named_in_one_line() {
    let port = CLOSED_PORT;
    let (mysql, redis) =
        (format!("mysql://me:s3cret@127.0.0.1:{port}/dtf"), format!("redis://127.0.0.1:{port}"));
    let etcd = format!("127.0.0.1:{port}");
    let environment = [
        ("DTF_MYSQL_URL", mysql.as_str()),
        ("DTF_REDIS_URL", redis.as_str()),
        ("DTF_ETCD_ENDPOINTS", etcd.as_str()),
    ];
    let line = refused(1, &["task", "list"], &environment);
    assert!(
        line.starts_with(&format!(
            "dtf: mysql.url is mysql://***@127.0.0.1:{port}/dtf, and MySQL cannot be reached"
        )),
        "{line}"
    );
    assert!(!line.contains("s3cret"), "{line}");
    let line = refused(1, &["serve", "--start-deadline", "1ms", "--http-listen", "off"], &environment);
    assert!(line.contains("start it, or correct mysql.url") && !line.contains("s3cret"), "{line}");
    let waits = says_first(&["serve", "--http-listen", "off"], &environment, "waiting for a server");
    assert!(waits.contains("again_in") && !waits.contains("s3cret"), "{waits}");
    let line = refused(1, &["health", "--http-listen", &etcd], &[]);
    assert!(line.contains("no service answers at"), "{line}");
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let line = refused(1, &["serve", "--http-listen", &listen], &[]);
    assert!(
        line.contains(&format!("http.listen is {listen}, which cannot be had")) && line.contains("or off"),
        "{line}"
    );
}
