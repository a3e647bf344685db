//! The signals that the process is sent.

use std::fs;
use std::io;

use dtf::tasks::exec::{Guarded, reap_inherited};
use rustix::process::getpid;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::{SIGNALLED, say};

/// The signals that ask for an end: Ctrl-C, Ctrl-\, the terminal's end, and the signal to terminate.
///
/// A signal that was ignored when the process began stays so: that is how `nohup` keeps a run alive whose terminal is closed.
pub(crate) struct Interrupts(Vec<(i32, Signal)>);

impl Interrupts {
    pub(crate) fn new() -> io::Result<Self> {
        let ignored = ignored();
        let kinds =
            [SignalKind::interrupt(), SignalKind::quit(), SignalKind::hangup(), SignalKind::terminate()];
        let kinds = kinds.into_iter().filter(|kind| !is_in(ignored, *kind));
        kinds.map(|kind| Ok((kind.as_raw_value(), signal(kind)?))).collect::<io::Result<_>>().map(Self)
    }

    /// Waits for the next one, and returns its number.
    pub(crate) async fn next(&mut self) -> i32 {
        let all = self.0.iter_mut().map(|(number, signal)| {
            Box::pin(async move {
                signal.recv().await;
                *number
            })
        });
        let all: Vec<_> = all.collect();
        if all.is_empty() {
            return std::future::pending().await;
        }
        futures::future::select_all(all).await.0
    }
}

/// Ctrl-Z; nothing where it is ignored.
pub(crate) struct Suspensions(Option<Signal>);

impl Suspensions {
    pub(crate) fn new() -> io::Result<Self> {
        let kind = SignalKind::from_raw(rustix::process::Signal::TSTP.as_raw());
        (!is_in(ignored(), kind)).then(|| signal(kind)).transpose().map(Self)
    }

    pub(crate) async fn next(&mut self) {
        match &mut self.0 {
            Some(signal) => signal.recv().await.unwrap_or_default(),
            None => std::future::pending().await,
        }
    }
}

/// Ends of children, for the first process of a container, which inherits those of all others; nothing for any other.
pub(crate) struct Heritage(Option<Signal>);

impl Heritage {
    pub(crate) fn new() -> io::Result<Self> {
        let first = getpid().is_init();
        first.then(|| signal(SignalKind::child())).transpose().map(Self)
    }

    pub(crate) async fn next(&mut self) {
        match &mut self.0 {
            Some(signal) => signal.recv().await.unwrap_or_default(),
            None => std::future::pending().await,
        }
    }
}

/// The tasks that wait for signals to end, for as long as this lives.
pub(crate) struct EndsOnSignals(#[expect(dead_code, reason = "they end with it")] [AbortOnDropHandle<()>; 2]);

/// Cancels `stop` at the first signal that asks for an end; a second one ends this process at once. Meanwhile looks after
/// inherited processes; `commands` are waited for by others.
pub(crate) fn end_on_signals(
    stop: CancellationToken,
    commands: Option<Guarded>,
) -> io::Result<EndsOnSignals> {
    let (mut interrupts, mut heritage) = (Interrupts::new()?, Heritage::new()?);
    let signals = tokio::spawn(async move {
        interrupts.next().await;
        stop.cancel();
        let signal = interrupts.next().await;
        say("told a second time to end: exits at once, others take over when the sessions end");
        std::process::exit(i32::from(SIGNALLED) + signal);
    });
    let orphans = tokio::spawn(async move {
        loop {
            heritage.next().await;
            commands.as_ref().map_or_else(reap_inherited, Guarded::reap_orphans);
        }
    });
    Ok(EndsOnSignals([signals, orphans].map(AbortOnDropHandle::new)))
}

/// The set of signals that this process ignores, a bit each.
fn ignored() -> u64 {
    fs::read_to_string("/proc/self/status").ok().and_then(|status| ignored_in(&status)).unwrap_or(0)
}

fn ignored_in(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn is_in(set: u64, kind: SignalKind) -> bool {
    let bit = u32::try_from(kind.as_raw_value() - 1).ok();
    bit.and_then(|bit| set.checked_shr(bit)).is_some_and(|set| set & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_is_read_from_the_system() {
        let set = ignored_in("Name:\tx\nSigBlk:\t0000000000000002\nSigIgn:\t0000000000001001\n").unwrap();
        assert!(is_in(set, SignalKind::hangup()) && !is_in(set, SignalKind::interrupt()));
        assert!(is_in(set, SignalKind::pipe()));
        assert_eq!(ignored_in("Name:\tx\n"), None);
    }
}
