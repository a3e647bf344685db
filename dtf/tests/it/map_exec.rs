//! Commands that are run for the items of tasks of type `map`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use dtf::tasks::exec::{AllowedCommand, AllowedCommands};
use dtf_model::plugin::ExecuteContext;
use dtf_model::{EmitEpoch, RunEpoch, Seq, SubtaskId, TaskId};
use dtf_types::{CommandError, Commands};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::command::{dtf, eventually, is_gone, run, told};

fn allowed(command: Value) -> Result<AllowedCommands, String> {
    let command: AllowedCommand = serde_json::from_value(command).map_err(|error| error.to_string())?;
    AllowedCommands::new(BTreeMap::from([("c".to_owned(), command)]))
}

fn context(cancelled: &CancellationToken) -> ExecuteContext {
    let id = SubtaskId { task: TaskId(7), run: RunEpoch(1), epoch: EmitEpoch(1), seq: Seq(3) };
    ExecuteContext { id, key: None, attempt: 0, cancelled: cancelled.clone() }
}

async fn call(command: Value, item: &Value) -> Result<Value, CommandError> {
    let item = Bytes::from(item.to_string());
    let commands = allowed(command).unwrap();
    let context = context(&CancellationToken::new());
    let result = commands.run("c", &item, Duration::from_secs(60), &context).await?;
    Ok(serde_json::from_slice(&result).unwrap())
}

#[tokio::test]
async fn an_item_fills_arguments_and_nothing_else_reaches_the_command() {
    let script = r#"printf '%s|' "$@"; env | sort; pwd"#;
    let command = json!({
        "run": ["/bin/sh", "-c", script, "sh", "{name}", "--n={n}"],
        "env": {"LANG": "C", "HOME": "/nowhere"},
    });
    let result = call(command, &json!({"name": "a b; $(id) `id` ' \"", "n": 7})).await.unwrap();
    let stdout = result["stdout"].as_str().unwrap();
    let (arguments, environment) = stdout.split_once("|--n=7|").unwrap();
    assert_eq!(arguments, "a b; $(id) `id` ' \"");
    let mut names: Vec<_> = environment.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    names.retain(|name| !["_", "PWD", "SHLVL", "OLDPWD"].contains(name)); // of the shell's own
    assert_eq!(names, ["DTF_KEY", "DTF_RUN", "HOME", "LANG"]);
    assert_eq!(environment.lines().last(), Some("/"));
    assert!(std::env::var_os("PATH").is_some(), "there was something to keep away");
}

#[tokio::test]
async fn a_command_reads_its_item_and_writes_its_result() {
    let json = json!({"run": ["/bin/cat"], "stdin": true, "json": true});
    assert_eq!(call(json, &json!({"a": [1, null]})).await.unwrap(), json!({"a": [1, null]}));
    let text = json!({"run": ["/bin/sh", "-c", "echo oops >&2"], "json": true});
    let Err(CommandError::Final(why)) = call(text, &json!(1)).await else { panic!("it wrote no JSON") };
    assert!(why.contains("no JSON value"), "{why}");
    let long = json!({"run": ["/bin/sh", "-c", "seq 1000"], "output": 10});
    let result = call(long, &json!(1)).await.unwrap();
    assert_eq!((&result["stdout"], &result["stdout_cut"]), (&json!("\n999\n1000\n"), &json!(3883)));
}

#[tokio::test]
async fn a_failure_says_how_the_command_ended_and_what_it_said_last() {
    let failing = json!({"run": ["/bin/sh", "-c", "echo first; echo last words >&2; exit 3"]});
    let Err(CommandError::Retryable(why)) = call(failing, &json!(1)).await else { panic!("it failed") };
    assert_eq!(why, "c ended with exit code 3: last words");
    let killed = json!({"run": ["/bin/sh", "-c", "kill -9 $$"]});
    let Err(CommandError::Retryable(why)) = call(killed, &json!(1)).await else { panic!("it was killed") };
    assert_eq!(why, "c was ended by signal 9");
    let missing = json!({"run": ["/none/such"]});
    let Err(CommandError::Final(why)) = call(missing, &json!(1)).await else { panic!("it is not there") };
    assert!(why.starts_with("c cannot be run: "), "{why}");
    let option = json!({"run": ["/bin/echo", "{}"]});
    let Err(CommandError::Final(why)) = call(option, &json!("--help")).await else { panic!("an option") };
    assert!(why.contains("could be taken for an option"), "{why}");
}

