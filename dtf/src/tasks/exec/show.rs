//! The display of outputs: each in one piece when its command has ended, in the order of ends or of the input, or line by
//! line as they come.
//!
//! # When there is no place
//! Output waits in memory and in files. Where a file cannot be made or written, as the disk is full, the command's output is
//! shown from then on as it comes, with no other between: it waits for its turn, the command waits with it, and no byte is
//! lost. In the order of the input, the first line's turn comes always, so that there is always one that goes on.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedMutexGuard, Semaphore, watch};

use super::super::{Console, plain};
use super::command::Listener;
use super::spool::{Full, Place, Spool, Tag, Tagged};

/// The most outputs that wait for those of lines before them.
const MOST_HELD: usize = 1000;

/// One of a command's outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Out,
    Err,
}

/// In which manner outputs are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// In one piece, as commands end.
    Grouped,
    /// In one piece, in the order of the input.
    InOrder,
    /// Line by line.
    Live,
}

#[derive(Default)]
struct Order {
    /// The line whose output is shown next.
    next: u64,
    /// The outputs that wait for it; `None` for lines without output.
    held: BTreeMap<u64, Option<Output>>,
}

/// Has what a command writes shown.
pub(super) struct Shown<'a> {
    pub(super) shower: &'a Shower,
    pub(super) output: &'a mut Output,
}

impl Listener for Shown<'_> {
    async fn take(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        self.shower.put(self.output, stream, bytes).await
    }
}

/// Shows the outputs of a run.
#[derive(Clone)]
pub(super) struct Shower {
    shared: Arc<Shared>,
}

struct Shared {
    console: Console,
    manner: Manner,
    place: Place,
    /// Held by whoever shows something in one piece.
    stage: Arc<tokio::sync::Mutex<()>>,
    order: Mutex<Order>,
    next: watch::Sender<u64>,
    /// True if the lack of space has been reported.
    said: Mutex<bool>,
}

/// The output that a command has written.
pub(super) struct Output {
    number: u64,
    tag: Tag,
    out: Half,
    err: Half,
    /// The turn at the terminal, where it is shown as it comes, and with no other between.
    turn: Option<OwnedMutexGuard<()>>,
}

#[derive(Default)]
struct Half {
    spool: Spool,
    within_line: bool,
}

impl Shower {
    pub(super) fn new(console: Console, manner: Manner, files: usize) -> Self {
        let place = Place { files: Arc::new(Semaphore::new(files)) };
        let order = Mutex::new(Order { next: 1, ..Order::default() });
        let (next, stage) = (watch::Sender::new(1), Arc::default());
        Self {
            shared: Arc::new(Shared { console, manner, place, stage, order, next, said: Mutex::default() }),
        }
    }

    fn order(&self) -> MutexGuard<'_, Order> {
        self.shared.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the output of a line's command.
    pub(super) fn output(&self, number: u64, tag: Vec<u8>) -> Output {
        Output { number, tag: Tag { text: tag }, out: Half::default(), err: Half::default(), turn: None }
    }

    /// Takes what a command wrote.
    ///
    /// # Errors
    /// It cannot be shown.
    pub(super) async fn put(&self, output: &mut Output, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        if self.shared.manner == Manner::Live {
            return self.put_live(output, stream, bytes).await;
        }
        if output.turn.is_some() && stream == Stream::Out {
            return self.write(output, stream, bytes.to_vec()).await;
        }
        let Err(full) = self.keep(output, stream, bytes.to_vec()).await? else { return Ok(()) };
        if output.turn.is_none() {
            self.say_full(output.number, &full);
            output.turn = Some(self.turn(output.number).await);
            self.write(output, Stream::Out, Vec::new()).await?;
        }
        self.write(output, stream, full.rest).await
    }

    /// Keeps it until it is shown.
    async fn keep(
        &self,
        output: &mut Output,
        stream: Stream,
        bytes: Vec<u8>,
    ) -> io::Result<Result<(), Full>> {
        let half = output.half(stream);
        if half.spool.has_room_in_memory(bytes.len()) {
            return Ok(half.spool.put(&bytes, &self.shared.place));
        }
        let (mut spool, place) = (std::mem::take(&mut half.spool), self.shared.place.clone());
        let (spool, kept) = blocking(move || {
            let kept = spool.put(&bytes, &place);
            (spool, kept)
        })
        .await?;
        half.spool = spool;
        Ok(kept)
    }

