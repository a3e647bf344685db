//! The resources of the host that a start takes, and the reaction to a shortage of them.

use std::fs;
use std::io;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that a running command takes here: of it, of its two outputs, and of its input.
const EACH: u64 = 4;
/// Descriptors for what is kept of large outputs, for each command.
const KEPT_EACH: u64 = 2;
/// Descriptors for everything else, above those that are open already.
const OTHERS: u64 = 64;

/// Returns the resource that is missing, so that a command cannot be started for now; `None` if trying again would not
/// help.
pub(super) fn missing(error: &io::Error) -> Option<&'static str> {
    match Errno::from_io_error(error)? {
        Errno::MFILE => Some("open files of this process are at their limit (ulimit -n)"),
        Errno::NFILE => Some("open files of this machine are at their limit (sysctl fs.file-max)"),
        Errno::AGAIN => Some("processes are at their limit (ulimit -u, or the pids limit of a container)"),
        Errno::NOMEM => Some("memory is short"),
        // Somebody has the program open for writing: a copy of it that has just been made, and is held by a process
        // that is about to run another.
        Errno::TXTBSY => Some("its file is being written"),
        _ => None,
    }
}

/// Returns the number of the wanted commands that the limit of open files allows at once.
fn fitting(wanted: usize, limit: u64, open: u64) -> usize {
    let free = limit.saturating_sub(open + OTHERS);
    let fitting = usize::try_from(free / (EACH + KEPT_EACH)).unwrap_or(usize::MAX);
    wanted.min(fitting.max(1))
}

/// The limit of open files that so many commands need.
fn needed(wanted: usize, open: u64) -> u64 {
    (wanted as u64).saturating_mul(EACH + KEPT_EACH).saturating_add(open + OTHERS)
}

/// Raises this process's limit of open files as far as so many commands need and the system permits, and returns how many can
/// run at once, with the limit that it is then.
pub(super) fn make_room(wanted: usize) -> (usize, u64) {
    let open = fs::read_dir("/proc/self/fd").map_or(16, |entries| entries.count() as u64);
    let limits = getrlimit(Resource::Nofile);
    let (soft, hard) = (limits.current.unwrap_or(u64::MAX), limits.maximum.unwrap_or(u64::MAX));
    let needed = needed(wanted, open);
    let mut limit = soft;
    if soft < needed {
        let raised = needed.min(hard);
        if setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum: limits.maximum }).is_ok() {
            limit = raised;
        }
    }
    (fitting(wanted, limit, open), limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_run_as_descriptors_allow_and_one_at_least() {
        assert_eq!(fitting(8, 1024, 10), 8);
        assert_eq!(fitting(300, 1024, 10), 158);
        assert_eq!(fitting(300, 20, 10), 1);
        for wanted in [1, 7, 560, 10_000] {
            assert_eq!(fitting(wanted, needed(wanted, 33), 33), wanted);
        }
    }

    #[test]
    fn what_may_pass_is_told_from_what_will_not() {
        for error in [Errno::MFILE, Errno::NFILE, Errno::AGAIN, Errno::NOMEM, Errno::TXTBSY] {
            assert!(missing(&error.into()).is_some(), "{error:?}");
        }
        for error in [Errno::NOENT, Errno::ACCESS, Errno::TOOBIG, Errno::NOEXEC] {
            assert_eq!(missing(&error.into()), None, "{error:?}");
        }
    }
}
