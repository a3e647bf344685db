//! `dtf run exec`: its arguments, and what they mean.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use dtf::tasks::exec::{ExecParam, Halt, Resume, Values};

use super::Usage;
use super::args::duration;

#[derive(Debug, Args)]
pub(crate) struct ExecArgs {
    /// Lines end with a zero byte, as `find -print0` writes them
    #[arg(short = '0', long)]
    null: bool,
    /// Take lines from this file [default: standard input]
    #[arg(short = 'a', long, value_name = "FILE")]
    arg_file: Option<PathBuf>,
    /// Lines have columns, {1}, {2} and so on, with what matches this regular expression between them
    #[arg(short = 'C', long, value_name = "REGEX", allow_hyphen_values = true)]
    colsep: Option<String>,
    /// Give each command a block of lines to read, instead of one line as an argument
    #[arg(long)]
    pipe: bool,
    /// The least size of a block, as in 10M
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "1M", requires = "pipe")]
    block: u64,
    /// Run the command in a shell, with lines quoted: `dtf run exec --shell -- 'gzip -c {} > {.}.gz'`
    #[arg(long)]
    shell: bool,
    /// Show output in the order of the input
    #[arg(short, long)]
    keep_order: bool,
    /// Show output as it comes, line by line
    #[arg(long, visible_alias = "lb", visible_alias = "live", conflicts_with = "keep_order")]
    line_buffer: bool,
    /// Begin each line of output with the line of input that it is of
    #[arg(long)]
    tag: bool,
    /// Show the commands instead of running them
    #[arg(long)]
    dry_run: bool,
    /// The file that each line's exit code, start and run time are noted in
    #[arg(long, visible_alias = "joblog", value_name = "FILE")]
    log: Option<PathBuf>,
    /// Go on with the run of this log: pass over the lines that ended in it
    #[arg(long, requires = "log")]
    resume: bool,
    /// Likewise, but run the lines that failed again
    #[arg(long, requires = "log", conflicts_with = "resume")]
    resume_failed: bool,
    /// The longest time that each command may run, as in 90s [default: as long as it takes]
    #[arg(long, value_parser = duration, value_name = "TIME")]
    each: Option<Duration>,
    /// The time that a command has to end after SIGTERM, before it is killed
    #[arg(long, value_parser = duration, value_name = "TIME", default_value = "2s")]
    grace: Duration,
    /// The number of times that a command is tried until it ends with exit code 0
    #[arg(long, value_name = "N", default_value_t = 1)]
    retries: u32,
    /// The condition to end early: now or soon (running commands may end), then fail=N, fail=N%, success=N or done=N, as in
    /// now,fail=1
    #[arg(long, value_name = "WHEN,WHAT")]
    halt: Option<Halt>,
    /// The least time between the starts of two commands
    #[arg(long, value_parser = duration, value_name = "TIME", default_value = "0s")]
    delay: Duration,
    /// The command; `{}` stands for the line, which is the last argument where there is none. `::: a b` behind it gives lines
    #[arg(last = true, required_unless_present = "param", value_name = "CMD")]
    command: Vec<OsString>,
}

/// A source of lines.
pub(crate) type Lines = Box<dyn BufRead + Send>;

impl ExecArgs {
    /// Returns true if an option was given that `--param` would contain, too.
    pub(crate) fn is_given(&self) -> bool {
        !self.command.is_empty() || self.log.is_some() || self.each.is_some()
    }

    /// Returns the parameter of the task.
    pub(crate) fn param(&self) -> Result<ExecParam, Usage> {
        let (command, arguments) = split(&self.command, self.null)?;
        let resume = match (self.resume, self.resume_failed) {
            (true, _) => Resume::Ended,
            (false, true) => Resume::Succeeded,
            (false, false) => Resume::No,
        };
        Ok(ExecParam {
            command,
            arguments,
            shell: self.shell,
            null: self.null,
            colsep: self.colsep.clone(),
            pipe: self.pipe.then_some(self.block),
            log: self.log.clone(),
            resume,
            timeout: self.each,
            grace: self.grace,
            tries: self.retries,
            halt: self.halt,
            delay: self.delay,
            keep_order: self.keep_order,
            live: self.line_buffer,
            tag: self.tag,
            dry_run: self.dry_run,
        })
    }

