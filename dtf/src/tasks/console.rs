//! The destination of a task's words and output.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type Sink = Arc<Mutex<dyn Write + Send>>;

/// Standard output and standard error, or what stands for them.
///
/// A command with a progress bar gives writers that hide the bar while they write. Whoever holds one of the two is
/// alone with it, so that what belongs together stays together.
#[derive(Clone)]
pub struct Console {
    out: Sink,
    err: Sink,
}

impl Console {
    /// These two writers.
    pub fn new(out: impl Write + Send + 'static, err: impl Write + Send + 'static) -> Self {
        Self { out: Arc::new(Mutex::new(out)), err: Arc::new(Mutex::new(err)) }
    }

    /// The process's own.
    pub fn std() -> Self {
        Self::new(io::stdout(), io::stderr())
    }

    /// Standard output, for as long as the guard lives.
    pub(crate) fn out(&self) -> MutexGuard<'_, dyn Write + Send + 'static> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Standard error, for as long as the guard lives.
    pub(crate) fn err(&self) -> MutexGuard<'_, dyn Write + Send + 'static> {
        self.err.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says one line about one thing on standard error: `dtf: WHAT: WHY`. What is named here is counted in the task's
    /// result too, so that a standard error which is closed loses nothing and stops nothing.
    pub(crate) fn complain(&self, what: &[u8], why: &[u8]) {
        let mut line = b"dtf: ".to_vec();
        line.extend_from_slice(&super::printable(what));
        line.extend_from_slice(b": ");
        line.extend_from_slice(&super::printable(why));
        line.push(b'\n');
        let mut err = self.err();
        err.write_all(&line).and_then(|()| err.flush()).unwrap_or_default();
    }
}

impl Default for Console {
    fn default() -> Self {
        Self::std()
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").finish_non_exhaustive()
    }
}