#[tokio::test]
async fn a_command_ends_when_its_time_is_over_or_its_task_is_cancelled_or_nobody_waits() {
    let dir = tempfile::tempdir().unwrap();
    let script = |name: &str| {
        let file = dir.path().join(name);
        let script = format!("sleep 1000 & echo $! > {0}.new; mv {0}.new {0}; wait", file.display());
        (file, json!({"run": ["/bin/sh", "-c", script], "timeout": "60s"}))
    };
    let pid_in = |file: &Path| eventually(|| fs::read_to_string(file).ok()?.trim().parse::<u32>().ok());

    let (file, mut command) = script("late");
    command["timeout"] = json!("200ms");
    let Err(CommandError::Retryable(why)) = call(command, &json!(1)).await else {
        panic!("it took too long")
    };
    assert_eq!(why, "c timed out after 200ms");
    if let Ok(pid) = fs::read_to_string(&file) {
        eventually(|| is_gone(pid.trim().parse().unwrap()).then_some(()));
    }

    let (file, command) = script("cancelled");
    let (commands, cancelled, item) = (allowed(command).unwrap(), CancellationToken::new(), Bytes::from("1"));
    let running = tokio::spawn({
        let (commands, context) = (commands.clone(), context(&cancelled));
        async move { commands.run("c", &item, Duration::from_secs(60), &context).await }
    });
    let pid = tokio::task::spawn_blocking(move || pid_in(&file)).await.unwrap();
    cancelled.cancel();
    assert_eq!(running.await.unwrap(), Err(CommandError::Final("cancelled".to_owned())));
    eventually(|| is_gone(pid).then_some(()));

    let (file, command) = script("dropped");
    let (commands, item) = (allowed(command).unwrap(), Bytes::from("1"));
    let running = tokio::spawn(async move {
        let context = context(&CancellationToken::new());
        commands.run("c", &item, Duration::from_secs(60), &context).await
    });
    let pid = tokio::task::spawn_blocking(move || pid_in(&file)).await.unwrap();
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    eventually(|| is_gone(pid).then_some(()));
}

#[test]
fn a_file_of_commands_says_what_is_wrong_with_it() {
    for (command, said) in [
        (json!({"run": []}), "run is empty"),
        (json!({"run": ["echo"]}), "absolute path"),
        (json!({"run": ["/bin/{}"]}), "the program has a placeholder"),
        (json!({"run": ["/bin/echo"], "dir": "here"}), "absolute path"),
        (json!({"run": ["/bin/echo"], "env": {"A=B": "c"}}), "no name of a variable"),
        (json!({"run": ["/bin/echo"], "grace": "1m"}), "grace at most"),
        (json!({"run": ["/bin/echo"], "output": 262_145}), "at most 262144"),
        (json!({"run": ["/bin/echo"], "shell": true}), "unknown field `shell`"),
        (json!({"run": ["/bin/echo"], "inherits": true}), "unknown field `inherits`"),
    ] {
        let refused = allowed(command.clone()).unwrap_err();
        assert!(refused.contains(said), "{command}: {refused}");
    }
}

