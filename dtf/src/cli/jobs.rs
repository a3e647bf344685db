//! `--jobs`: how many subtasks run at once.

use std::str::FromStr;

/// The most.
const MOST: usize = 10_000;

/// The number of subtasks that run at once: given, or computed from the number of processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Jobs {
    /// So many.
    Number(usize),
    /// So many percent of the processors, one at least.
    Percent(usize),
    /// So many more than there are processors, or less, one at least.
    More(isize),
}

impl Jobs {
    /// The number, where there are so many processors.
    ///
    /// # Errors
    /// It is out of range.
    pub(crate) fn count(self, processors: usize) -> Result<usize, String> {
        let count = match self {
            Self::Number(jobs) => jobs,
            Self::Percent(percent) => (processors.saturating_mul(percent) / 100).max(1),
            Self::More(more) => processors.saturating_add_signed(more).max(1),
        };
        match (1..=MOST).contains(&count) {
            true => Ok(count),
            false => Err(format!("--jobs is {count}; allowed is 1 to {MOST}")),
        }
    }
}

impl FromStr for Jobs {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const ALLOWED: &str = "write a number, or in processors N%, +N or -N";
        let read = match text.strip_suffix('%') {
            Some(percent) => percent.parse().ok().map(Self::Percent),
            None if text.starts_with(['+', '-']) => text.parse().ok().map(Self::More),
            None => text.parse().ok().map(Self::Number),
        };
        read.ok_or(ALLOWED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_counted_in_processors_too() {
        for (text, count) in [
            ("4", Ok(4)),
            ("50%", Ok(4)),
            ("200%", Ok(16)),
            ("1%", Ok(1)),
            ("+2", Ok(10)),
            ("-3", Ok(5)),
            ("-100", Ok(1)),
            ("0", Err("--jobs is 0; allowed is 1 to 10000".to_owned())),
            ("10001", Err("--jobs is 10001; allowed is 1 to 10000".to_owned())),
        ] {
            assert_eq!(text.parse::<Jobs>().unwrap().count(8), count, "{text}");
        }
        for wrong in ["", "%", "x", "4.5", "+", "50 %"] {
            assert!(wrong.parse::<Jobs>().is_err(), "{wrong}");
        }
    }
}
