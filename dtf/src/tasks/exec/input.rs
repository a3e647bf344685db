//! The input: lines, read only as fast as commands are run.
//!
//! A thread reads, as reading may block for as long as somebody types, and hands the lines over through a short channel.
//! The lines handed out last are kept until the next ones are asked for, so that a generator that takes over in the same
//! process can be given them again. Nothing else is kept: an input is read once.
//!
//! What is between lines is a newline or a zero byte. With blocks, what is called a line here is a block of whole lines, for a
//! command that reads them.

use std::io::{self, BufRead};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// The longest line that can be an argument: Linux allows 128 KiB with the zero behind it.
pub(super) const LONGEST_LINE: usize = 128 * 1024 - 1;
/// The number of bytes that are kept of a longer line, to name it by.
const KEPT_OF_LONGER: usize = 256;
/// The number of lines that are read ahead, …
const AHEAD: usize = 64;
/// … and how many blocks.
const BLOCKS_AHEAD: usize = 1;
/// The longest wait of a call for an input that gives nothing, so that its caller can do other things.
pub(super) const LONGEST_WAIT: Duration = Duration::from_millis(250);

/// The way to cut the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    /// The byte behind each line.
    pub(super) end: u8,
    /// The least number of bytes of a block of lines, where commands are given blocks.
    pub(super) block: Option<usize>,
}

/// A line of the input, without its newline; or a block of lines, with them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    /// Its number, from 1.
    pub(super) number: u64,
    /// Its bytes, or the first of them.
    pub(super) text: Vec<u8>,
    /// The values that it is made of, where it comes from arguments.
    pub(super) columns: Vec<Vec<u8>>,
    /// True if it is longer than [`LONGEST_LINE`], and `text` only its beginning.
    pub(super) too_long: bool,
}

/// A source of lines.
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
    /// The number of lines that had been handed out before `last`.
    before: u64,
    last: Vec<Line>,
    finished: bool,
}

impl Input {
    pub(super) fn new(source: Source) -> Self {
        Self { state: Mutex::new(State::Unread(source)), lines: tokio::sync::Mutex::default() }
    }

    /// Returns true if there is no line at all. Waits for the first byte or the end of the input; afterwards it answers at
    /// once.
    pub(super) fn is_empty(&self) -> io::Result<bool> {
        match &mut *self.state.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Unread(source) => Ok(source.fill_buf()?.is_empty()),
            State::Reading => Ok(false),
        }
    }

    /// The next lines behind the first `position`, at most `most`; and whether they are the last. None but not the last
    /// means that nothing has come for a while.
    pub(super) async fn next(
        &self,
        position: u64,
        most: usize,
        cut: Cut,
    ) -> anyhow::Result<(Vec<Line>, bool)> {
        let mut lines = self.lines.lock().await;
        let handed_out = lines.before + lines.last.len() as u64;
        if position == handed_out {
            lines.before = handed_out;
            lines.last.clear();
            self.receive(&mut lines, most, cut).await?;
        }
        let again = position.checked_sub(lines.before).and_then(|skip| usize::try_from(skip).ok());
        let Some(rest) = again.and_then(|skip| lines.last.get(skip..)) else {
            bail!("the input has been read up to line {handed_out} and cannot be read again from {position}");
        };
        let given = &rest[..rest.len().min(most)];
        Ok((given.to_vec(), lines.finished && given.len() == rest.len()))
    }

    async fn receive(&self, lines: &mut Lines, most: usize, cut: Cut) -> anyhow::Result<()> {
        if lines.receiver.is_none() {
            lines.receiver = self.start(cut)?;
        }
        // There is no thread to be had now: that may pass.
        let Some(receiver) = lines.receiver.as_mut() else { return Ok(()) };
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

    /// Starts the thread; none where the system has none to give now. It ends with the input, or at its next line when
    /// nobody wants lines any more; a read that blocks keeps it until the process ends, which does not wait for it.
    fn start(&self, cut: Cut) -> anyhow::Result<Option<mpsc::Receiver<io::Result<Line>>>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State::Unread(source) = std::mem::replace(&mut *state, State::Reading) else {
            bail!("the input is read already");
        };
        let (sender, receiver) = mpsc::channel(if cut.block.is_some() { BLOCKS_AHEAD } else { AHEAD });
        // A thread that does not come about gives it back.
        let source = Arc::new(Mutex::new(Some(source)));
        let take =
            |source: &Mutex<Option<Source>>| source.lock().unwrap_or_else(PoisonError::into_inner).take();
        let for_thread = Arc::clone(&source);
        let started = thread::Builder::new().name("dtf-exec-input".to_owned()).spawn(move || {
            if let Some(source) = take(&for_thread) {
                read(source, cut, &sender);
            }
        });
        match started {
            Ok(_) => Ok(Some(receiver)),
            Err(error) => {
                if let Some(source) = take(&source) {
                    *state = State::Unread(source);
                }
                match error.kind() {
                    io::ErrorKind::WouldBlock => Ok(None),
                    _ => Err(error.into()),
                }
            }
        }
    }
}

