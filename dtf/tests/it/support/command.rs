//! The `dtf` command, run as a process.

use std::fs;
use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

pub(crate) fn dtf(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dtf"));
    command.args(args).stdin(Stdio::null());
    command
}

pub(crate) fn output(command: &mut Command) -> Output {
    command.output().expect("the command is built")
}

/// Its exit code, standard output and standard error.
pub(crate) fn run(args: &[&str]) -> (i32, String, String) {
    told(&output(&mut dtf(args)))
}

pub(crate) fn told(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = output.status.code().expect("it was not killed");
    (code, text(&output.stdout), text(&output.stderr))
}

/// Runs it with these lines as standard input.
pub(crate) fn run_with_lines(args: &[&str], lines: &str) -> (i32, String, String) {
    let mut command = dtf(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the command is built");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(lines.as_bytes()).expect("it reads");
    drop(stdin);
    told(&child.wait_with_output().expect("it ends"))
}

/// Returns true if a process has ended, even if its new parent has not noticed yet.
pub(crate) fn is_gone(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with(['Z', 'X']))
}

/// Waits until the program has started a command, and returns its number. The guard is none.
pub(crate) fn wait_until_it_has_a_child(pid: u32) -> u32 {
    eventually(|| children_of(pid).into_iter().next())
}

/// The commands that the program has started.
pub(crate) fn children_of(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let of = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("children")).unwrap_or_default();
    let children: String = threads.filter_map(Result::ok).map(of).collect();
    let is_command = |child: &u32| {
        let command = fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
        let program =
            String::from_utf8_lossy(command.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned();
        // Before it runs a command, a child is a copy of its parent.
        !program.is_empty() && !program.ends_with("/dtf") && !program.ends_with("/exe")
    };
    children.split_whitespace().filter_map(|child| child.parse().ok()).filter(is_command).collect()
}

/// Looks until it is there; gives up, rather than hang, after a time that no machine needs.
pub(crate) fn eventually<T>(look: impl Fn() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        match look() {
            Some(seen) => return seen,
            None if begin.elapsed() > Duration::from_secs(180) => panic!("it does not come"),
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}
