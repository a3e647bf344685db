//! The `dtf` command, as its users meet it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::command::{
    dtf, eventually, is_gone, output, run, run_with_lines, wait_until_it_has_a_child,
};
use rustix::process::{Pid, Signal, kill_process};

/// A tree with everything that names and files can be.
fn tree() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("there is room");
    let at = |name: &[u8]| dir.path().join(std::ffi::OsStr::from_bytes(name));
    fs::create_dir_all(at(b"sub dir/deep")).expect("there is room");
    fs::create_dir(at(b"empty dir")).expect("there is room");
    for name in
        [&b"plain"[..], b"with space", b"new\nline", b"back\\slash", b"\xff\xfe", b"sub dir/deep/x", b"-"]
    {
        fs::write(at(name), name).expect("there is room");
    }
    fs::write(at(b"empty"), b"").expect("there is room");
    std::os::unix::fs::symlink("plain", at(b"link")).expect("there is room");
    dir
}

fn coreutils(dir: &Path) -> Vec<u8> {
    let script = "find \"$1\" -type f -print0 | sort -z | xargs -0 -r sha256sum";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(dir).env("LC_ALL", "C");
    output(&mut command).stdout
}

#[test]
fn checksum_writes_what_coreutils_write() {
    let (dir, out) = (tree(), tempfile::tempdir().unwrap());
    let manifest = out.path().join("manifest");
    let (dir_arg, out_arg) = (dir.path().to_str().unwrap(), manifest.to_str().unwrap());
    let (code, stdout, stderr) = run(&["run", "checksum", dir_arg, "--out", out_arg]);
    assert_eq!((code, stdout.as_str()), (0, ""), "{stderr}");
    assert_eq!(fs::read(&manifest).unwrap(), coreutils(dir.path()));
    let mut check = Command::new("sha256sum");
    assert!(output(check.arg("-c").arg(&manifest)).status.success());
    let to_stdout = output(&mut dtf(&["run", "checksum", dir_arg]));
    assert_eq!(to_stdout.stdout, coreutils(dir.path()));
}

