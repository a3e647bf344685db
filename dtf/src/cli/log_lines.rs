//! A log whose events are one line each, whatever users put into them.

use std::io::{self, Write};

use lrmf_core::text::one_line;
use tracing_subscriber::fmt::MakeWriter;

/// Standard error for events without colours. The formatter writes an event at once, with a newline behind it, and lets
/// through what users put into its fields: with newlines they could write events of their own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogLines;

impl<'a> MakeWriter<'a> for LogLines {
    type Writer = Lines<io::Stderr>;

    fn make_writer(&'a self) -> Self::Writer {
        Lines(io::stderr())
    }
}

/// A writer that makes one line of whatever is written at once.
pub(crate) struct Lines<W>(W);

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let (text, end): (&[u8], &[u8]) = match event.split_last() {
            Some((b'\n', text)) => (text, b"\n"),
            _ => (event, b""),
        };
        let text = String::from_utf8_lossy(text);
        let line = [one_line(&text).as_bytes(), end].concat();
        self.0.write_all(&line)?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

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

    #[test]
    fn an_event_is_one_line_and_steers_nothing() {
        let written = Written::default();
        let to = written.clone();
        let log = tracing_subscriber::fmt().with_ansi(false).with_writer(move || Lines(to.clone())).finish();
        tracing::subscriber::with_default(log, || {
            let name = "x\n2026-01-01 INFO forged\x1b[2J";
            tracing::warn!(%name, other = ?name, "task {name} ended");
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("forged") && !text.contains('\x1b'), "{text:?}");
    }
}