    fn say_full(&self, number: u64, full: &Full) {
        let mut said = self.shared.said.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut *said, true) {
            let why = format!(
                "no place to keep output in {} ({}): it is shown as it comes, and other commands wait",
                std::env::temp_dir().display(),
                plain(&full.why)
            );
            self.shared.console.complain(format!("line {number}").as_bytes(), why.as_bytes());
        }
    }

    /// Waits until this line's output may be shown.
    async fn turn(&self, number: u64) -> OwnedMutexGuard<()> {
        if self.shared.manner == Manner::InOrder {
            // The sender lives as long as this.
            self.shared.next.subscribe().wait_for(|next| *next >= number).await.map(drop).unwrap_or_default();
        }
        Arc::clone(&self.shared.stage).lock_owned().await
    }

    /// Shows what is kept of an output, and more.
    async fn write(&self, output: &mut Output, stream: Stream, more: Vec<u8>) -> io::Result<()> {
        let (console, tag) = (self.shared.console.clone(), output.tag.clone());
        let mut half = std::mem::take(output.half(stream));
        let (half, written) = blocking(move || {
            let written = half.write(&console, &tag, stream, &more);
            (half, written)
        })
        .await?;
        *output.half(stream) = half;
        written
    }

    async fn put_live(&self, output: &mut Output, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        let half = output.half(stream);
        let whole = match bytes.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => end + 1,
            None if half.spool.has_room_in_memory(bytes.len()) => 0,
            // A line so long is shown in pieces.
            None => bytes.len(),
        };
        let (now, later) = bytes.split_at(whole);
        if !now.is_empty() {
            self.write(output, stream, now.to_vec()).await?;
        }
        match self.keep(output, stream, later.to_vec()).await? {
            Ok(()) => Ok(()),
            Err(full) => self.write(output, stream, full.rest).await,
        }
    }

    /// Shows all that a command wrote, now or when the lines before it have been shown. To be called for every line, in
    /// any order; none is for one without output.
    pub(super) async fn finish(&self, number: u64, output: Option<Output>) -> io::Result<()> {
        match (self.shared.manner, output) {
            (Manner::Live, Some(mut output)) => self.finish_live(&mut output).await,
            (Manner::Grouped, Some(output)) if output.is_empty() => Ok(()),
            (Manner::Grouped, Some(mut output)) => {
                let turn = output.turn.take();
                let _turn = match turn {
                    Some(turn) => turn,
                    None => self.turn(number).await,
                };
                self.show(output).await
            }
            (Manner::Live | Manner::Grouped, None) => Ok(()),
            (Manner::InOrder, output) => {
                let crowded = {
                    let order = self.order();
                    order.held.len() >= MOST_HELD && order.next != number
                };
                if crowded {
                    drop(self.turn(number).await);
                }
                self.hold(number, output);
                self.show_in_order().await
            }
        }
    }

    /// Passes a line over.
    pub(super) fn pass(&self, number: u64) {
        if self.shared.manner == Manner::InOrder {
            self.hold(number, None);
        }
    }

    fn hold(&self, number: u64, output: Option<Output>) {
        let mut order = self.order();
        if number >= order.next {
            // The stage is for whoever shows; this one is shown with its turn. What is held already stays.
            let output = output.map(|output| Output { turn: None, ..output });
            order.held.entry(number).or_insert(output);
        }
    }

    /// Shows what is held, as far as nothing is missing.
    async fn show_in_order(&self) -> io::Result<()> {
        loop {
            {
                let order = self.order();
                if !order.held.contains_key(&order.next) {
                    return Ok(());
                }
            }
            let _stage = self.shared.stage.lock().await;
            let next = {
                let mut order = self.order();
                let number = order.next;
                let next = order.held.remove(&number);
                order.next += u64::from(next.is_some());
                next
            };
            let Some(next) = next else { continue };
            let shown = match next {
                Some(output) => self.show(output).await,
                None => Ok(()),
            };
            self.shared.next.send_modify(|next| *next += 1);
            shown?;
        }
    }

    /// Shows what is still held, although lines before it are missing: they were never started.
    pub(super) async fn show_rest(&self) -> io::Result<()> {
        loop {
            self.show_in_order().await?;
            let first = self.order().held.keys().next().copied();
            let Some(first) = first else { return Ok(()) };
            self.order().next = first;
            self.shared.next.send_replace(first);
        }
    }

    /// Standard output, then standard error.
    async fn show(&self, mut output: Output) -> io::Result<()> {
        if output.is_empty() {
            return Ok(());
        }
        let console = self.shared.console.clone();
        blocking(move || {
            // Standard output is held until both are shown, so that they stay together.
            let mut to = console.out();
            output.out.write_to(&mut *to, &output.tag, b"")?;
            if !output.err.spool.is_empty() {
                output.err.write(&console, &output.tag, Stream::Err, b"")?;
            }
            Ok(())
        })
        .await?
    }

    /// A line that was begun is ended, so that no other is glued to it.
    async fn finish_live(&self, output: &mut Output) -> io::Result<()> {
        for stream in [Stream::Out, Stream::Err] {
            let half = output.half(stream);
            if half.within_line || !half.spool.is_empty() {
                self.write(output, stream, b"\n".to_vec()).await?;
            }
        }
        Ok(())
    }
}

