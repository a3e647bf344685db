//! Progress for people: a bar on a terminal, plain lines elsewhere. Always on standard error.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use dtf::Progress;
use dtf::tasks::Console;
use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

/// How often a plain line is written.
const LINE: Duration = Duration::from_secs(5);

/// Where the progress goes.
pub(crate) struct Display {
    /// Draws nothing where there is no terminal.
    bar: ProgressBar,
    lines: Option<Mutex<Lines>>,
}

struct Lines {
    started: Instant,
    last: Instant,
}

impl Display {
    /// A bar where standard output and standard error are terminals, plain lines elsewhere, nothing where quiet is asked for.
    pub(crate) fn new(quiet: bool) -> Self {
        let on_terminal = io::stdout().is_terminal() && io::stderr().is_terminal();
        let target = if on_terminal && !quiet {
            ProgressDrawTarget::stderr_with_hz(10)
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(style(GENERATING));
        let now = Instant::now();
        let lines = (!on_terminal && !quiet).then(|| Mutex::new(Lines { started: now, last: now }));
        Self { bar, lines }
    }

    /// Standard output and error for the task, which hide the bar while they write.
    pub(crate) fn console(&self) -> Console {
        let beside = |inner: Box<dyn Write + Send>| Beside { bar: self.bar.clone(), inner };
        Console::new(beside(Box::new(io::stdout())), beside(Box::new(io::stderr())))
    }

    /// Shows how far the task is.
    pub(crate) fn show(&self, progress: &Progress) {
        if progress.generated && self.bar.length().is_none() {
            self.bar.set_style(style(COUNTING));
        }
        if progress.generated {
            self.bar.set_length(progress.created);
        }
        self.bar.set_position(progress.counted());
        self.bar.set_message(note(progress));
        let Some(lines) = &self.lines else { return };
        let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.last.elapsed() >= LINE {
            lines.last = Instant::now();
            eprintln!("dtf: {}", line(progress, lines.started.elapsed()));
        }
    }

    /// Says something beside the progress.
    pub(crate) fn say(&self, words: &str) {
        self.bar.suspend(|| eprintln!("dtf: {words}"));
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

const GENERATING: &str = "{spinner} {human_pos} subtasks done, {rate}, {elapsed} {msg}";
const COUNTING: &str = "[{bar:30}] {human_pos}/{human_len} subtasks, {rate}, {eta} left {msg}";

fn style(template: &str) -> ProgressStyle {
    // The templates are constants; a wrong one would only look plain.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("=> ").with_key("rate", |state: &ProgressState, to: &mut dyn fmt::Write| {
        // A rate that cannot be written is one that is not shown.
        write!(to, "{}/s", HumanCount(state.per_sec() as u64)).unwrap_or_default();
    })
}

fn note(progress: &Progress) -> String {
    let mut note = format!("· {} in flight", HumanCount(progress.running));
    let failed = progress.failed + progress.timed_out;
    if failed > 0 {
        note.push_str(&format!(" · {} failed", HumanCount(failed)));
    }
    note
}

fn line(progress: &Progress, elapsed: Duration) -> String {
    let done = progress.counted();
    let rate = done as f64 / elapsed.as_secs_f64().max(0.001);
    let mut line = HumanCount(done).to_string();
    if progress.generated && progress.created > 0 {
        let share = 100.0 * done as f64 / progress.created as f64;
        line.push_str(&format!(" of {} subtasks done ({share:.1} %)", HumanCount(progress.created)));
    } else {
        line.push_str(" subtasks done");
    }
    line.push_str(&format!(", {}/s", HumanCount(rate as u64)));
    if progress.generated && rate > 0.0 {
        let left = Duration::from_secs_f64((progress.created - done) as f64 / rate);
        line.push_str(&format!(", about {} left", HumanDuration(left)));
    }
    line.push_str(&format!(" {}", note(progress)));
    line
}

/// A writer that hides the bar while it writes.
struct Beside {
    bar: ProgressBar,
    inner: Box<dyn Write + Send>,
}

impl Write for Beside {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bar.suspend(|| self.inner.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_valid() {
        for template in [GENERATING, COUNTING] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }

    #[test]
    fn a_line_says_how_far_it_is_and_what_is_left() {
        let progress =
            Progress { created: 1000, succeeded: 200, failed: 50, running: 4, ..Progress::default() };
        let second = Duration::from_secs(1);
        assert_eq!(line(&progress, second), "250 subtasks done, 250/s · 4 in flight · 50 failed");
        let generated = Progress { generated: true, ..progress };
        assert_eq!(
            line(&generated, second),
            "250 of 1,000 subtasks done (25.0 %), 250/s, about 3 seconds left · 4 in flight · 50 failed"
        );
    }
}
