//! A command made for a line, run, and its output shown in one piece.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Seek};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};

use super::super::{Console, plain};
use super::group::Group;

/// What stands for the line in an argument.
const PLACE: &[u8] = b"{}";
/// The shell's code for a command that cannot be run, …
pub(super) const CANNOT_RUN: u32 = 126;
/// … for one that is not found, …
pub(super) const NOT_FOUND: u32 = 127;
/// … and what it adds to the number of a signal that ended a command.
const SIGNALLED: u32 = 128;

/// The command for a line: `{}` replaced in every part, or the line as the last argument where there is none.
pub(super) fn for_line(template: &[Vec<u8>], line: &[u8]) -> Vec<Vec<u8>> {
    let mut replaced = false;
    let mut parts: Vec<Vec<u8>> = template
        .iter()
        .map(|part| {
            let (part, any) = replace(part, line);
            replaced |= any;
            part
        })
        .collect();
    if !replaced {
        parts.push(line.to_vec());
    }
    parts
}

fn replace(part: &[u8], line: &[u8]) -> (Vec<u8>, bool) {
    let mut made = Vec::with_capacity(part.len());
    let (mut rest, mut any) = (part, false);
    while let Some((first, behind)) = rest.split_first() {
        if let Some(behind) = rest.strip_prefix(PLACE) {
            made.extend_from_slice(line);
            (rest, any) = (behind, true);
        } else {
            made.push(*first);
            rest = behind;
        }
    }
    (made, any)
}

/// How a command ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ended {
    /// Its exit code, or what a shell makes of another end.
    pub(super) code: u32,
    /// The signal that ended it, or 0.
    pub(super) signal: u32,
    /// Why it could not be started, or nothing.
    pub(super) why: String,
}

impl Ended {
    pub(super) fn not_run(code: u32, why: impl Into<String>) -> Self {
        Self { code, signal: 0, why: why.into() }
    }

    fn from_status(status: ExitStatus) -> Self {
        let number = |number: i32| u32::try_from(number).unwrap_or(0);
        match status.signal() {
            Some(signal) => {
                Self { code: SIGNALLED + number(signal), signal: number(signal), why: String::new() }
            }
            None => Self { code: status.code().map_or(CANNOT_RUN, number), ..Self::default() },
        }
    }
}

/// Runs a command to its end and shows what it wrote; none where it was told to end before it began.
///
/// Its output goes to files without names, so that its size does not matter, and is copied when the command has ended:
/// the outputs of commands that run at the same time are not mixed.
///
/// # Errors
/// The output cannot be shown. The command has ended.
pub(super) fn run(parts: Vec<Vec<u8>>, group: &Group, console: &Console) -> io::Result<Option<Ended>> {
    let mut output = match Output::new() {
        Ok(output) => output,
        Err(error) => {
            let why = format!("there is no place for its output: {}", plain(&error));
            return Ok(Some(Ended::not_run(CANNOT_RUN, why)));
        }
    };
    let mut parts = parts.into_iter().map(OsString::from_vec);
    let mut command = Command::new(parts.next().unwrap_or_default());
    command.args(parts).stdin(Stdio::null()).stdout(output.for_out).stderr(output.for_err);
    let ended = match group.run(&mut command) {
        Ok(None) => return Ok(None),
        Ok(Some(status)) => Ended::from_status(status),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ended::not_run(NOT_FOUND, plain(&error)),
        Err(error) => Ended::not_run(CANNOT_RUN, plain(&error)),
    };
    show(&mut output.out, &mut output.err, console)?;
    Ok(Some(ended))
}

/// Two files for what a command writes, and the command's own handles of them.
struct Output {
    out: File,
    err: File,
    for_out: File,
    for_err: File,
}

impl Output {
    fn new() -> io::Result<Self> {
        let (out, err) = (tempfile::tempfile()?, tempfile::tempfile()?);
        Ok(Self { for_out: out.try_clone()?, for_err: err.try_clone()?, out, err })
    }
}

fn show(out: &mut File, err: &mut File, console: &Console) -> io::Result<()> {
    // Standard output is held until both are shown, so that they stay together.
    let mut to = console.out();
    out.rewind()?;
    io::copy(out, &mut *to)?;
    to.flush()?;
    if err.metadata()?.len() > 0 {
        let mut to = console.err();
        err.rewind()?;
        io::copy(err, &mut *to)?;
        to.flush()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(template: &[&str], line: &[u8]) -> Vec<Vec<u8>> {
        let template: Vec<_> = template.iter().map(|part| part.as_bytes().to_vec()).collect();
        for_line(&template, line)
    }

    #[test]
    fn the_line_replaces_every_place_or_is_the_last_argument() {
        assert_eq!(made(&["cp", "{}", "{}.bak"], b"a b"), [&b"cp"[..], b"a b", b"a b.bak"]);
        assert_eq!(made(&["echo", "-n"], b"a b"), [&b"echo"[..], b"-n", b"a b"]);
        assert_eq!(made(&["{}"], b"date"), [b"date"]);
        assert_eq!(made(&["x{}{}y{"], b"{}"), [b"x{}{}y{"]);
        assert_eq!(made(&["echo"], b""), [&b"echo"[..], b""]);
        assert_eq!(made(&["echo", "{}"], b"\xff"), [&b"echo"[..], b"\xff"]);
    }
}
