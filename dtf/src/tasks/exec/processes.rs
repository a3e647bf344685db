//! The system's processes, as `/proc` lists them: who lives in a group, and which dead children nobody waits for.

use std::fs;
use std::io;

use rustix::process::{Pid, WaitId, WaitIdOptions, getpid, test_kill_process_group, waitid};

/// A row of the system's table of processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Process {
    pid: i32,
    /// True if it has ended and only waits for its parent to notice.
    zombie: bool,
    parent: i32,
    group: i32,
}

/// Reads `/proc/PID/stat`: the number, the name in parentheses (which may contain anything), state, parent, group, ….
fn parse(stat: &str) -> Option<Process> {
    let (pid, rest) = stat.split_once(' ')?;
    let mut fields = rest.rsplit_once(')')?.1.split_ascii_whitespace();
    Some(Process {
        pid: pid.parse().ok()?,
        zombie: matches!(fields.next()?, "Z" | "X"),
        parent: fields.next()?.parse().ok()?,
        group: fields.next()?.parse().ok()?,
    })
}

/// All processes that can be seen.
fn all() -> io::Result<Vec<Process>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        let is_process = path.file_name().is_some_and(|name| name.as_encoded_bytes()[0].is_ascii_digit());
        // One that ends meanwhile is gone.
        if is_process && let Ok(stat) = fs::read(path.join("stat")) {
            found.extend(parse(&String::from_utf8_lossy(&stat)));
        }
    }
    Ok(found)
}

/// Returns whether a process of the group lives. Zombies do not count: they hold nothing, and stay for as long as a parent
/// does not wait for them.
pub(super) fn is_alive(group: Pid) -> bool {
    if test_kill_process_group(group).is_err() {
        return false;
    }
    // Without /proc, what the signal found has to do.
    all().map_or(true, |all| {
        all.iter().any(|process| process.group == group.as_raw_nonzero().get() && !process.zombie)
    })
}

/// Returns the process groups whose first process has this variable in its environment, as far as this user may see it.
pub(super) fn groups_with(variable: &str, value: &str) -> Vec<Pid> {
    let wanted = format!("{variable}={value}");
    let has_it = |process: &Process| {
        let environment = fs::read(format!("/proc/{}/environ", process.pid)).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes())
    };
    let first = all().unwrap_or_default().into_iter().filter(|process| process.pid == process.group);
    first.filter(has_it).filter_map(|process| Pid::from_raw(process.pid)).collect()
}

/// Takes the ended children off the system's books that nobody here waits for: orphans of others, which the first process of
/// a container inherits. `own` says which children are waited for.
pub(super) fn reap_orphans(own: impl Fn(Pid) -> bool) {
    let parent = getpid().as_raw_nonzero().get();
    let dead = all().unwrap_or_default().into_iter();
    let dead = dead.filter(|process| process.zombie && process.parent == parent);
    for pid in dead.filter_map(|process| Pid::from_raw(process.pid)).filter(|pid| !own(*pid)) {
        // Its end is nobody's business.
        waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG).map(drop).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use super::*;

    #[test]
    fn a_name_may_contain_anything() {
        let read = parse("17 (a) Z 1 (x) S 3 17 9 0 -1");
        assert_eq!(read, Some(Process { pid: 17, zombie: false, parent: 3, group: 17 }));
        assert!(parse("17 (a) Z 1 17 17 0").unwrap().zombie);
        assert_eq!(parse("17 (a"), None);
    }

    #[test]
    fn a_group_of_zombies_does_not_live_and_only_orphans_are_reaped() {
        let mut child = Command::new("true").process_group(0).spawn().unwrap();
        let pid = Pid::from_child(&child);
        waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
        assert!(test_kill_process_group(pid).is_ok(), "the system knows it still");
        assert!(!is_alive(pid));
        reap_orphans(|_| true);
        assert!(test_kill_process_group(pid).is_ok(), "what is waited for stays");
        reap_orphans(|own| own != pid);
        assert!(test_kill_process_group(pid).is_err());
        assert!(child.wait().is_err(), "there is nothing left to wait for");

        let mut living = Command::new("sleep").arg("1000").process_group(0).spawn().unwrap();
        assert!(is_alive(Pid::from_child(&living)));
        living.kill().unwrap();
        living.wait().unwrap();
        assert!(!is_alive(Pid::from_child(&living)));
    }

    #[test]
    fn a_group_is_found_by_a_variable_of_its_first_process() {
        let start = |value: &str| {
            Command::new("sleep").arg("1000").env("DTF_TEST_RUN", value).process_group(0).spawn().unwrap()
        };
        let (mut one, mut other) = (start("one"), start("one-more"));
        assert_eq!(groups_with("DTF_TEST_RUN", "one"), [Pid::from_child(&one)]);
        for child in [&mut one, &mut other] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert_eq!(groups_with("DTF_TEST_RUN", "one"), []);
    }
}
