//! What ends the processes of a test that was killed.
//!
//! A test that ends by itself ends its processes; one that is killed, or interrupted from the keyboard, cannot. So a shell waits
//! beside each of them for the end of the test, which is the end of what it reads: it has the other end of a pipe that nobody
//! but the test holds. (Linux can signal a process when its parent ends, but means by that the thread that started it.)

use std::io;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

/// Waits for the end of its input, kills process `$1`, and deletes the directory `$2`. What ends the test from a keyboard is
/// sent to all of its processes: it is not meant for this one.
const WAIT: &str = "trap '' INT TERM HUP QUIT; cat >/dev/null; kill -9 \"$1\" 2>/dev/null; rm -rf \"$2\"";

/// Ends a process when the one that has this ends in any way but by dropping it.
#[derive(Debug)]
pub struct Guard {
    shell: Child,
    _input: Option<ChildStdin>,
}

impl Guard {
    /// Over the process of this number, whose files are in `dir`. It is to be dropped before that process is waited for.
    ///
    /// # Errors
    /// No process can be started.
    pub fn over(process: u32, dir: &Path) -> io::Result<Self> {
        let mut shell = Command::new("sh")
            .args(["-c", WAIT, "guard", &process.to_string()])
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let input = shell.stdin.take();
        Ok(Self { shell, _input: input })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // It does nothing any more, whatever becomes of its input. It may have ended already.
        drop(self.shell.kill());
        drop(self.shell.wait());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns true if the process has ended, even if its parent has not read its exit status.
    fn has_ended(process: u32) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
    }

    #[test]
    fn a_process_ends_with_its_test_and_its_files_go() {
        let dir = tempfile::tempdir().expect("there is room").keep();
        let mut process = Command::new("sleep").arg("600").spawn().expect("sleep is everywhere");
        let mut guard = Guard::over(process.id(), &dir).expect("sh is everywhere");
        // As when the test ends: nobody holds the pipe.
        guard._input = None;
        guard.shell.wait().expect("it ends");
        assert!(has_ended(process.id()));
        assert!(!dir.exists());
        process.wait().expect("it has ended");
    }

    #[test]
    fn a_process_that_is_no_longer_guarded_goes_on() {
        let dir = tempfile::tempdir().expect("there is room");
        let mut process = Command::new("sleep").arg("600").spawn().expect("sleep is everywhere");
        drop(Guard::over(process.id(), dir.path()).expect("sh is everywhere"));
        assert!(!has_ended(process.id()));
        assert!(dir.path().exists());
        process.kill().expect("it runs");
        process.wait().expect("it ends");
    }
}
