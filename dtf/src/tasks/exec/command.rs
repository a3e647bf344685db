//! A command: started, fed, listened to, and awaited.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};

use rustix::io::Errno;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio_util::task::AbortOnDropHandle;

use super::group::Group;
use super::show::Stream;

/// The shell's code for a command that cannot be run, …
pub(super) const CANNOT_RUN: u32 = 126;
/// … for one that is not found, …
pub(super) const NOT_FOUND: u32 = 127;
/// … and what it adds to the number of a signal that ended a command.
const SIGNALLED: u32 = 128;
/// The number of bytes that are read at a time.
const CHUNK: usize = 32 * 1024;
/// The number of bytes that are read of the rest when a command has ended: no pipe holds more.
const MOST_LEFT: usize = 1024 * 1024;
/// The number of outputs that are listened to after their commands have ended.
const MOST_LEFT_OPEN: usize = 256;

/// The end of a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ended {
    /// Its exit code, or what a shell makes of another end.
    pub(super) code: u32,
    /// The signal that ended it, or 0.
    pub(super) signal: u32,
    /// Why it could not be started or did not end by itself, or nothing.
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

/// The command to run, and its environment.
#[derive(Clone, Debug, Default)]
pub(super) struct Order {
    /// The command and its arguments.
    pub(super) parts: Vec<Vec<u8>>,
    /// The number of its line.
    pub(super) number: u64,
    /// The number of its slot.
    pub(super) slot: usize,
    /// True if it is given something to read.
    pub(super) reads: bool,
}

/// Starts a command; none where its group was told to end before.
pub(super) fn start(order: &Order, group: &Group) -> io::Result<Option<Child>> {
    let mut parts = order.parts.iter().map(|part| OsString::from_vec(part.clone()));
    let mut command = Command::new(parts.next().unwrap_or_default());
    command.args(parts).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env("DTF_SEQ", order.number.to_string()).env("DTF_SLOT", order.slot.to_string());
    command.stdin(if order.reads { Stdio::piped() } else { Stdio::null() });
    group.start(&mut command)
}

/// A taker of what a command writes.
pub(super) trait Listener: Send {
    /// Takes the bytes that were written next.
    ///
    /// # Errors
    /// They cannot be kept or shown.
    fn take(&mut self, stream: Stream, bytes: &[u8]) -> impl Future<Output = io::Result<()>> + Send;
}

/// Why output of a command is missing.
#[derive(Debug)]
pub(super) struct CannotShow(pub(super) io::Error);

/// Listens to a command until it has ended, and takes what it wrote.
///
/// # Errors
/// Its output cannot be shown. The command may still run: whoever drops this ends it.
pub(super) async fn attend(
    mut child: Child,
    group: &Group,
    input: &[u8],
    mut listener: impl Listener,
    leftovers: &Leftovers,
) -> Result<Ended, CannotShow> {
    let pipes = Pipes::of(&mut child);
    let (mut pipes, feed) = match pipes {
        Ok(pipes) => pipes,
        // Without its outputs there is nothing to listen to.
        Err(error) => return Ok(end_unheard(child, group, &error).await),
    };
    let status = {
        let mut ended = std::pin::pin!(group.ended(&mut child));
        let mut fed = std::pin::pin!(give(feed, input));
        let mut feeding = true;
        loop {
            tokio::select! {
                status = &mut ended => break status,
                () = &mut fed, if feeding => feeding = false,
                heard = pipes.hear() => {
                    let (stream, bytes) = heard;
                    listener.take(stream, bytes).await.map_err(CannotShow)?;
                }
            }
        }
    };
    pipes.drain(&mut listener).await.map_err(CannotShow)?;
    leftovers.keep(pipes);
    Ok(status.map_or_else(
        |error| Ended::not_run(CANNOT_RUN, format!("its end is not known: {error}")),
        Ended::from_status,
    ))
}

async fn end_unheard(mut child: Child, group: &Group, error: &io::Error) -> Ended {
    group.kill();
    let why = format!("its output cannot be read: {error}");
    group.ended(&mut child).await.map(drop).unwrap_or_default();
    Ended::not_run(CANNOT_RUN, why)
}

/// Gives a command what it is to read. One that does not read all of it does not want it.
async fn give(to: Option<pipe::Sender>, input: &[u8]) {
    if let Some(mut to) = to {
        to.write_all(input).await.unwrap_or_default();
    }
}

/// Our ends of a command's outputs; none for those that are closed.
#[derive(Debug)]
pub(super) struct Pipes {
    out: Option<pipe::Receiver>,
    err: Option<pipe::Receiver>,
    chunks: [Vec<u8>; 2],
}

