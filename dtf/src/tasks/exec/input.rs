//! The input: lines, read only as fast as commands are run.
//!
//! A thread reads, as reading may block for as long as somebody types, and hands the lines over through a short channel.
//! The lines handed out last are kept until the next ones are asked for, so that a generator that takes over in the same
//! process can be given them again. Nothing else is kept: an input is read once.

use std::io::{self, BufRead};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// The longest line that can be an argument: Linux allows 128 KiB with the zero behind it.
pub(super) const LONGEST_LINE: usize = 128 * 1024 - 1;
/// How much is kept of a longer line, to name it by.
const KEPT_OF_LONGER: usize = 256;
/// How many lines are read ahead.
const AHEAD: usize = 64;
/// How long a call waits for an input that gives nothing, so that who calls can look after other things.
const LONGEST_WAIT: Duration = Duration::from_millis(250);

/// A line of the input, without its newline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Its number, from 1.
    pub(super) number: u64,
    /// Its bytes, or the first of them.
    pub(super) text: Vec<u8>,
    /// Whether it is longer than [`LONGEST_LINE`], and `text` only its beginning.
    pub(super) too_long: bool,
}

/// Where lines come from.
pub(super) type Source = Box<dyn BufRead + Send>;

enum State {
    /// Nobody has asked for lines yet.
    Unread(Source),
    /// The thread has it.
    Reading,
}

/// The input of one task.
pub(super) struct Input {
    state: Mutex<State>,
    lines: tokio::sync::Mutex<Lines>,
}

#[derive(Default)]
struct Lines {
    receiver: Option<mpsc::Receiver<io::Result<Line>>>,
    /// How many lines had been handed out before `last`.
    before: u64,
    last: Vec<Line>,
    finished: bool,
}

impl Input {
    pub(super) fn new(source: Source) -> Self {
        Self { state: Mutex::new(State::Unread(source)), lines: tokio::sync::Mutex::default() }
    }

    /// Whether there is no line at all. Waits for the first byte or the end of the input; afterwards it answers at once.
    pub(super) fn is_empty(&self) -> io::Result<bool> {
        match &mut *self.state.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Unread(source) => Ok(source.fill_buf()?.is_empty()),
            State::Reading => Ok(false),
        }
    }

    /// The next lines behind the first `position`, at most `most`; and whether they are the last. None but not the last
    /// means that nothing has come for a while.
    pub(super) async fn next(&self, position: u64, most: usize) -> anyhow::Result<(Vec<Line>, bool)> {
        let mut lines = self.lines.lock().await;
        let handed_out = lines.before + lines.last.len() as u64;
        if position == handed_out {
            lines.before = handed_out;
            lines.last.clear();
            self.receive(&mut lines, most).await?;
        }
        let again = position.checked_sub(lines.before).and_then(|skip| usize::try_from(skip).ok());
        let Some(rest) = again.and_then(|skip| lines.last.get(skip..)) else {
            bail!("the input has been read up to line {handed_out} and cannot be read again from {position}");
        };
        let given = &rest[..rest.len().min(most)];
        Ok((given.to_vec(), lines.finished && given.len() == rest.len()))
    }

    async fn receive(&self, lines: &mut Lines, most: usize) -> anyhow::Result<()> {
        if lines.receiver.is_none() {
            lines.receiver = Some(self.start()?);
        }
        let receiver = lines.receiver.as_mut().context("invariant: it was made above")?;
        // Waits for one line, takes along what is there.
        let Ok(mut received) = timeout(LONGEST_WAIT, receiver.recv()).await else {
            return Ok(());
        };
        loop {
            match received {
                Some(line) => lines.last.push(line.context("cannot read the input")?),
                None => {
                    lines.finished = true;
                    return Ok(());
                }
            }
            if lines.last.len() >= most {
                return Ok(());
            }
            received = match receiver.try_recv() {
                Err(mpsc::error::TryRecvError::Empty) => return Ok(()),
                line => line.ok(),
            };
        }
    }

    /// Starts the thread. It ends with the input, or at its next line when nobody wants lines any more; a read that
    /// blocks keeps it until the process ends, which does not wait for it.
    fn start(&self) -> anyhow::Result<mpsc::Receiver<io::Result<Line>>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State::Unread(source) = std::mem::replace(&mut *state, State::Reading) else {
            bail!("the input is read already");
        };
        let (sender, receiver) = mpsc::channel(AHEAD);
        thread::Builder::new().name("dtf-exec-input".to_owned()).spawn(move || read(source, &sender))?;
        Ok(receiver)
    }
}

