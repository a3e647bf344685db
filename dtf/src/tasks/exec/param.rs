//! The parameters of an `exec` task.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dtf_model::{InvalidInput, TaskParam};
use regex::bytes::{Regex, RegexBuilder};
use rustix::fs::{Access, access};
use serde::{Deserialize, Serialize};

use super::super::raw::Raw;
use super::super::{plain, shown};
use super::arguments::Arguments;
use super::halt::Halt;
use super::input::Cut;
use super::template::{Columns, Template};

const TAKES: &str = "command (a list of arguments, at least one), log (a file or null), timeout_ms (1 or more, or null), \
                     grace_ms (0 to 60000), and what `dtf run exec --help` lists, with _ for -";
/// The longest grace.
pub(super) const LONGEST_GRACE: Duration = Duration::from_secs(60);
/// The largest block.
const LARGEST_BLOCK: u64 = 1024 * 1024 * 1024;

/// The lines that are spared because an earlier run's log has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resume {
    /// None: the log is begun anew.
    #[default]
    No,
    /// Those that ended, however they ended.
    Ended,
    /// Those that ended with exit code 0.
    Succeeded,
}

/// Values that are given as arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Values {
    /// True if they go along with those before (`:::+`) instead of being combined with them (`:::`).
    pub linked: bool,
    /// The values.
    pub values: Vec<OsString>,
}

/// The parameter of an `exec` task.
#[derive(Clone, Debug)]
pub struct ExecParam {
    /// The command and its arguments, each with `{}` for the line; the line is the last argument where no part has one.
    pub command: Vec<OsString>,
    /// True if the command's parts, with spaces between them, are a text for a shell.
    pub shell: bool,
    /// The values that lines are made of, instead of the input.
    pub arguments: Vec<Values>,
    /// True if a zero byte ends a line, and not a newline.
    pub null: bool,
    /// The regular expression between a line's columns, if it has columns.
    pub colsep: Option<String>,
    /// The number of bytes of lines that a command is given to read, instead of one line as an argument.
    pub pipe: Option<u64>,
    /// The file in which each line's exit code, start and run time are noted. Replaced if it is there, unless it is
    /// resumed.
    pub log: Option<PathBuf>,
    /// The lines that the log spares.
    pub resume: Resume,
    /// The time after which a command's process group is told to end; `None` for never.
    pub timeout: Option<Duration>,
    /// The time that a process group has after it was told to end before it is killed, up to a minute.
    pub grace: Duration,
    /// The number of times that a command is tried until it ends with exit code 0; at least 1.
    pub tries: u32,
    /// The condition to end the run early, if there is one.
    pub halt: Option<Halt>,
    /// The least time between the starts of two commands.
    pub delay: Duration,
    /// True if outputs are shown in the order of the input.
    pub keep_order: bool,
    /// True if output is shown as it comes, line by line.
    pub live: bool,
    /// True if each line of output begins with the line of input that it is of.
    pub tag: bool,
    /// True if commands are shown and not run.
    pub dry_run: bool,
}

