//! The parameters of an `exec` task.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dtf_model::{Invalid, TaskParam};
use rustix::fs::{Access, access};
use serde::{Deserialize, Serialize};

use super::super::raw::Raw;
use super::super::{plain, shown};

const TAKES: &str = "command (a list of arguments, at least one), log (a file or null), timeout_ms (1 or more, or null), \
                     grace_ms (0 to 60000)";
/// The longest grace.
pub(super) const LONGEST_GRACE: Duration = Duration::from_secs(60);

/// What an `exec` task does with each line.
#[derive(Clone, Debug)]
pub struct ExecParam {
    /// The command and its arguments, each with `{}` for the line; the line is the last argument where no part has one.
    pub command: Vec<std::ffi::OsString>,
    /// Where each line's exit code, start and run time are noted, if anywhere. Replaced if it is there.
    pub log: Option<PathBuf>,
    /// How long a command may run before its process group is told to end, if not for ever.
    pub timeout: Option<Duration>,
    /// How long a process group that was told to end may take before it is killed, up to a minute.
    pub grace: Duration,
}

impl Default for ExecParam {
    fn default() -> Self {
        Self { command: Vec::new(), log: None, timeout: None, grace: Duration::from_secs(2) }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    command: Vec<Raw>,
    #[serde(default)]
    log: Option<Raw>,
    #[serde(default)]
    timeout_ms: Option<u64>,
    #[serde(default = "usual_grace")]
    grace_ms: u64,
}

fn usual_grace() -> u64 {
    in_millis(ExecParam::default().grace)
}

fn in_millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

impl ExecParam {
    /// As the task's `type_param`. What is not UTF-8 survives it.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "command": self.command.iter().map(Raw::new).collect::<Vec<_>>(),
            "log": self.log.as_ref().map(Raw::new),
            "timeout_ms": self.timeout.map(in_millis),
            "grace_ms": in_millis(self.grace),
        })
    }

    pub(super) fn read(param: &TaskParam) -> Result<Self, Invalid> {
        let form: Form = super::super::read_param("exec", TAKES, &param.type_param)?;
        let wrong = |what, got: u64, allowed: &str| {
            Err(Invalid::OutOfRange { what, got: got.to_string(), allowed: allowed.to_owned() })
        };
        if form.command.first().is_none_or(|name| name.0.is_empty()) {
            return Err(Invalid::Empty("the command"));
        }
        if form.timeout_ms == Some(0) {
            return wrong("timeout_ms", 0, "1 or more, or null");
        }
        if form.grace_ms > in_millis(LONGEST_GRACE) {
            return wrong("grace_ms", form.grace_ms, "0 to 60000");
        }
        Ok(Self {
            command: form.command.iter().map(Raw::to_os).collect(),
            log: form.log.map(|log| log.to_os().into()),
            timeout: form.timeout_ms.map(Duration::from_millis),
            grace: Duration::from_millis(form.grace_ms),
        })
    }

    /// Whether the log can be made. Makes nothing.
    pub(super) fn check_log(&self) -> Result<(), Invalid> {
        let Some(log) = &self.log else { return Ok(()) };
        let wrong = |why: &str| Err(Invalid::TypeParam(format!("{}: {why}", shown(log))));
        let needed = match fs::metadata(log) {
            Ok(there) if there.is_dir() => return wrong("is a directory; the log must be a file"),
            Ok(_) => access(log, Access::WRITE_OK),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let parent = log.parent().filter(|parent| !parent.as_os_str().is_empty());
                access(parent.unwrap_or(Path::new(".")), Access::WRITE_OK | Access::EXEC_OK)
            }
            Err(error) => return wrong(&plain(&error)),
        };
        match needed {
            Ok(()) => Ok(()),
            Err(error) => wrong(&format!(
                "cannot be written ({}); the log must be a file that can",
                plain(&error.into())
            )),
        }
    }
}
