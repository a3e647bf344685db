//! `dtf run exec`, as people meet it who know xargs and GNU parallel.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::command::{children_of, dtf, eventually, is_gone, run, run_with_lines, told};
use rustix::process::{Pid, Signal, kill_process};

fn seq(count: u32) -> String {
    (1..=count).map(|line| format!("{line}\n")).collect()
}

/// Runs a shell script in which `dtf` is the program.
fn script(script: &str) -> (i32, String, String) {
    let mut shell = Command::new("sh");
    let script = format!("dtf() {{ {} \"$@\"; }}; {script}", env!("CARGO_BIN_EXE_dtf"));
    told(&shell.args(["-c", &script]).stdin(Stdio::null()).output().unwrap())
}

fn json_of(stdout: &str) -> serde_json::Value {
    serde_json::from_str(stdout.lines().last().unwrap()).unwrap()
}

#[test]
fn lines_start_in_the_order_of_the_input_and_one_job_keeps_it() {
    let lines = seq(300);
    let (code, stdout, stderr) = run_with_lines(&["run", "exec", "-q", "-j1", "--", "echo"], &lines);
    assert_eq!((code, stdout.as_str()), (0, lines.as_str()), "{stderr}");
    // With more jobs the log has the starts.
    let work = tempfile::tempdir().unwrap();
    let log = work.path().join("log");
    let args = ["run", "exec", "-q", "-j4", "--log", log.to_str().unwrap(), "--", "true"];
    assert_eq!(run_with_lines(&args, &lines).0, 0);
    let mut by_number: Vec<(u64, String)> =
        rows(&log).map(|row| (row[0].parse().unwrap(), row[1].clone())).collect();
    by_number.sort();
    assert_eq!(by_number.len(), 300);
    assert!(by_number.is_sorted_by_key(|(_, started)| started.clone()), "{by_number:?}");
}

fn rows(log: &Path) -> impl Iterator<Item = Vec<String>> {
    let text = fs::read_to_string(log).unwrap();
    let rows: Vec<_> = text.lines().skip(1).map(|row| row.split('\t').map(str::to_owned).collect()).collect();
    rows.into_iter()
}

#[test]
fn without_lines_there_is_nothing_to_do() {
    let (code, stdout, stderr) = run(&["run", "exec", "-q", "--", "echo", "{}"]);
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (0, "", ""));
}

#[test]
fn more_jobs_than_threads_for_blocking_work_run_at_once() {
    // Each waits until all are there: none may have to wait for another's end.
    let work = tempfile::tempdir().unwrap();
    let (count, place) = (560, work.path().display());
    let all = format!("touch {place}/$1; until [ $(ls {place} | wc -l) -ge {count} ]; do sleep 0.5; done");
    let args = ["run", "exec", "-q", "-j", "560", "--each", "10m", "--", "sh", "-c", &all, "sh"];
    let (code, _, stderr) = run_with_lines(&args, &seq(count));
    assert_eq!((code, stderr.as_str()), (0, ""));
}

#[test]
fn what_failed_is_counted_as_failed_whatever_ended_the_run() {
    let (code, stdout, stderr) = run_with_lines(&["run", "exec", "-o", "json", "--", "false"], &seq(3));
    let summary = json_of(&stdout);
    assert_eq!(
        (code, &summary["failed"], &summary["counts"]["failed"]),
        (1, &3.into(), &3.into()),
        "{stderr}"
    );
    assert_eq!(summary["counts"]["succeeded"], 0);
    // The first two fail, the others are ended with the run: all are named.
    let one = "test $1 -gt 2 && exec sleep 1000; exit 1";
    let args = ["run", "exec", "-j4", "-o", "json", "--timeout", "2s", "--", "sh", "-c", one, "sh"];
    let (code, stdout, stderr) = run_with_lines(&args, &seq(4));
    let summary = json_of(&stdout);
    assert_eq!(
        (code, &summary["failed"], &summary["status"]),
        (1, &2.into(), &"exceptional".into()),
        "{stderr}"
    );
    let data = &summary["result"]["data"];
    assert_eq!((&data["failed"], &data["killed"], &data["lines"]), (&2.into(), &2.into(), &2.into()));
    for named in
        ["line 1 (1): exit code 1", "line 3 (3): ended with the run", "line 4 (4): ended with the run"]
    {
        assert!(stderr.contains(named), "{stderr}");
    }
}