fn read(mut source: Source, to: &mpsc::Sender<io::Result<Line>>) {
    for number in 1.. {
        let line = read_line(&mut source, number).transpose();
        let Some(line) = line else { return };
        let failed = line.is_err();
        if to.blocking_send(line).is_err() || failed {
            return;
        }
    }
}

/// The next line; none at the end. However long a line is, no more than [`LONGEST_LINE`] of it is ever in memory.
fn read_line(source: &mut Source, number: u64) -> io::Result<Option<Line>> {
    let mut line = Line { number, text: Vec::new(), too_long: false };
    let mut begun = false;
    loop {
        let read = match source.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        if read.is_empty() {
            return Ok(begun.then_some(line));
        }
        begun = true;
        let newline = read.iter().position(|byte| *byte == b'\n');
        let part = &read[..newline.unwrap_or(read.len())];
        if line.too_long || line.text.len() + part.len() > LONGEST_LINE {
            let wanted = KEPT_OF_LONGER.saturating_sub(line.text.len()).min(part.len());
            line.text.extend_from_slice(&part[..wanted]);
            line.text.truncate(KEPT_OF_LONGER);
            line.too_long = true;
        } else {
            line.text.extend_from_slice(part);
        }
        let used = part.len() + usize::from(newline.is_some());
        source.consume(used);
        if newline.is_some() {
            return Ok(Some(line));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    fn lines(text: &[u8], buffer: usize) -> Vec<Line> {
        let text = io::Cursor::new(text.to_vec());
        let mut source: Source = Box::new(BufReader::with_capacity(buffer, text));
        (1..).map_while(|number| read_line(&mut source, number).unwrap()).collect()
    }

    #[test]
    fn lines_are_bytes_up_to_a_newline_or_the_end() {
        for buffer in [1, 2, 3, 100] {
            let texts: Vec<_> =
                lines(b"a\n\n\xff b\r\nend", buffer).into_iter().map(|line| line.text).collect();
            assert_eq!(texts, [&b"a"[..], b"", b"\xff b\r", b"end"]);
        }
        assert_eq!(lines(b"", 10), []);
        assert_eq!(lines(b"\n", 10).len(), 1);
    }

    #[test]
    fn a_line_too_long_is_cut_and_the_next_one_is_whole() {
        for buffer in [1000, 10_000_000] {
            let mut text = vec![b'x'; LONGEST_LINE];
            text.extend_from_slice(b"\nnext\n");
            assert!(lines(&text, buffer).iter().all(|line| !line.too_long));
            text.insert(0, b'x');
            let read = lines(&text, buffer);
            assert!(read[0].too_long && read[0].text.len() == KEPT_OF_LONGER);
            assert_eq!(read[1], Line { number: 2, text: b"next".to_vec(), too_long: false });
        }
    }

    #[tokio::test]
    async fn the_lines_handed_out_last_can_be_had_again_and_no_others() {
        let text: String = (0..300).map(|line| format!("{line}\n")).collect();
        let input = Input::new(Box::new(io::Cursor::new(text)));
        assert!(!input.is_empty().unwrap());
        let (mut position, mut finished) = (0, false);
        while !finished {
            let first = input.next(position, 7).await.unwrap();
            assert_eq!(input.next(position, 7).await.unwrap(), first);
            assert_eq!(input.next(position, 1).await.unwrap().0, first.0[..1.min(first.0.len())]);
            assert!(position == 0 || input.next(position - 1, 7).await.is_err());
            assert!(
                first.0.iter().map(|line| line.number).eq(position + 1..=position + first.0.len() as u64)
            );
            position += first.0.len() as u64;
            finished = first.1;
        }
        assert_eq!(position, 300);
    }
}