impl Pipes {
    fn of(child: &mut Child) -> io::Result<(Self, Option<pipe::Sender>)> {
        let receiver = |end: Option<OwnedFd>| end.map(pipe::Receiver::from_owned_fd).transpose();
        let out = receiver(child.stdout.take().map(OwnedFd::from))?;
        let err = receiver(child.stderr.take().map(OwnedFd::from))?;
        let feed = child.stdin.take().map(OwnedFd::from).map(pipe::Sender::from_owned_fd).transpose()?;
        Ok((Self { out, err, chunks: [vec![0; CHUNK], vec![0; CHUNK]] }, feed))
    }

    /// Returns the bytes that are written next; none, when an output has been closed. It never returns when both are.
    async fn hear(&mut self) -> (Stream, &[u8]) {
        let Self { out, err, chunks: [of_out, of_err] } = self;
        tokio::select! {
            read = read(out, of_out), if out.is_some() => {
                if read == 0 {
                    *out = None;
                }
                (Stream::Out, &of_out[..read])
            }
            read = read(err, of_err), if err.is_some() => {
                if read == 0 {
                    *err = None;
                }
                (Stream::Err, &of_err[..read])
            }
            else => std::future::pending().await,
        }
    }

    /// Takes what is there without waiting for more: what the command left in the background may write for as long as it
    /// likes. The system is asked, not the runtime, which may not have heard yet of what was written last.
    async fn drain(&mut self, listener: &mut impl Listener) -> io::Result<()> {
        let ends = [(Stream::Out, &mut self.out), (Stream::Err, &mut self.err)];
        for ((stream, end), chunk) in ends.into_iter().zip(&mut self.chunks) {
            let mut taken = 0;
            while let Some(receiver) = end.as_ref().filter(|_| taken < MOST_LEFT) {
                // Its descriptor does not block.
                match rustix::io::read(receiver, &mut chunk[..]) {
                    Ok(0) => *end = None,
                    Ok(read) => {
                        taken += read;
                        listener.take(stream, &chunk[..read]).await?;
                    }
                    Err(Errno::WOULDBLOCK) => break,
                    Err(Errno::INTR) => {}
                    Err(_) => *end = None,
                }
            }
        }
        Ok(())
    }
}

/// Reads some; 0 at the end.
async fn read(from: &mut Option<pipe::Receiver>, to: &mut [u8]) -> usize {
    match from {
        // A pipe has no other errors than its end.
        Some(from) => from.read(to).await.unwrap_or(0),
        None => 0,
    }
}

/// Outputs that processes in the background still hold open when their command has ended.
///
/// They are read and forgotten, so that whoever writes to them is not held up, for as long as the run lasts; the oldest are
/// closed where there are too many.
#[derive(Debug, Default)]
pub(super) struct Leftovers(Mutex<VecDeque<AbortOnDropHandle<()>>>);

impl Leftovers {
    fn keep(&self, mut pipes: Pipes) {
        if pipes.out.is_none() && pipes.err.is_none() {
            return;
        }
        let reading = tokio::spawn(async move {
            while pipes.out.is_some() || pipes.err.is_some() {
                pipes.hear().await;
            }
        });
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|one| !one.is_finished());
        if all.len() >= MOST_LEFT_OPEN {
            all.pop_front();
        }
        all.push_back(AbortOnDropHandle::new(reading));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use futures::FutureExt;

    use super::*;

    #[derive(Default)]
    struct Heard(Vec<u8>);

    impl Listener for Heard {
        async fn take(&mut self, _: Stream, bytes: &[u8]) -> io::Result<()> {
            self.0.extend_from_slice(bytes);
            Ok(())
        }
    }

    /// On this runtime nothing is heard of while the test itself runs.
    #[tokio::test]
    async fn what_was_written_last_is_taken_before_the_runtime_hears_of_it() {
        let (ours, mut theirs) = io::pipe().unwrap();
        let out = Some(pipe::Receiver::from_owned_fd(ours.into()).unwrap());
        let mut pipes = Pipes { out, err: None, chunks: [vec![0; CHUNK], vec![0; CHUNK]] };
        theirs.write_all(b"begun").unwrap();
        assert_eq!(pipes.hear().await, (Stream::Out, b"begun".as_slice()));
        assert!(pipes.hear().now_or_never().is_none(), "there is no more yet");
        theirs.write_all(b"end").unwrap();
        let mut heard = Heard::default();
        pipes.drain(&mut heard).await.unwrap();
        assert_eq!(heard.0, b"end");
        assert!(pipes.out.is_some(), "it is open");
        drop(theirs);
        pipes.drain(&mut heard).await.unwrap();
        assert!(pipes.out.is_none());
    }
}