impl Output {
    fn half(&mut self, stream: Stream) -> &mut Half {
        match stream {
            Stream::Out => &mut self.out,
            Stream::Err => &mut self.err,
        }
    }

    fn is_empty(&self) -> bool {
        self.out.spool.is_empty() && self.err.spool.is_empty()
    }
}

impl Half {
    fn write(&mut self, console: &Console, tag: &Tag, stream: Stream, more: &[u8]) -> io::Result<()> {
        match stream {
            Stream::Out => self.write_to(&mut *console.out(), tag, more),
            Stream::Err => self.write_to(&mut *console.err(), tag, more),
        }
    }

    /// Writes what is kept and more.
    fn write_to(&mut self, to: &mut dyn Write, tag: &Tag, more: &[u8]) -> io::Result<()> {
        let mut to = Tagged { to, tag, within_line: &mut self.within_line };
        self.spool.empty_into(&mut to)?;
        to.write_all(more)?;
        to.flush()
    }
}

/// Runs what may block on a thread for such work.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn shower(manner: Manner, files: usize) -> (Shower, Written, Written) {
        let (out, err) = (Written::default(), Written::default());
        (Shower::new(Console::new(out.clone(), err.clone()), manner, files), out, err)
    }

    fn text(written: &Written) -> String {
        String::from_utf8(written.0.lock().unwrap().clone()).unwrap()
    }

    #[tokio::test]
    async fn in_order_what_comes_early_waits_and_what_never_comes_is_passed_over() {
        let (shower, out, _) = shower(Manner::InOrder, 10);
        for number in [3, 1, 5] {
            let mut output = shower.output(number, Vec::new());
            shower.put(&mut output, Stream::Out, format!("{number}\n").as_bytes()).await.unwrap();
            shower.finish(number, Some(output)).await.unwrap();
        }
        assert_eq!(text(&out), "1\n");
        shower.pass(2);
        shower.show_rest().await.unwrap();
        assert_eq!(text(&out), "1\n3\n5\n");
    }

    #[tokio::test]
    async fn without_a_place_output_is_shown_as_it_comes_and_none_is_lost() {
        for manner in [Manner::Grouped, Manner::InOrder] {
            let (shower, out, err) = shower(manner, 0);
            let large = "x".repeat(100_000);
            let (mut first, mut second) = (shower.output(1, Vec::new()), shower.output(2, Vec::new()));
            shower.put(&mut first, Stream::Out, b"first\n").await.unwrap();
            shower.put(&mut first, Stream::Out, large.as_bytes()).await.unwrap();
            assert_eq!(text(&out).len(), 6 + 100_000, "it has its turn");
            // The second waits for the stage; the first still writes.
            let waiting = {
                let shower = shower.clone();
                tokio::spawn(async move {
                    shower.put(&mut second, Stream::Err, "y".repeat(100_000).as_bytes()).await.unwrap();
                    shower.put(&mut second, Stream::Out, b"second\n").await.unwrap();
                    shower.finish(2, Some(second)).await.unwrap();
                })
            };
            shower.put(&mut first, Stream::Out, b"\nfirst again\n").await.unwrap();
            shower.finish(1, Some(first)).await.unwrap();
            waiting.await.unwrap();
            assert_eq!(text(&out), format!("first\n{large}\nfirst again\nsecond\n"));
            let said = text(&err);
            assert!(said.starts_with("dtf: line 1: no place to keep output in "), "{}", &said[..200]);
            assert_eq!(said.lines().count(), 2, "it is said once");
            assert!(said.ends_with(&format!("\n{}", "y".repeat(100_000))));
        }
    }

    #[tokio::test]
    async fn live_lines_are_whole_and_begin_with_their_tag() {
        let (shower, out, _) = shower(Manner::Live, 0);
        let (mut a, mut b) = (shower.output(1, b"a\t".to_vec()), shower.output(2, b"b\t".to_vec()));
        shower.put(&mut a, Stream::Out, b"one\ntw").await.unwrap();
        shower.put(&mut b, Stream::Out, b"x\n").await.unwrap();
        shower.put(&mut a, Stream::Out, b"o\nend").await.unwrap();
        shower.finish(1, Some(a)).await.unwrap();
        shower.finish(2, Some(b)).await.unwrap();
        assert_eq!(text(&out), "a\tone\nb\tx\na\ttwo\na\tend\n");
    }
}