fn read(mut source: Source, cut: Cut, to: &mpsc::Sender<io::Result<Line>>) {
    for number in 1.. {
        let line = match cut.block {
            None => read_line(&mut source, number, cut.end),
            Some(size) => read_block(&mut source, number, cut.end, size),
        };
        let line = line.transpose();
        let Some(line) = line else { return };
        let failed = line.is_err();
        if to.blocking_send(line).is_err() || failed {
            return;
        }
    }
}

/// The next line; none at the end. However long a line is, no more than [`LONGEST_LINE`] of it is ever in memory.
fn read_line(source: &mut Source, number: u64, end: u8) -> io::Result<Option<Line>> {
    let mut line = Line { number, ..Line::default() };
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
        let newline = read.iter().position(|byte| *byte == end);
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

/// The next lines, whole ones, until they have `size` bytes; none at the end.
fn read_block(source: &mut Source, number: u64, end: u8, size: usize) -> io::Result<Option<Line>> {
    let mut text = Vec::new();
    while text.len() < size && source.read_until(end, &mut text)? > 0 {}
    Ok((!text.is_empty()).then(|| Line { number, text, ..Line::default() }))
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    const CUT: Cut = Cut { end: b'\n', block: None };

    fn lines(text: &[u8], buffer: usize) -> Vec<Line> {
        let text = io::Cursor::new(text.to_vec());
        let mut source: Source = Box::new(BufReader::with_capacity(buffer, text));
        (1..).map_while(|number| read_line(&mut source, number, b'\n').unwrap()).collect()
    }

    #[test]
    fn a_zero_byte_can_be_between_lines_too() {
        let mut source: Source = Box::new(io::Cursor::new(b"a\nb\0\0c".to_vec()));
        let all = (1..).map_while(|number| read_line(&mut source, number, 0).unwrap());
        assert!(all.map(|line| line.text).eq([&b"a\nb"[..], b"", b"c"]));
    }

    #[test]
    fn a_block_has_whole_lines_however_long_they_are() {
        let mut source: Source = Box::new(io::Cursor::new(b"one\ntwo\nlonger than that\nx\nend".to_vec()));
        let all = (1..).map_while(|number| read_block(&mut source, number, b'\n', 6).unwrap());
        assert!(all.map(|line| line.text).eq([&b"one\ntwo\n"[..], b"longer than that\n", b"x\nend"]));
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
            assert_eq!(read[1], Line { number: 2, text: b"next".to_vec(), ..Line::default() });
        }
    }

    #[tokio::test]
    async fn the_lines_handed_out_last_can_be_had_again_and_no_others() {
        let text: String = (0..300).map(|line| format!("{line}\n")).collect();
        let input = Input::new(Box::new(io::Cursor::new(text)));
        assert!(!input.is_empty().unwrap());
        let (mut position, mut finished) = (0, false);
        while !finished {
            let first = input.next(position, 7, CUT).await.unwrap();
            assert_eq!(input.next(position, 7, CUT).await.unwrap(), first);
            assert_eq!(input.next(position, 1, CUT).await.unwrap().0, first.0[..1.min(first.0.len())]);
            assert!(position == 0 || input.next(position - 1, 7, CUT).await.is_err());
            assert!(
                first.0.iter().map(|line| line.number).eq(position + 1..=position + first.0.len() as u64)
            );
            position += first.0.len() as u64;
            finished = first.1;
        }
        assert_eq!(position, 300);
    }
}