impl Default for ExecParam {
    fn default() -> Self {
        Self {
            command: Vec::new(),
            shell: false,
            arguments: Vec::new(),
            null: false,
            colsep: None,
            pipe: None,
            log: None,
            resume: Resume::No,
            timeout: None,
            grace: Duration::from_secs(2),
            tries: 1,
            halt: None,
            delay: Duration::ZERO,
            keep_order: false,
            live: false,
            tag: false,
            dry_run: false,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    #[serde(default)]
    linked: bool,
    values: Vec<Raw>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    command: Vec<Raw>,
    #[serde(default)]
    shell: bool,
    #[serde(default)]
    arguments: Vec<Source>,
    #[serde(default)]
    null: bool,
    #[serde(default)]
    colsep: Option<String>,
    #[serde(default)]
    pipe: Option<u64>,
    #[serde(default)]
    log: Option<Raw>,
    #[serde(default)]
    resume: Resume,
    #[serde(default)]
    timeout_ms: Option<u64>,
    #[serde(default = "usual_grace")]
    grace_ms: u64,
    #[serde(default = "one")]
    tries: u32,
    #[serde(default)]
    halt: Option<String>,
    #[serde(default)]
    delay_ms: u64,
    #[serde(default)]
    keep_order: bool,
    #[serde(default)]
    live: bool,
    #[serde(default)]
    tag: bool,
    #[serde(default)]
    dry_run: bool,
}

fn usual_grace() -> u64 {
    in_millis(ExecParam::default().grace)
}

fn one() -> u32 {
    1
}

fn in_millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

impl From<&ExecParam> for Form {
    fn from(param: &ExecParam) -> Self {
        let source = |source: &Values| Source {
            linked: source.linked,
            values: source.values.iter().map(Raw::new).collect(),
        };
        Self {
            command: param.command.iter().map(Raw::new).collect(),
            shell: param.shell,
            arguments: param.arguments.iter().map(source).collect(),
            null: param.null,
            colsep: param.colsep.clone(),
            pipe: param.pipe,
            log: param.log.as_ref().map(Raw::new),
            resume: param.resume,
            timeout_ms: param.timeout.map(in_millis),
            grace_ms: in_millis(param.grace),
            tries: param.tries,
            halt: param.halt.map(|halt| halt.to_string()),
            delay_ms: in_millis(param.delay),
            keep_order: param.keep_order,
            live: param.live,
            tag: param.tag,
            dry_run: param.dry_run,
        }
    }
}

impl Form {
    fn check(&self) -> Result<(), InvalidInput> {
        let range = |what, got: u64, allowed: &str, ok: bool| match ok {
            true => Ok(()),
            false => {
                Err(InvalidInput::OutOfRange { what, got: got.to_string(), allowed: allowed.to_owned() })
            }
        };
        let together = |why: &str| Err(InvalidInput::TypeParam(why.to_owned()));
        if self.command.first().is_none_or(|name| name.0.is_empty()) {
            return Err(InvalidInput::Empty("the command"));
        }
        let timeout = self.timeout_ms.unwrap_or(1);
        range("timeout_ms", timeout, "1 or more, or null", timeout > 0)?;
        range("grace_ms", self.grace_ms, "0 to 60000", self.grace_ms <= in_millis(LONGEST_GRACE))?;
        range("tries", self.tries.into(), "1 or more", self.tries > 0)?;
        let block = self.pipe.unwrap_or(1);
        range("pipe", block, "1 to 1073741824 bytes, or null", (1..=LARGEST_BLOCK).contains(&block))?;
        if self.keep_order && self.live {
            return together(
                "keep_order and live exclude each other: output that is shown as it comes has no order",
            );
        }
        if self.resume != Resume::No && self.log.is_none() {
            return together("resume needs the log of the run that is resumed; name it");
        }
        if self.pipe.is_some() && (self.colsep.is_some() || !self.arguments.is_empty()) {
            return together(
                "pipe gives lines to commands to read: it goes with neither colsep nor arguments",
            );
        }
        Ok(())
    }
}

impl TryFrom<Form> for ExecParam {
    type Error = InvalidInput;

    fn try_from(form: Form) -> Result<Self, InvalidInput> {
        form.check()?;
        let halt = form.halt.as_deref().map(str::parse).transpose().map_err(InvalidInput::TypeParam)?;
        let values = |source: Source| Values {
            linked: source.linked,
            values: source.values.iter().map(Raw::to_os).collect(),
        };
        Ok(Self {
            command: form.command.iter().map(Raw::to_os).collect(),
            shell: form.shell,
            arguments: form.arguments.into_iter().map(values).collect(),
            null: form.null,
            colsep: form.colsep,
            pipe: form.pipe,
            log: form.log.map(|log| log.to_os().into()),
            resume: form.resume,
            timeout: form.timeout_ms.map(Duration::from_millis),
            grace: Duration::from_millis(form.grace_ms),
            tries: form.tries,
            halt,
            delay: Duration::from_millis(form.delay_ms),
            keep_order: form.keep_order,
            live: form.live,
            tag: form.tag,
            dry_run: form.dry_run,
        })
    }
}

impl ExecParam {
    /// As the task's `type_param`. What is not UTF-8 survives it.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!(Form::from(self))
    }

    pub(super) fn read(param: &TaskParam) -> Result<Self, InvalidInput> {
        let form: Form = super::super::read_param("exec", TAKES, &param.type_param)?;
        let read = Self::try_from(form)?;
        read.columns()?;
        Ok(read)
    }

    fn columns(&self) -> Result<Columns, InvalidInput> {
        let Some(colsep) = &self.colsep else { return Ok(Columns::None) };
        let regex: Result<Regex, _> = RegexBuilder::new(colsep).unicode(false).build();
        regex.map(Columns::Separated).map_err(|error| {
            let why = error.to_string().lines().last().unwrap_or_default().trim().to_owned();
            InvalidInput::TypeParam(format!(
                "colsep {colsep:?} is no regular expression ({why}); write one, as in '\\t' or ','"
            ))
        })
    }

    pub(super) fn template(&self) -> Result<Template, InvalidInput> {
        let parts: Vec<_> = self.command.iter().map(|part| part.as_bytes().to_vec()).collect();
        Ok(Template::new(&parts, self.columns()?, self.shell, self.pipe.is_some()))
    }

    /// The lines that are given as arguments, if any.
    pub(super) fn given(&self) -> Option<Arguments> {
        let bytes = |source: &Values| {
            let values = source.values.iter().map(|value| value.as_bytes().to_vec()).collect();
            (source.linked, values)
        };
        (!self.arguments.is_empty()).then(|| Arguments::new(self.arguments.iter().map(bytes).collect()))
    }

    pub(super) fn cut(&self) -> Cut {
        let block = self.pipe.map(|size| usize::try_from(size).unwrap_or(usize::MAX));
        Cut { end: if self.null { 0 } else { b'\n' }, block }
    }

    /// Checks that the log can be made, and that there is a place for outputs. Makes nothing.
    pub(super) fn check_places(&self) -> Result<(), InvalidInput> {
        self.check_log()?;
        if self.live || self.dry_run {
            return Ok(());
        }
        let place = std::env::temp_dir();
        tempfile::tempfile_in(&place).map(drop).map_err(|error| {
            InvalidInput::TypeParam(format!(
                "{}: outputs cannot be kept there until they are shown ({}); set TMPDIR to a directory that can be written, \
                 or have output shown as it comes (live)",
                shown(&place),
                plain(&error)
            ))
        })
    }

    fn check_log(&self) -> Result<(), InvalidInput> {
        let Some(log) = self.log.as_ref().filter(|_| !self.dry_run) else { return Ok(()) };
        let wrong = |why: &str| Err(InvalidInput::TypeParam(format!("{}: {why}", shown(log))));
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
