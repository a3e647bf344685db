//! The task type `exec`, with real commands.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use crate::support::{Closed, How, console, context, generate, param, run, spec};
use bytes::Bytes;
use dtf::tasks::exec::{Exec, ExecHandle, ExecParam, Stopped};
use dtf::tasks::{Console, failed_items};
use dtf_model::plugin::{ExecuteError, SubtaskResult, TaskExecutor, TaskPlugin, TaskResult};
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

fn command(parts: &[&str]) -> ExecParam {
    ExecParam { command: parts.iter().map(Into::into).collect(), ..ExecParam::default() }
}

/// Runs a command for each line, and gives back the result, standard output and standard error.
async fn exec(param: &ExecParam, lines: &[u8], how: How) -> (TaskResult, Vec<u8>, String) {
    let (console, out, err) = console();
    let plugin = Exec::new(io::Cursor::new(lines.to_vec()), console);
    let result = run(&plugin, param.to_json(), how).await.unwrap();
    (result, out.bytes(), err.text())
}

fn sorted(text: &[u8]) -> Vec<Vec<u8>> {
    let mut lines: Vec<_> = text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    lines.sort();
    lines
}

#[tokio::test]
async fn the_command_is_run_once_for_each_line_whatever_bytes_it_has() {
    for take_over in [false, true] {
        let how = How { most: 3, order: 11, take_over, ..How::default() };
        let lines = b"one\n\ntwo words\n\xff\xfe\n$HOME `id` 'quoted' \\\nend";
        let (result, out, err) = exec(&command(&["printf", "[%s]\\n", "{}"]), lines, how).await;
        let should = sorted(b"[one]\n[]\n[two words]\n[\xff\xfe]\n[$HOME `id` 'quoted' \\]\n[end]\n");
        assert_eq!(sorted(&out), should);
        assert_eq!(err, "");
        assert_eq!(result.data["lines"], 6);
        assert_eq!(result.data["ok"], 6);
        assert_eq!(failed_items(&result), 0);
    }
}

#[tokio::test]
async fn every_exit_code_is_kept_counted_named_and_logged() {
    let place = tempfile::tempdir().unwrap();
    let log = place.path().join("log");
    let param = ExecParam { log: Some(log.clone()), ..command(&["sh", "-c", "{}"]) };
    let lines = b"exit 0\nexit 3\nkill -9 $$\nnone-such\nexit\t3\ntrue\n";
    let (result, _, err) = exec(&param, lines, How { take_over: true, ..How::default() }).await;
    assert_eq!(result.data["by_exit_code"], json!({ "0": 2, "3": 2, "137": 1, "127": 1 }));
    assert_eq!(result.data["failed"], 4);
    assert_eq!(failed_items(&result), 4);
    assert_eq!(result.data["first_failed"].as_array().unwrap().len(), 4);
    assert_eq!(
        result.reason,
        "6 lines, 2 ok, 4 failed: 2 with exit code 3, 1 with exit code 127, 1 with exit code 137"
    );
    for named in ["dtf: line 2 (exit 3): exit code 3\n", "dtf: line 3 (kill -9 $$): ended by signal 9\n"] {
        assert!(err.contains(named), "{err}");
    }
    let mut rows: Vec<Vec<String>> = Vec::new();
    for row in fs::read_to_string(&log).unwrap().lines() {
        rows.push(row.split('\t').map(str::to_owned).collect());
    }
    assert_eq!(rows.remove(0).join(" "), "Seq Starttime JobRuntime Exitval Signal Line");
    rows.sort();
    let kept = rows.iter().map(|row| [&row[0], &row[3], &row[4], &row[5]].map(String::as_str));
    let should = [
        ["1", "0", "0", "exit 0"],
        ["2", "3", "0", "exit 3"],
        ["3", "137", "9", "kill -9 $$"],
        ["4", "127", "0", "none-such"],
        ["5", "3", "0", "exit\\t3"],
        ["6", "0", "0", "true"],
    ];
    assert!(kept.eq(should));
}