#[test]
fn few_open_files_mean_fewer_commands_at_once_and_no_failure() {
    let many = "seq 200 | dtf run exec -q -j 150 -- sh -c 'sleep 0.01; echo $1' sh";
    // The soft limit is raised.
    let (code, stdout, stderr) = script(&format!("ulimit -Sn 128; {many}"));
    assert_eq!((code, stdout.lines().count(), stderr.as_str()), (0, 200, ""));
    // The hard one is obeyed.
    let (code, stdout, stderr) = script(&format!("ulimit -n 128; {many}"));
    assert_eq!((code, stdout.lines().count()), (0, 200), "{stderr}");
    assert!(stderr.contains("commands at once instead of 150, as 128 open files are allowed"), "{stderr}");
}

#[test]
fn a_command_for_which_there_is_no_process_waits_until_there_is() {
    let limited = "yes 0.05 | head -90 | prlimit --nproc=LIMIT DTF run exec -o json -j 60 -- sleep";
    let work = tempfile::tempdir().unwrap();
    fs::set_permissions(work.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let copy = work.path().join("dtf");
    fs::copy(env!("CARGO_BIN_EXE_dtf"), &copy).unwrap();
    // The limit binds users, not root: one whom nobody else is has it all for itself. Others have processes already, and run
    // the same without the shortage.
    let root = rustix::process::getuid().is_root();
    let limited = limited.replace("DTF", copy.to_str().unwrap());
    let limited =
        if root { limited.replace("LIMIT", "24") } else { limited.replace("prlimit --nproc=LIMIT", "") };
    let mut shell = Command::new("sh");
    shell.args(["-c", &limited]).current_dir("/").stdin(Stdio::null());
    if root {
        shell.uid(54_321).gid(54_321);
    }
    let (code, stdout, stderr) = told(&shell.output().unwrap());
    assert_eq!((code, &json_of(&stdout)["counts"]["succeeded"]), (0, &90.into()), "{stderr}");
    assert_eq!(stderr.contains("processes are at their limit"), root, "{stderr}");
}

#[test]
fn outputs_for_which_there_is_no_disk_space_are_whole_all_the_same() {
    let work = tempfile::tempdir().unwrap();
    let alone = |command: &str| {
        let mut unshare = Command::new("unshare");
        unshare.args(["-rm", "sh", "-c", command]).current_dir(work.path()).stdin(Stdio::null());
        unshare.output().unwrap()
    };
    let mount = "mkdir -p m && mount -t tmpfs -o size=16k tmpfs m";
    if !alone(mount).status.success() {
        eprintln!(
            "no mounts are permitted here: what becomes of a full disk is shown by exec::spool and exec::show"
        );
        return;
    }
    // More than is kept in memory and more than the disk has room for, from several commands at once.
    let program = env!("CARGO_BIN_EXE_dtf");
    let run = format!("TMPDIR=$PWD/m {program} run exec -q -j4 -- sh -c 'yes {{}} | head -c 100000; exit 0'");
    let (code, stdout, stderr) = told(&alone(&format!("{mount} && seq 4 | {run}")));
    assert_eq!((code, stdout.len()), (0, 400_000), "{stderr}");
    for line in 1..=4 {
        let whole = format!("{line}\n").repeat(50_000);
        assert!(stdout.contains(&whole), "the output of {line} is not in one piece");
    }
}

#[test]
fn without_a_directory_for_outputs_nothing_is_begun() {
    let (code, _, stderr) = script("echo 1 | TMPDIR=/none/such dtf run exec -- touch /tmp/none-such-was-run");
    assert_eq!(code, 2);
    assert!(stderr.contains("/none/such: outputs cannot be kept there"), "{stderr}");
    assert!(!fs::exists("/tmp/none-such-was-run").unwrap());
}

#[test]
fn outputs_are_shown_in_order_where_that_is_asked_for() {
    let work = tempfile::tempdir().unwrap();
    // The first ends last: it waits for all others.
    let wait = "if [ $1 = 1 ]; then until [ $(ls $0 | wc -l) = 7 ]; do sleep 0.05; done; else touch $0/$1; fi; echo $1";
    let place = work.path().to_str().unwrap();
    let args = ["run", "exec", "-q", "-k", "-j", "3", "--", "sh", "-c", wait, place];
    let (code, stdout, stderr) = run_with_lines(&args, &seq(8));
    assert_eq!((code, stdout), (0, seq(8)), "{stderr}");
}

#[test]
fn output_is_shown_as_it_comes_where_that_is_asked_for() {
    let mut command = dtf(&[
        "run",
        "exec",
        "-q",
        "--live",
        "--tag",
        "--",
        "sh",
        "-c",
        "echo begun; echo err >&2; read x < $1; echo end",
        "sh",
    ]);
    let work = tempfile::tempdir().unwrap();
    let pipe = work.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    writeln!(child.stdin.take().unwrap(), "{}", pipe.display()).unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert_eq!(lines.next().unwrap(), format!("{}\tbegun", pipe.display()));
    fs::write(&pipe, "go\n").unwrap();
    assert_eq!(lines.next().unwrap(), format!("{}\tend", pipe.display()));
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!(err, format!("{}\terr\n", pipe.display()));
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_command_that_fails_is_tried_again_and_only_the_last_try_is_shown() {
    let work = tempfile::tempdir().unwrap();
    let flaky = "echo x >> $0/$1; echo try $(wc -l < $0/$1); test $(wc -l < $0/$1) -ge $1";
    let args =
        ["run", "exec", "-q", "-k", "--retries", "3", "--", "sh", "-c", flaky, work.path().to_str().unwrap()];
    let (code, stdout, stderr) = run_with_lines(&args, &seq(4));
    assert_eq!((code, stdout.as_str()), (1, "try 1\ntry 2\ntry 3\ntry 3\n"));
    assert_eq!(stderr, "dtf: line 4 (4): exit code 1\n");
}

#[test]
fn a_run_is_halted_when_it_was_told_to() {
    let fails = "test $1 != 3 || exit 5; test $1 -lt 3 || exec sleep 1000";
    let halted = |halt, script| {
        run_with_lines(
            &["run", "exec", "-j4", "-o", "json", "--halt", halt, "--", "sh", "-c", script, "sh"],
            &seq(300),
        )
    };
    let (code, stdout, stderr) = halted("now,fail=1", fails);
    let summary = json_of(&stdout);
    assert_eq!((code, &summary["reason"]), (1, &"halted, as a line failed".into()), "{stderr}");
    assert_eq!(summary["result"]["data"]["by_exit_code"], serde_json::json!({ "0": 2, "5": 1 }));
    assert!(summary["counts"]["cancelled"].as_u64().unwrap() > 0, "what has not run is not done: {summary}");
    let (code, stdout, _) = halted("soon,fail=1", "sleep 0.1; test $1 != 3 || exit 5");
    let data = json_of(&stdout)["result"]["data"].clone();
    assert_eq!((code, &data["killed"], &data["failed"]), (1, &0.into(), &1.into()));
    assert!(data["lines"].as_u64().unwrap() < 300, "{data}");
    let (code, _, _) =
        halted("now,success=1", "test $1 = 3 && exit 0; test $1 -lt 3 && exit 5; exec sleep 1000");
    assert_eq!(code, 0);
}

#[test]
fn a_run_is_resumed_by_its_log() {
    let work = tempfile::tempdir().unwrap();
    let log = work.path().join("log");
    let args =
        |resume, command| ["run", "exec", "-q", "-k", resume, "--log", log.to_str().unwrap(), "--", command];
    let lines = seq(6);
    let (code, ..) = run_with_lines(
        &[
            "run",
            "exec",
            "-q",
            "--halt",
            "soon,done=3",
            "-j1",
            "--log",
            log.to_str().unwrap(),
            "--",
            "sh",
            "-c",
            "test $1 != 2",
            "sh",
        ],
        &lines,
    );
    assert_eq!(code, 0);
    let (code, stdout, stderr) = run_with_lines(&args("--resume", "echo"), &lines);
    assert_eq!((code, stdout.as_str()), (0, "4\n5\n6\n"), "{stderr}");
    let (code, stdout, _) = run_with_lines(&args("--resume-failed", "echo"), &lines);
    assert_eq!((code, stdout.as_str()), (0, "2\n"));
    let (code, _, stderr) = run_with_lines(&args("--resume", "echo"), "1\nother\n");
    assert_eq!(code, 1);
    assert!(stderr.contains("the log is of another input: its line 2 is"), "{stderr}");
}

#[test]
fn what_people_write_for_xargs_and_parallel_means_the_same() {
    let cases: [(&[&str], &str, &str); 14] = [
        (&["-0", "--", "printf", "[%s]"], "a\nb\0c\0", "[a\nb][c]"),
        (
            &["--", "echo", "{.}", "{/}", "{//}", "{/.}", "{#}", "{%}"],
            "a/b.tar.gz\n",
            "a/b.tar b.tar.gz a b.tar 1 1\n",
        ),
        (&["-C", ",", "--", "echo", "{2}-{1}"], "a,b\nc,d\n", "b-a\nd-c\n"),
        (&["-C", "[ \t]+", "--", "echo", "{-1}"], "a \t b\n", "b\n"),
        (&["--", "echo", "{1}{2}", ":::", "a", "b", ":::", "1", "2"], "not read", "a1\na2\nb1\nb2\n"),
        (&["--", "echo", ":::", "a", "b", ":::+", "1", "2"], "", "a 1\nb 2\n"),
        (&["--dry-run", "--", "rm", "-f", "{}"], "a b\n-x\n", "rm -f 'a b'\nrm -f -x\n"),
        (&["--shell", "--", "echo {} | tr a-z A-Z; echo {#}"], "it's\n", "IT'S\n1\n"),
        (&["--pipe", "--block", "5", "--", "wc", "-l"], "a\nb\nc\nd\n", "3\n1\n"),
        (&["--pipe", "--", "cat"], "no end", "no end"),
        (&["--tag", "--", "echo", "x"], "a\n", "a\tx a\n"),
        (&["--", "sh", "-c", "echo $DTF_SEQ"], "a\nb\n", "1\n2\n"),
        (&["-j", "50%", "--", "echo"], "a\n", "a\n"),
        (&["-j", "+1", "--delay", "1ms", "--", "echo"], "a\nb\n", "a\nb\n"),
    ];
    for (args, lines, expected) in cases {
        let args = [&["run", "exec", "-q", "-k"], args].concat();
        let (code, stdout, stderr) = run_with_lines(&args, lines);
        assert_eq!((code, stdout.as_str(), stderr.as_str()), (0, expected, ""), "{args:?}");
    }
    let (code, _, stderr) = run_with_lines(&["run", "exec", "-q", "-C", ",", "--", "rm", "{3}"], "a,b\n");
    assert_eq!((code, stderr.as_str()), (1, "dtf: line 1 (a,b): has 2 columns and no column 3\n"));
}

/// A run of two commands with processes below them, and their numbers.
fn two_commands(command: &mut Command) -> (Child, Vec<u32>) {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"1\n2\n").unwrap();
    let all = eventually(|| {
        let commands = children_of(child.id());
        let below: Vec<u32> = commands.iter().flat_map(|command| children_of(*command)).collect();
        (commands.len() == 2 && below.len() == 2).then(|| [commands, below].concat())
    });
    (child, all)
}

const WITH_CHILD: [&str; 8] = ["run", "exec", "-j2", "--", "sh", "-c", "sleep 1000; :", "sh"];

#[test]
fn each_signal_that_asks_for_an_end_ends_the_commands_too() {
    for (signal, code) in [(Signal::HUP, 129), (Signal::INT, 130), (Signal::QUIT, 131), (Signal::TERM, 143)] {
        let (child, all) = two_commands(&mut dtf(&WITH_CHILD));
        kill_process(Pid::from_child(&child), signal).unwrap();
        let (ended, _, stderr) = told(&child.wait_with_output().unwrap());
        assert_eq!(ended, code, "{stderr}");
        assert!(all.iter().all(|pid| is_gone(*pid)), "after {signal:?}");
        assert!(
            stderr.contains("line 1 (1): ended with the run") && stderr.contains("line 2 (2)"),
            "{stderr}"
        );
    }
}

#[test]
fn a_run_that_is_killed_takes_its_commands_along() {
    let (mut child, all) = two_commands(&mut dtf(&WITH_CHILD));
    child.kill().unwrap();
    child.wait().unwrap();
    eventually(|| all.iter().all(|pid| is_gone(*pid)).then_some(()));
}

#[test]
fn a_signal_that_was_ignored_from_the_beginning_stays_so() {
    let mut command = Command::new("nohup");
    command.arg(env!("CARGO_BIN_EXE_dtf")).args(WITH_CHILD);
    let (child, all) = two_commands(&mut command);
    kill_process(Pid::from_child(&child), Signal::HUP).unwrap();
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let (code, _, stderr) = told(&child.wait_with_output().unwrap());
    // Were the first one not ignored, the second would end the run without a summary.
    assert!(code == 143 && stderr.contains("exec ended as cancelled"), "{code}: {stderr}");
    assert!(all.iter().all(|pid| is_gone(*pid)));
}

#[test]
fn a_run_that_is_suspended_stands_still_with_its_commands_and_goes_on() {
    let (child, all) = two_commands(&mut dtf(&WITH_CHILD));
    let stopped = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.rsplit_once(") ").unwrap().1.starts_with('T')
    };
    let all_with_us = [all.clone(), vec![child.id()]].concat();
    kill_process(Pid::from_child(&child), Signal::TSTP).unwrap();
    eventually(|| all_with_us.iter().all(stopped).then_some(()));
    kill_process(Pid::from_child(&child), Signal::CONT).unwrap();
    eventually(|| (!all_with_us.iter().any(stopped)).then_some(()));
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(told(&child.wait_with_output().unwrap()).0, 143);
    assert!(all.iter().all(|pid| is_gone(*pid)));
}

