//! Progress for people: a bar on a terminal, plain lines elsewhere. Always on standard error.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use dtf::tasks::Console;
use dtf::{Pace, Progress, TaskStatusView};
use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::say;

/// The period of plain lines.
const LINE: Duration = Duration::from_secs(5);

/// The display of the progress.
pub(crate) struct Display {
    /// Draws nothing where there is no terminal.
    bar: ProgressBar,
    lines: Option<Mutex<Lines>>,
    quiet: bool,
}

struct Lines {
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
        let lines = (!on_terminal && !quiet).then(|| Mutex::new(Lines { last: Instant::now() }));
        Self { bar, lines, quiet }
    }

    /// Standard output and error for the task, which hide the bar while they write.
    pub(crate) fn console(&self) -> Console {
        let beside = |inner: Box<dyn Write + Send>| Beside { bar: self.bar.clone(), inner };
        Console::new(beside(Box::new(io::stdout())), beside(Box::new(io::stderr())))
    }

    /// Shows how far the task is.
    pub(crate) fn show(&self, seen: &TaskStatusView) {
        let (progress, pace) = (&seen.progress(), &seen.pace);
        if progress.generated && self.bar.length().is_none() {
            self.bar.set_style(style(COUNTING));
        }
        if progress.generated {
            self.bar.set_length(progress.created);
        }
        self.bar.set_position(progress.counted());
        self.bar.set_message(message(progress, pace));
        let Some(lines) = &self.lines else { return };
        let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.last.elapsed() >= LINE {
            lines.last = Instant::now();
            say(&line(progress, pace));
        }
    }

    /// Says something beside the progress.
    pub(crate) fn say(&self, words: &str) {
        self.bar.suspend(|| say(words));
    }

    /// Says something beside the progress that is not said where quiet is asked for.
    pub(crate) fn announce(&self, words: &str) {
        if !self.quiet {
            self.say(words);
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

const GENERATING: &str = "{spinner} {human_pos} subtasks done, {msg}";
const COUNTING: &str = "[{bar:30}] {human_pos}/{human_len} subtasks, {msg}";

fn style(template: &str) -> ProgressStyle {
    // The templates are constants; a wrong one would only look plain.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("=> ")
}

/// Returns the rate, the ETA or the generator's share, and the work under way.
fn message(progress: &Progress, pace: &Pace) -> String {
    let mut message = format!("{}/s", HumanCount(pace.rate.unwrap_or(0.0) as u64));
    if let Some(eta) = pace.eta_ms {
        message.push_str(&format!(", about {} left", HumanDuration(Duration::from_millis(eta))));
    } else if let Some(share) = progress.generator.filter(|_| !progress.generated) {
        message.push_str(&format!(", {:.0} % generated", 100.0 * share));
    }
    message.push_str(&format!(" · {} in flight", HumanCount(progress.running)));
    let failed = progress.failed + progress.timed_out;
    if failed > 0 {
        message.push_str(&format!(" · {} failed", HumanCount(failed)));
    }
    message
}

fn line(progress: &Progress, pace: &Pace) -> String {
    let done = progress.counted();
    let mut line = HumanCount(done).to_string();
    if progress.generated && progress.created > 0 {
        let share = 100.0 * done as f64 / progress.created as f64;
        line.push_str(&format!(" of {} subtasks done ({share:.1} %)", HumanCount(progress.created)));
    } else {
        line.push_str(" subtasks done");
    }
    format!("{line}, {}", message(progress, pace))
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
        let pace = Pace { rate: Some(250.0), eta_ms: None };
        assert_eq!(line(&progress, &pace), "250 subtasks done, 250/s · 4 in flight · 50 failed");
        let half = Progress { generator: Some(0.5), ..progress };
        assert_eq!(line(&half, &pace), "250 subtasks done, 250/s, 50 % generated · 4 in flight · 50 failed");
        let generated = Progress { generated: true, ..half };
        assert_eq!(
            line(&generated, &Pace { eta_ms: Some(3_000), ..pace }),
            "250 of 1,000 subtasks done (25.0 %), 250/s, about 3 seconds left · 4 in flight · 50 failed"
        );
    }
}