#[tokio::test]
async fn a_command_that_cannot_be_started_fails_its_line_and_no_other() {
    let too_long = [&vec![b'x'; 128 * 1024][..], b"\ntrue\n/etc/passwd\n/none/such\n"].concat();
    let (result, _, err) = exec(&command(&["{}"]), &too_long, How::default()).await;
    assert_eq!(result.data["by_exit_code"], json!({ "0": 1, "126": 2, "127": 1 }));
    for named in
        ["(/none/such): No such file", "(/etc/passwd): Permission denied", "longer than 131071 bytes"]
    {
        assert!(err.contains(named), "{err}");
    }
    // As long as an argument may be.
    let (result, out, _) = exec(&command(&["printf", "%s"]), &[b'x'; 128 * 1024 - 1], How::default()).await;
    assert_eq!((result.data["ok"].as_u64(), out.len()), (Some(1), 128 * 1024 - 1));
}

#[tokio::test]
async fn outputs_are_not_mixed_however_large_they_are() {
    let script = "for i in 1 2 3 4 5 6 7 8 9; do echo {}; echo {} >&2; done; head -c 3000000 /dev/zero | tr '\\0' {}; echo";
    let lines = b"a\nb\nc\nd\n";
    let (result, out, err) =
        exec(&command(&["sh", "-c", script]), lines, How { at_once: 4, ..How::default() }).await;
    assert_eq!(failed_items(&result), 0);
    assert_eq!(out.len(), 4 * (18 + 3_000_001));
    for text in [&out[..], err.as_bytes()] {
        let mut letters: Vec<_> = text.iter().filter(|byte| **byte != b'\n').collect();
        letters.dedup();
        assert_eq!(letters.len(), 4);
    }
}

#[tokio::test]
async fn a_command_reads_nothing() {
    let (result, out, _) = exec(&command(&["sh", "-c", "cat; echo {}"]), b"x\n", How::default()).await;
    assert_eq!((failed_items(&result), &out[..]), (0, &b"x\n"[..]));
}

#[tokio::test]
async fn arguments_that_are_not_utf_8_survive_the_parameters() {
    let mut param = command(&["printf", "%s"]);
    param.command.push(OsString::from_vec(b"\xfe{}\xfd".to_vec()));
    let (_, out, _) = exec(&param, b"\xff", How::default()).await;
    assert_eq!(out, b"\xfe\xff\xfd");
}

/// A script that is running, and a pipe that every process of it holds open.
struct Started {
    place: tempfile::TempDir,
    pipe: PathBuf,
    running: JoinHandle<Result<SubtaskResult, ExecuteError>>,
    said: BufReader<File>,
    cancelled: CancellationToken,
    handle: ExecHandle,
}

impl Started {
    /// Runs a script with the pipe as its descriptor 3, and waits until it has said that it is ready.
    async fn script(script: &str, param: ExecParam) -> Self {
        let place = tempfile::tempdir().unwrap();
        let pipe = place.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let script = format!("exec 3>{{}}; {script}");
        let param = ExecParam { command: ["sh", "-c", &script].map(Into::into).to_vec(), ..param };
        let line = format!("{}\n", pipe.display());
        let plugin = Exec::new(io::Cursor::new(line), console().0);
        let spec = spec(param.to_json());
        let body: Bytes = generate(&plugin, &spec, 10).await.remove(0);
        let (executor, cancelled): (Arc<dyn TaskExecutor>, _) =
            (plugin.executor(&spec).unwrap(), CancellationToken::new());
        let told = context(&cancelled);
        let running = tokio::spawn(async move { executor.execute(&body, &told).await });
        let handle = plugin.handle();
        let path = pipe.clone();
        let said = tokio::task::spawn_blocking(move || {
            let mut said = BufReader::new(File::open(path).unwrap());
            let mut ready = [0; 6];
            said.read_exact(&mut ready).unwrap();
            assert_eq!(&ready, b"ready\n");
            said
        });
        let said = said.await.unwrap();
        Self { place, pipe, running, said, cancelled, handle }
    }