#[test]
fn checksum_of_nothing_is_an_empty_file() {
    let (dir, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let manifest = out.path().join("manifest");
    let args = ["run", "checksum", dir.path().to_str().unwrap(), "--out", manifest.to_str().unwrap()];
    assert_eq!(run(&args).0, 0);
    assert_eq!(fs::read(&manifest).unwrap(), b"");
}

#[test]
fn exec_runs_each_line_and_sums_up_the_exit_codes() {
    let script = "echo \"got $1\"; test \"$1\" != b";
    let args = ["run", "exec", "--jobs", "2", "-o", "json", "--", "sh", "-c", script, "sh", "{}"];
    let (code, stdout, stderr) = run_with_lines(&args, "a\nb\nc");
    assert_eq!(code, 1, "{stderr}");
    for line in ["got a", "got b", "got c"] {
        assert_eq!(stdout.lines().filter(|out| *out == line).count(), 1, "{stdout}");
    }
    let summary: serde_json::Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    assert_eq!(summary["failed"], 1);
    assert_eq!(summary["result"]["data"]["by_exit_code"], serde_json::json!({ "0": 2, "1": 1 }));
    let ok = run_with_lines(&["run", "exec", "--", "true"], "x\n");
    assert_eq!(ok.0, 0, "{}", ok.2);
}

#[test]
fn noop_counts_and_its_failures_decide_the_exit_code() {
    let (code, stdout, _) = run(&["run", "noop", "--count", "50000", "-o", "json"]);
    let summary: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &summary["counts"]["succeeded"]), (0, &serde_json::json!(50_000)));
    let (code, _, stderr) = run(&["run", "noop", "--param", r#"{"count": 100, "failure_rate": 1}"#]);
    assert_eq!(code, 1);
    assert!(stderr.contains("100 subtasks, 100 failed"), "{stderr}");
}

#[test]
fn a_task_over_its_time_says_so() {
    let (code, _, stderr) =
        run(&["run", "noop", "--count", "10", "--sleep", "1m", "--timeout", "50ms", "--jobs", "1"]);
    assert_eq!(code, 1);
    assert!(
        stderr.contains("noop ended as exceptional") && stderr.contains("timed out after 50ms"),
        "{stderr}"
    );
}

#[test]
fn what_is_asked_for_wrongly_is_refused_in_one_line() {
    let long = "x".repeat(129);
    let cases: [(&[&str], &str); 16] = [
        (&[], "something is missing; write one of: run"),
        (&["frob"], "\"frob\" is unknown; known are: run"),
        (&["run", "frob"], "\"frob\" is unknown; known are: checksum, exec, noop"),
        (&["run", "noop", "--cuont", "5"], "--cuont is unknown here; did you mean --count?"),
        (&["run", "--zzz"], "--zzz is unknown here; --help lists all"),
        (&["run", "checksum"], "required arguments were not provided: <DIR>"),
        (&["run", "checksum", "/nonexistent"], "DIR must be a directory that exists"),
        (&["run", "checksum", "/etc", "--out", "/nonexistent/x"], "its directory does not exist"),
        (&["run", "checksum", "/etc", "-o", "json"], "name a file with --out"),
        (&["run", "exec", "--resume", "--", "true"], "were not provided: --log <FILE>"),
        (&["run", "noop", "--param", "{x"], "--param is no valid JSON"),
        (&["run", "noop", "--param", r#"{"cuont": 1}"#], "it takes count"),
        (&["run", "noop", "--count", "1", "--name", &long], "has 129 characters; at most 128 are allowed"),
        (&["run", "noop", "--count", "1", "--priority", "1"], "allowed is 2000 (low) to 9000 (high)"),
        (&["run", "noop", "--count", "1", "--timeout", "0s"], "allowed is 1 ms to 365 days"),
        (&["run", "noop", "--count", "1", "--jobs", "0"], "allowed is 1 to 10000"),
    ];
    for (args, expected) in cases {
        let (code, stdout, stderr) = run(args);
        assert_eq!((code, stdout.as_str()), (2, ""), "{args:?}: {stderr}");
        assert!(stderr.starts_with("dtf: ") && stderr.contains(expected), "{args:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{args:?}: {stderr}");
    }
}

#[test]
fn ctrl_c_cancels_the_task_and_leaves_nothing_behind() {
    let work = tempfile::tempdir().unwrap();
    let mark = work.path().join("mark");
    // The command says that it runs, then waits to be told to stop.
    let script = "trap 'echo stopped > \"$0\"; exit 3' TERM; echo running; while :; do sleep 0.01; done";
    let mut command = dtf(&["run", "exec", "--", "sh", "-c", script, mark.to_str().unwrap()]);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"a\nb\nc\n").unwrap();
    wait_until_it_has_a_child(child.id());
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    let said: Vec<String> = stderr.lines().map_while(Result::ok).collect();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{said:?}");
    assert!(said.iter().any(|line| line.contains("cancelling; Ctrl-C again to exit at once")), "{said:?}");
    assert!(said.iter().any(|line| line.contains("exec ended as cancelled")), "{said:?}");
}

#[test]
fn a_second_ctrl_c_exits_at_once_and_takes_the_commands_along() {
    let script = "trap '' TERM; while :; do sleep 0.01; done";
    let mut command = dtf(&["run", "exec", "--", "sh", "-c", script]);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"a\n").unwrap();
    let stubborn = wait_until_it_has_a_child(child.id());
    let process = Pid::from_child(&child);
    let interrupt = || kill_process(process, Signal::INT).unwrap();
    interrupt();
    // It has heard the first one when it says so.
    let mut said = String::new();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    stderr.read_line(&mut said).unwrap();
    assert!(said.contains("cancelling"), "{said}");
    interrupt();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    eventually(|| is_gone(stubborn).then_some(()));
}

#[test]
fn a_run_does_not_resume_what_a_killed_one_left() {
    let work = tempfile::tempdir().unwrap();
    let db = work.path().join("tasks.db");
    let db_arg = db.to_str().unwrap();
    let mut command = dtf(&["run", "exec", "--db", db_arg, "--", "sleep"]);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"1000\n").unwrap();
    let sleeper = wait_until_it_has_a_child(child.id());
    child.kill().unwrap();
    child.wait().unwrap();
    kill_process(Pid::from_raw(sleeper as i32).unwrap(), Signal::KILL).unwrap();
    let (code, stdout, stderr) = run(&["run", "noop", "--count", "3", "--db", db_arg, "-o", "json"]);
    let summary: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &summary["task"]), (0, &serde_json::json!(2)), "{stderr}");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let left = runtime.block_on(async {
        let ports = dtf::embedded::ports(dtf::embedded::Database::File(db)).await.unwrap();
        ports.table.get(dtf::model::TaskId(1)).await.unwrap().unwrap()
    });
    assert_eq!(left.status, dtf::model::TaskStatus::Exceptional);
    assert_eq!(left.reason, "the process that ran it ended before it did");
}

#[test]
fn a_database_file_keeps_the_record_and_belongs_to_one_process() {
    let work = tempfile::tempdir().unwrap();
    let db = work.path().join("tasks.db");
    let db_arg = db.to_str().unwrap();
    for task in 1..=2 {
        let (code, stdout, stderr) = run(&["run", "noop", "--count", "3", "--db", db_arg, "-o", "json"]);
        let summary: serde_json::Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!((code, &summary["task"]), (0, &serde_json::json!(task)), "{stderr}");
    }
    let (code, _, stderr) = run(&["run", "noop", "--count", "3", "--db", "/nonexistent/x.db"]);
    assert_eq!(code, 2, "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}
