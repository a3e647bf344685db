//! The log: a row for each line that has ended. What it says spares lines when a run is resumed.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;

use super::super::printable;
use super::param::Resume;
use super::record::Record;

const HEAD: &[u8] = b"Seq\tStarttime\tJobRuntime\tExitval\tSignal\tLine\n";
/// The exit code of a line whose command was ended with the run: it has not had its turn.
const ENDED_WITH_THE_RUN: &str = "-1";

/// An open log.
#[derive(Debug)]
pub(super) struct Log {
    file: File,
    /// The lines that need not run again, as the log shows them.
    spared: BTreeMap<u64, Vec<u8>>,
}

impl Log {
    /// Begins a log, or goes on with one.
    pub(super) fn open(path: &Path, resume: Resume) -> io::Result<Self> {
        let (spared, whole) = match resume {
            Resume::No => (BTreeMap::new(), true),
            _ => match File::open(path) {
                Ok(file) => read(BufReader::new(file), resume)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => (BTreeMap::new(), true),
                Err(error) => return Err(error),
            },
        };
        let mut options = OpenOptions::new();
        match resume {
            Resume::No => options.write(true).truncate(true),
            _ => options.append(true),
        };
        let mut file = options.create(true).open(path)?;
        if !whole {
            // Whoever wrote it was killed within a row.
            file.write_all(b"\n")?;
        }
        if file.metadata()?.len() == 0 || resume == Resume::No {
            file.write_all(HEAD)?;
        }
        Ok(Self { file, spared })
    }

    /// Returns whether a line need not run again.
    ///
    /// # Errors
    /// The log is of another input: it has another line under this number.
    pub(super) fn spares(&mut self, number: u64, text: &[u8]) -> Result<bool, String> {
        let Some(logged) = self.spared.remove(&number) else { return Ok(false) };
        let text = printable(text);
        if logged == text {
            return Ok(true);
        }
        let (logged, text) = (String::from_utf8_lossy(&logged), String::from_utf8_lossy(&text));
        Err(format!(
            "the log is of another input: its line {number} is {logged:?}, and this one's is {text:?}"
        ))
    }

    /// Notes how a line ended, in one write.
    pub(super) fn note(&mut self, record: &Record) -> io::Result<()> {
        let seconds = |millis: u64| format!("{}.{:03}", millis / 1000, millis % 1000);
        let code = if record.killed { ENDED_WITH_THE_RUN.to_owned() } else { record.ended.code.to_string() };
        let (began, ran) = (seconds(record.started_ms), seconds(record.ran_ms));
        let head = format!("{}\t{began}\t{ran}\t{code}\t{}\t", record.number, record.ended.signal);
        let mut row = head.into_bytes();
        row.extend_from_slice(&printable(&record.text));
        row.push(b'\n');
        self.file.write_all(&row)
    }
}

/// The lines that are spared, and whether the last row is whole. The last row of a line is what counts.
fn read(mut from: impl BufRead, resume: Resume) -> io::Result<(BTreeMap<u64, Vec<u8>>, bool)> {
    let mut spared = BTreeMap::new();
    let mut row = Vec::new();
    let mut whole = true;
    while from.read_until(b'\n', &mut row)? > 0 {
        whole = row.pop_if(|last| *last == b'\n').is_some();
        if let Some((number, code, text)) = parts(&row).filter(|_| whole) {
            let spares = match resume {
                Resume::Succeeded => code == "0",
                _ => code != ENDED_WITH_THE_RUN,
            };
            match spares {
                true => drop(spared.insert(number, text.to_vec())),
                false => drop(spared.remove(&number)),
            }
        }
        row.clear();
    }
    Ok((spared, whole))
}

fn parts(row: &[u8]) -> Option<(u64, &str, &[u8])> {
    let mut parts = row.splitn(6, |byte| *byte == b'\t');
    let number = std::str::from_utf8(parts.next()?).ok()?.parse().ok()?;
    let code = std::str::from_utf8(parts.nth(2)?).ok()?;
    Some((number, code, parts.nth(1)?))
}

#[cfg(test)]
mod tests {
    use super::super::command::Ended;
    use super::*;

    fn record(number: u64, text: &str, code: u32, killed: bool) -> Record {
        let ended = Ended { code, ..Ended::default() };
        Record { number, text: text.into(), started_ms: 1_000, ran_ms: 20, ended, killed }
    }

    #[test]
    fn a_resumed_run_is_spared_what_has_ended_and_what_is_cut_off_is_none_of_it() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("log");
        let mut log = Log::open(&path, Resume::Ended).unwrap();
        for record in [record(1, "a\tb", 0, false), record(2, "b", 3, false), record(3, "c", 143, true)] {
            log.note(&record).unwrap();
        }
        // As of a process that was killed while it wrote.
        log.file.write_all(b"4\t1.0").unwrap();
        let spares = |resume| {
            let mut log = Log::open(&path, resume).unwrap();
            [(1, &b"a\tb"[..]), (2, b"b"), (3, b"c"), (4, b"d")]
                .map(|(number, text)| log.spares(number, text).unwrap())
        };
        assert_eq!(spares(Resume::Ended), [true, true, false, false]);
        assert_eq!(spares(Resume::Succeeded), [true, false, false, false]);
        let mut again = Log::open(&path, Resume::Succeeded).unwrap();
        again.note(&record(2, "b", 0, false)).unwrap();
        assert_eq!(spares(Resume::Succeeded), [true, true, false, false]);
        let other = Log::open(&path, Resume::Ended).unwrap().spares(1, b"x").unwrap_err();
        assert_eq!(other, "the log is of another input: its line 1 is \"a\\\\tb\", and this one's is \"x\"");
        assert_eq!(spares(Resume::No), [false; 4]);
        assert_eq!(std::fs::read(&path).unwrap(), HEAD);
    }
}
