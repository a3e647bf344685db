//! `dtf dev`, run as a process.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::command::{dtf, eventually, run};
use crate::support::http::ask;

/// A process that serves, and its address.
fn start(data: &Path) -> (Child, String) {
    let mut command = dtf(&["dev", "--listen", "127.0.0.1:0", "--data"]);
    let mut child = command.arg(data).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.split_whitespace().find_map(|word| word.strip_prefix("http://"));
    (child, address.unwrap_or_else(|| panic!("{line}")).to_owned())
}

fn end(mut child: Child) {
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn tasks_run_and_are_there_again_after_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let (child, address) = start(data.path());
    let created = ask(&address, "POST", "/v1/tasks", r#"{"type": "noop", "param": {"count": 100}}"#);
    let path = format!("/v1/tasks/{}", created["id"]);
    eventually(|| (ask(&address, "GET", &path, "")["status"] == "completed").then_some(()));
    end(child);
    let (child, address) = start(data.path());
    assert_eq!(ask(&address, "GET", &path, "")["progress"]["succeeded"], 100);
    end(child);
}

#[test]
fn with_tokens_only_their_bearers_are_answered_and_the_first_is_told_once() {
    let data = tempfile::tempdir().unwrap();
    let begin = || {
        let mut command = dtf(&["dev", "--listen", "127.0.0.1:0", "--tokens", "--data"]);
        let mut child = command.arg(data.path()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        let address =
            line.split_whitespace().find_map(|word| word.strip_prefix("http://")).unwrap().to_owned();
        (child, address, lines)
    };
    let (child, address, mut lines) = begin();
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    let token =
        line.split_whitespace().find(|word| word.starts_with("dtf_")).unwrap_or_else(|| panic!("{line}"));
    assert_eq!(ask(&address, "GET", "/v1/tasks", "")["code"], "unauthenticated");
    let bearer = format!("/v1/tasks HTTP/1.1\r\nAuthorization: Bearer {token}\r\nX:");
    assert_eq!(ask(&address, "GET", &bearer, "")["tasks"], serde_json::json!([]));
    end(child);
    let (child, address, mut lines) = begin();
    assert_eq!(ask(&address, "GET", &bearer, "")["tasks"], serde_json::json!([]));
    end(child);
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    assert!(!rest.contains("dtf_"), "{rest}");
}

#[test]
fn an_address_that_is_none_is_refused() {
    let (code, _, stderr) = run(&["dev", "--listen", "here"]);
    assert_eq!((code, stderr.lines().count()), (2, 1), "{stderr}");
}