    /// Returns the output of the script until every process that has the pipe was gone.
    async fn rest(self) -> String {
        let mut said = self.said;
        let rest = tokio::task::spawn_blocking(move || {
            let mut rest = String::new();
            said.read_to_string(&mut rest).unwrap();
            rest
        });
        let rest = rest.await.unwrap();
        assert!(self.pipe.exists());
        drop(self.place);
        rest
    }
}

const BACKGROUND: &str = "sleep 1000 & (sleep 1000; true) & echo ready >&3; wait";
const STUBBORN: &str = "trap '' TERM; sleep 1000 & echo ready >&3; wait; sleep 1000";

fn with_grace(grace: Duration) -> ExecParam {
    ExecParam { grace, ..ExecParam::default() }
}

#[tokio::test]
async fn a_cancelled_command_ends_with_all_that_it_started() {
    let mut started = Started::script(BACKGROUND, with_grace(Duration::from_secs(60))).await;
    started.cancelled.cancel();
    let ended = (&mut started.running).await.unwrap().unwrap_err();
    assert!(ended.to_string().ends_with("): ended with the run"), "{ended}");
    assert_eq!(started.rest().await, "");
}

#[tokio::test]
async fn a_cancelled_command_may_clean_up() {
    // The one in the background says that it is ready, as a signal that comes while it is forked may miss it.
    let script = "trap 'echo cleaned >&3; exit 3' TERM; sh -c 'echo ready >&3; exec sleep 1000' & wait";
    let started = Started::script(script, with_grace(Duration::from_secs(60))).await;
    started.cancelled.cancel();
    assert_eq!(started.rest().await, "cleaned\n");
}

#[tokio::test]
async fn one_in_the_background_may_clean_up_too_when_the_first_has_ended() {
    let script = "(trap : TERM; echo ready >&3; while kill -0 $$; do sleep 0.01; done; echo cleaned >&3) 2>/dev/null & \
                  exec sleep 1000";
    let started = Started::script(script, with_grace(Duration::from_secs(60))).await;
    started.cancelled.cancel();
    assert_eq!(started.rest().await, "cleaned\n");
}

#[tokio::test]
async fn what_does_not_end_within_the_grace_is_killed() {
    for grace in [Duration::ZERO, Duration::from_millis(50)] {
        let mut started = Started::script(STUBBORN, with_grace(grace)).await;
        started.cancelled.cancel();
        assert!((&mut started.running).await.unwrap().is_err());
        assert_eq!(started.rest().await, "");
    }
}

#[tokio::test]
async fn a_command_whose_subtask_is_dropped_is_killed() {
    let started = Started::script(STUBBORN, with_grace(Duration::from_secs(60))).await;
    started.running.abort();
    assert_eq!(started.rest().await, "");
}

#[tokio::test]
async fn all_commands_can_be_killed_at_once() {
    let mut started = Started::script(STUBBORN, with_grace(Duration::from_secs(60))).await;
    started.handle.kill_all();
    let ended = (&mut started.running).await.unwrap().unwrap_err().to_string();
    assert!(ended.starts_with("line 1 (") && ended.ends_with("): ended by signal 9"), "{ended}");
    assert_eq!(started.rest().await, "");
}

#[tokio::test]
async fn a_command_that_takes_too_long_is_ended_with_all_that_it_started() {
    let timeout = Some(Duration::from_secs(600));
    let mut started = Started::script(BACKGROUND, ExecParam { timeout, ..ExecParam::default() }).await;
    // The command's clock may start a moment after its first line of output.
    let ended = loop {
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(601)).await;
        tokio::time::resume();
        if let Ok(ended) = tokio::time::timeout(Duration::from_secs(1), &mut started.running).await {
            break ended.unwrap().unwrap_err().to_string();
        }
    };
    assert!(ended.ends_with("): timed out after 600s"), "{ended}");
    assert_eq!(started.rest().await, "");
}