    /// Opens the source of the lines that are not given as arguments.
    pub(crate) fn lines(&self, quiet: bool) -> Result<Lines, Usage> {
        if let Some(path) = &self.arg_file {
            return Ok(Box::new(BufReader::new(open(path)?)));
        }
        let given = self.command.iter().any(|part| separator(part).is_some());
        if io::stdin().is_terminal() && !quiet && !given {
            super::say("reading lines from the terminal; end with Ctrl-D");
        }
        Ok(Box::new(BufReader::new(io::stdin())))
    }
}

fn open(path: &std::path::Path) -> Result<File, Usage> {
    File::open(path).map_err(|error| Usage(format!("{}: {error}", path.display())))
}

/// Reads a separator: true if values follow from files, and true if they are linked with those before.
fn separator(part: &OsString) -> Option<(bool, bool)> {
    match part.as_encoded_bytes() {
        b":::" => Some((false, false)),
        b":::+" => Some((false, true)),
        b"::::" => Some((true, false)),
        b"::::+" => Some((true, true)),
        _ => None,
    }
}

/// The command, and the values behind it: `CMD ::: a b :::+ c d :::: FILE`.
fn split(parts: &[OsString], null: bool) -> Result<(Vec<OsString>, Vec<Values>), Usage> {
    let mut command = Vec::new();
    let mut sources: Vec<Values> = Vec::new();
    let mut from_files = false;
    for part in parts {
        match (separator(part), sources.last_mut()) {
            (Some((files, linked)), _) => {
                from_files = files;
                sources.push(Values { linked, values: Vec::new() });
            }
            (None, Some(source)) if from_files => source.values.extend(values_in(part, null)?),
            (None, Some(source)) => source.values.push(part.clone()),
            (None, None) => command.push(part.clone()),
        }
    }
    match sources.first() {
        Some(Values { linked: true, .. }) => {
            Err(Usage(":::+ goes along with the values before it; begin with :::".to_owned()))
        }
        _ => Ok((command, sources)),
    }
}

fn values_in(path: &OsString, null: bool) -> Result<Vec<OsString>, Usage> {
    let from: Lines = match path.as_encoded_bytes() {
        b"-" => Box::new(BufReader::new(io::stdin())),
        _ => Box::new(BufReader::new(open(path.as_ref())?)),
    };
    let values = from.split(if null { 0 } else { b'\n' }).map(|value| value.map(OsString::from_vec));
    values.collect::<io::Result<_>>().map_err(|error| Usage(format!("{}: {error}", path.display())))
}

fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = match text.char_indices().last() {
        Some((end, 'k' | 'K')) => (&text[..end], 1 << 10),
        Some((end, 'm' | 'M')) => (&text[..end], 1 << 20),
        Some((end, 'g' | 'G')) => (&text[..end], 1 << 30),
        _ => (text, 1),
    };
    let size = number.parse().ok().and_then(|number: u64| number.checked_mul(unit)).filter(|size| *size > 0);
    size.ok_or_else(|| {
        "write a number of bytes above 0, with K, M or G behind it where it is of those".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn os(parts: &[&str]) -> Vec<OsString> {
        parts.iter().map(OsString::from).collect()
    }

    #[test]
    fn values_stand_behind_the_command() {
        let (command, sources) =
            split(&os(&["echo", "{}", ":::", "a", "b", ":::+", "1", ":::"]), false).unwrap();
        assert_eq!(command, os(&["echo", "{}"]));
        let values = |linked, values: &[&str]| Values { linked, values: os(values) };
        assert_eq!(sources, [values(false, &["a", "b"]), values(true, &["1"]), values(false, &[])]);
        assert!(split(&os(&["echo", ":::+", "a"]), false).is_err());
        assert_eq!(split(&os(&["echo"]), false).unwrap().1, []);
    }

    #[test]
    fn values_come_from_files_too() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("values");
        std::fs::write(&file, "a b\nc\0d").unwrap();
        let parts =
            |null| split(&os(&["echo", "::::", file.to_str().unwrap()]), null).unwrap().1.remove(0).values;
        assert_eq!(parts(false), os(&["a b", "c\0d"]));
        assert_eq!(parts(true), os(&["a b\nc", "d"]));
        assert!(
            split(&os(&["echo", "::::", "/none"]), false).unwrap_err().to_string().starts_with("/none: ")
        );
    }

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [("1", 1), ("10k", 10_240), ("1M", 1 << 20), ("2G", 2 << 30)] {
            assert_eq!(size(text), Ok(bytes));
        }
        for wrong in ["", "M", "0", "-1", "1T", "1.5M", "99999999999G"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