#[test]
fn a_command_of_this_machine_is_run_for_each_item() {
    let args = ["map", "--source", r#"list:["a b", {"n": 1}]"#, "--sink", "keep", "--", "echo", "-n"];
    let (code, stdout, stderr) = run(&args);
    assert_eq!(code, 0, "{stderr}");
    let results = stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut said: Vec<_> = results.map(|result| result["stdout"].as_str().unwrap().to_owned()).collect();
    said.sort_unstable();
    assert_eq!(said, ["a b", r#"{"n":1}"#]);
    assert!(stderr.contains("map:exec:echo completed"), "{stderr}");
    let script = r#"test "$1" != b"#;
    let failing = [
        "map",
        "--source",
        "list:a,b,c",
        "--attempts",
        "1",
        "-o",
        "json",
        "--",
        "sh",
        "-c",
        script,
        "sh",
        "{}",
    ];
    let (code, stdout, stderr) = run(&failing);
    let summary: Value = serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{stdout} {stderr}"));
    assert_eq!((code, &summary["failed"]), (1, &json!(1)));
    let (code, _, stderr) = run(&["map", "--source", "list:a", "--exec", "thumbnail"]);
    assert!(code == 2 && stderr.contains("--on-cluster"), "{stderr}");
}

#[test]
fn records_of_a_file_go_through_a_command_to_files() {
    let dir = tempfile::tempdir().unwrap();
    let at = |kind: &str, name: &str| format!("{kind}:{}", dir.path().join(name).display());
    fs::write(dir.path().join("in.csv"), "name,n\na,1\n\"b c\",2\nd,3\n").unwrap();
    let (source, sink, failed) = (at("csv", "in.csv"), at("csv", "out.csv"), at("jsonl", "failed"));
    let script = r#"test "$2" != 2 || exit 9; printf %s "$1""#;
    let args = ["map", "--source", &source, "--sink", &sink, "--failed", &failed, "--attempts", "1", "--"];
    let (code, _, stderr) = run(&[&args[..], &["sh", "-c", script, "sh", "{name}", "{n}"]].concat());
    assert_eq!(code, 1, "{stderr}");
    let out = fs::read_to_string(dir.path().join("out.csv")).unwrap();
    let mut lines: Vec<_> = out.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["0,,a", "0,,d", "exit_code,stderr,stdout"]);
    let failed: Value =
        serde_json::from_str(&fs::read_to_string(dir.path().join("failed")).unwrap()).unwrap();
    assert_eq!(failed["item"], json!({"name": "b c", "n": "2"}));
    assert_eq!(failed["error"], "sh ended with exit code 9");
}

#[test]
fn the_first_process_of_a_container_waits_for_its_commands_itself() {
    // Each command leaves a process that its parent forgot; its own end must be seen by whoever waits for it.
    let script = "(setsid sleep 0.01 &); exit 0";
    let program = env!("CARGO_BIN_EXE_dtf");
    let run = format!(
        "exec {program} map -q -o json --source range:200 --attempts 1 -j4 -- sh -c '{script}' sh {{}}"
    );
    let namespaces = |command: &str| {
        let mut unshare = std::process::Command::new("unshare");
        unshare.args(["-rpf", "--mount-proc", "sh", "-c", command]).stdin(std::process::Stdio::null());
        unshare.output().unwrap()
    };
    if !namespaces("true").status.success() {
        eprintln!(
            "no namespaces of processes are permitted here: what is reaped is shown by exec::processes::tests"
        );
        return;
    }
    let (code, stdout, stderr) = told(&namespaces(&run));
    let summary: Value = serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{stdout} {stderr}"));
    assert_eq!((code, &summary["counts"]["succeeded"]), (0, &json!(200)), "{stderr}");
}

#[cfg(feature = "full")]
#[test]
fn only_commands_that_are_allowed_run_for_tasks_from_the_network() {
    use std::process::Stdio;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("commands.toml");
    fs::write(&file, "[shout]\nrun = [\"/usr/bin/tr\", \"a-z\", \"A-Z\"]\nstdin = true\njson = true\n")
        .unwrap();
    let mut command = dtf(&["dev", "--listen", "127.0.0.1:0", "--commands", file.to_str().unwrap()]);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut says = std::io::BufReader::new(child.stderr.take().unwrap());
    std::io::BufRead::read_line(&mut says, &mut line).unwrap();
    let address = line.split_whitespace().find_map(|word| word.strip_prefix("http://")).unwrap().to_owned();
    let ask = |method: &str, path: &str, body: &str| crate::support::http::ask(&address, method, path, body);
    let create = |name: &str| {
        let task = json!({"type": "map", "param": {
            "source": {"list": ["x", "y"]}, "function": {"exec": name}, "sink": "keep"}});
        ask("POST", "/v1/tasks", &task.to_string())
    };
    let unknown = create("rm");
    let known = create("shout");
    assert_eq!(known["type"], "map:exec:shout");
    let path = format!("/v1/tasks/{}", known["id"]);
    eventually(|| (ask("GET", &path, "")["status"] == "completed").then_some(()));
    let results = ask("GET", &format!("{path}/results"), "");
    let mut values: Vec<_> =
        results["results"].as_array().unwrap().iter().map(|result| result["value"].clone()).collect();
    values.sort_by_key(Value::to_string);
    assert_eq!(values, ["X", "Y"]);
    let waiting = ask("GET", &format!("/v1/tasks/{}", unknown["id"]), "");
    assert_eq!((&waiting["progress"]["running"], &waiting["progress"]["failed"]), (&json!(0), &json!(0)));
    // A worker cannot offer a command.
    let poll = json!({"worker": {"name": "w"}, "functions": ["exec:rm"], "most": 1, "wait_ms": 0});
    assert_eq!(ask("POST", "/v1/work/poll", &poll.to_string())["code"], "invalid_request");
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM)
        .unwrap();
    assert!(child.wait().unwrap().success());

    fs::write(&file, "[shout]\nrun = \"tr\"\n").unwrap();
    let wrong =
        dtf(&["dev", "--listen", "127.0.0.1:0", "--commands", file.to_str().unwrap()]).output().unwrap();
    let (code, _, stderr) = told(&wrong);
    assert_eq!((code, stderr.lines().count()), (2, 1), "{stderr}");
    assert!(stderr.contains("commands.toml"), "{stderr}");
}
