//! The conditions to end a run before its input ends: `now,fail=1`, `soon,fail=10%`, `now,success=1`, as GNU parallel
//! writes it.

use std::fmt;
use std::str::FromStr;

/// Of a share nothing is said before this many lines have ended.
const LEAST: u64 = 10;

/// The commands that are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Failed,
    Succeeded,
    Done,
}

/// The number or share of them that is enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Enough {
    Lines(u64),
    /// Percent of the lines that have ended so far.
    Percent(u64),
}

/// A condition under which a run ends early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Halt {
    /// True if running commands are ended, too.
    pub(super) now: bool,
    what: What,
    enough: Enough,
}

impl Halt {
    /// Why the run ends, where so many lines have succeeded and failed; none where it goes on.
    pub(super) fn reached(&self, succeeded: u64, failed: u64) -> Option<String> {
        let (count, word) = match self.what {
            What::Failed => (failed, "failed"),
            What::Succeeded => (succeeded, "succeeded"),
            What::Done => (succeeded + failed, "ended"),
        };
        let done = succeeded + failed;
        let reached = match self.enough {
            Enough::Lines(enough) => count >= enough,
            Enough::Percent(percent) => {
                done >= LEAST && count.saturating_mul(100) >= percent.saturating_mul(done)
            }
        };
        reached.then(|| match self.enough {
            Enough::Lines(1) => format!("halted, as a line {word}"),
            Enough::Lines(enough) => format!("halted, as {enough} lines {word}"),
            Enough::Percent(percent) => format!("halted, as {percent} % of the lines {word}"),
        })
    }

    /// Returns true if failures end the run.
    pub(super) fn is_about_failures(&self) -> bool {
        self.what == What::Failed
    }
}

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let when = if self.now { "now" } else { "soon" };
        let what = match self.what {
            What::Failed => "fail",
            What::Succeeded => "success",
            What::Done => "done",
        };
        match self.enough {
            Enough::Lines(enough) => write!(f, "{when},{what}={enough}"),
            Enough::Percent(percent) => write!(f, "{when},{what}={percent}%"),
        }
    }
}

impl FromStr for Halt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse(text).ok_or_else(|| {
            format!(
                "{text:?} is no condition; write now or soon, a comma, and fail=N, fail=N%, success=N or done=N, as in \
                 now,fail=1"
            )
        })
    }
}

fn parse(text: &str) -> Option<Halt> {
    let (when, condition) = text.split_once(',')?;
    let now = match when {
        "now" => true,
        "soon" => false,
        _ => return None,
    };
    let (what, enough) = condition.split_once('=')?;
    let what = match what {
        "fail" => What::Failed,
        "success" => What::Succeeded,
        "done" => What::Done,
        _ => return None,
    };
    let number = |text: &str| text.parse().ok().filter(|number| *number > 0);
    let enough = match enough.strip_suffix('%') {
        // How many lines there will be nobody knows, and of those that have ended all have ended.
        Some(percent) if what == What::Failed => {
            Enough::Percent(number(percent).filter(|percent| *percent <= 100)?)
        }
        Some(_) => return None,
        None => Enough::Lines(number(enough)?),
    };
    Some(Halt { now, what, enough })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read_written_and_met() {
        // condition, succeeded, failed, reached
        for (text, succeeded, failed, reached) in [
            ("now,fail=1", 100, 0, None),
            ("now,fail=1", 0, 1, Some("halted, as a line failed")),
            ("soon,fail=3", 0, 2, None),
            ("soon,fail=3", 0, 3, Some("halted, as 3 lines failed")),
            ("now,success=1", 1, 0, Some("halted, as a line succeeded")),
            ("soon,done=4", 2, 2, Some("halted, as 4 lines ended")),
            ("soon,fail=10%", 0, 9, None),
            ("soon,fail=10%", 9, 1, Some("halted, as 10 % of the lines failed")),
            ("soon,fail=10%", 10, 1, None),
        ] {
            let halt: Halt = text.parse().unwrap();
            assert_eq!(halt.to_string(), text);
            assert_eq!(halt.reached(succeeded, failed).as_deref(), reached, "{text} {succeeded} {failed}");
        }
        for wrong in
            ["", "now", "never,fail=1", "now,fail", "now,fail=0", "now,fail=101%", "soon,done=5%", "now,x=1"]
        {
            let refused = wrong.parse::<Halt>().unwrap_err();
            assert!(refused.contains("as in now,fail=1") && !refused.contains('\n'), "{refused}");
        }
    }
}