#[tokio::test]
async fn when_output_cannot_be_shown_nothing_more_is_run() {
    let plugin = Exec::new(io::Cursor::new("a\nb\n"), Console::new(Closed, io::sink()));
    let spec = spec(command(&["echo"]).to_json());
    let mut generator = plugin.generator(&spec).unwrap();
    generator.begin(None).await.unwrap();
    let body = generator.next_subtasks(1).await.unwrap().subtasks.remove(0).body;
    let executor = plugin.executor(&spec).unwrap();
    let told = context(&CancellationToken::new());
    executor.execute(&body, &told).await.unwrap();
    assert!(generator.next_subtasks(1).await.unwrap().finished, "no line is read any more");
    let failed = executor.execute(&body, &told).await.unwrap_err();
    assert_eq!(failed.to_string(), "not run: nobody reads the output any more");
    assert_eq!(plugin.handle().stopped().await, Stopped::Unread);
    assert_eq!(plugin.handle().result().await.data["lines"], 1);
}

#[tokio::test(start_paused = true)]
async fn an_input_that_gives_nothing_keeps_nobody_waiting() {
    let (reader, mut writer) = io::pipe().unwrap();
    let plugin = Exec::new(BufReader::new(reader), Console::std());
    let mut generator = plugin.generator(&spec(command(&["echo"]).to_json())).unwrap();
    generator.begin(None).await.unwrap();
    let nothing = generator.next_subtasks(10).await.unwrap();
    assert!(nothing.subtasks.is_empty() && !nothing.finished);
    writer.write_all(b"a\nb").unwrap();
    drop(writer);
    let mut count = 0;
    loop {
        let generated = generator.next_subtasks(10).await.unwrap();
        count += generated.subtasks.len();
        if generated.finished {
            break;
        }
    }
    assert_eq!(count, 2);
}

#[test]
fn bad_parameters_are_refused_with_one_line_and_nothing_is_made() {
    let place = tempfile::tempdir().unwrap();
    let log = |path: &Path| ExecParam { log: Some(path.to_owned()), ..command(&["true"]) }.to_json();
    let refused = |lines: &'static str, wrong: &serde_json::Value| {
        Exec::new(io::Cursor::new(lines), Console::std()).check(&param(wrong.clone()))
    };
    for (wrong, says) in [
        (json!(null), "it takes command"),
        (json!({ "command": [] }), "the command is empty"),
        (json!({ "command": [""] }), "the command is empty"),
        (json!({ "command": "echo" }), "expected a sequence"),
        (json!({ "command": ["echo"], "shel": true }), "unknown field `shel`, expected one of"),
        (json!({ "command": ["echo"], "tries": 0 }), "tries is 0; allowed is 1 or more"),
        (json!({ "command": ["echo"], "pipe": 0 }), "pipe is 0; allowed is 1 to"),
        (
            json!({ "command": ["echo"], "pipe": 1, "colsep": "," }),
            "it goes with neither colsep nor arguments",
        ),
        (json!({ "command": ["echo"], "colsep": "(" }), "colsep \"(\" is no regular expression"),
        (json!({ "command": ["echo"], "halt": "now" }), "\"now\" is no condition; write now or soon"),
        (json!({ "command": ["echo"], "resume": "ended" }), "resume needs the log"),
        (json!({ "command": ["echo"], "keep_order": true, "live": true }), "exclude each other"),
        (json!({ "command": ["echo"], "timeout_ms": 0 }), "timeout_ms is 0; allowed is 1 or more"),
        (json!({ "command": ["echo"], "grace_ms": 60_001 }), "grace_ms is 60001; allowed is 0 to 60000"),
        (log(place.path()), "is a directory; the log must be a file"),
        (log(&place.path().join("none/log")), "cannot be written (No such file or directory)"),
    ] {
        let error = refused("a\n", &wrong).unwrap_err().to_string();
        assert!(error.contains(says) && !error.contains('\n'), "{wrong}: {error}");
    }
    assert!(refused("", &command(&["true"]).to_json()).is_ok(), "there is nothing to do");
    assert!(refused("\n", &log(&place.path().join("log"))).is_ok());
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}