#[test]
fn what_a_command_leaves_in_the_background_is_left_alone() {
    let work = tempfile::tempdir().unwrap();
    let mark = work.path().join("mark");
    // It writes more than a pipe holds, after its command has ended.
    let left =
        "(until [ -e $1.go ]; do sleep 0.01; done; head -c 200000 /dev/zero; echo done > $1) & echo shown";
    let last = "echo > $1.go; until [ -e $1 ]; do sleep 0.01; done";
    let one = format!("case $1 in */mark) {left};; *) set -- ${{1%.last}}; {last};; esac");
    let lines = format!("{0}\n{0}.last\n", mark.display());
    let (code, stdout, stderr) =
        run_with_lines(&["run", "exec", "-q", "-j1", "--", "sh", "-c", &one, "sh"], &lines);
    assert_eq!((code, stdout.as_str()), (0, "shown\n"), "{stderr}");
    assert_eq!(fs::read_to_string(&mark).unwrap(), "done\n");
}

#[test]
fn the_first_process_of_a_container_reaps_what_it_inherits() {
    // A process that its parent forgot, in a session of its own: it ends while the run goes on, and must not stay.
    let inner = "(setsid sh -c 'echo $$ > pid' &) ; until [ -s pid ] && ! [ -e /proc/$(cat pid) ]; do sleep 0.01; done";
    let run = format!("echo 1 | dtf run exec -q -- sh -c '{}'", inner.replace('\'', "'\\''"));
    let work = tempfile::tempdir().unwrap();
    let namespaces = |command: &str| {
        let mut unshare = Command::new("unshare");
        unshare
            .args(["-rpf", "--mount-proc", "sh", "-c", command])
            .current_dir(work.path())
            .stdin(Stdio::null());
        unshare.output().unwrap()
    };
    if !namespaces("true").status.success() {
        eprintln!(
            "no namespaces of processes are permitted here: what is reaped is shown by exec::processes::tests"
        );
        return;
    }
    // The shell becomes dtf, so that it is the first process.
    let program = env!("CARGO_BIN_EXE_dtf");
    let (code, _, stderr) = told(&namespaces(
        &run.replace("echo 1 | dtf", &format!("echo 1 > lines; exec {program}"))
            .replace("-q --", "-q -a lines --"),
    ));
    assert_eq!((code, stderr.as_str()), (0, ""));
    // A group that only has zombies has ended: the grace of a minute is not waited for.
    let stubborn = format!(
        "seq 2 > lines; exec {program} run exec -q -j2 -a lines --grace 1m --each 100ms -o json -- sh -c 'sleep 1000; :'"
    );
    let (code, stdout, stderr) = told(&namespaces(&stubborn));
    assert_eq!(code, 1, "{stderr}");
    assert!(json_of(&stdout)["wall_s"].as_f64().unwrap() < 60.0, "{stdout}");
}

#[test]
fn what_goes_wrong_is_said_to_whoever_wants_it_quiet() {
    let (code, stdout, stderr) =
        run_with_lines(&["run", "exec", "-q", "--log", "/dev/full", "--", "true"], &seq(3));
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.contains("/dev/full: No space left on device"), "{stderr}");
    let (code, _, stderr) = script("seq 3 | dtf run exec -q -- echo > /dev/full");
    assert_eq!(code, 1);
    assert!(stderr.contains("cannot show output: No space left on device"), "{stderr}");
    let (code, stdout, _) = run_with_lines(&["run", "exec", "-q", "-o", "json", "--", "true"], &seq(3));
    assert_eq!(
        (code, &json_of(&stdout)["counts"]["succeeded"]),
        (0, &3.into()),
        "the document is what was asked for"
    );
}

#[test]
fn a_reader_that_has_gone_ends_the_run_without_a_word() {
    let (_, stdout, stderr) = script("{ seq 100000 | dtf run exec -j2 -- echo; echo $? >&2; } | head -1");
    assert_eq!((stdout.lines().count(), stderr.as_str()), (1, "141\n"));
    let (_, _, stderr) = script("{ dtf --help; echo $? >&2; } | true");
    assert_eq!(stderr, "0\n");
}
