//! Plugins that fail while they generate or collect: they go on from what was saved, after a while.

use std::time::Duration;

use dtf_model::plugin::TaskConf;
use dtf_model::role::Role;

/// The failures of a task's generator or collector since it saved something last.
#[derive(Debug, Default)]
pub struct Attempts {
    failed: u32,
}

/// The answer to a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Again {
    /// Go on from what was saved, after this time; the task waits for what the words say.
    After(Duration, String),
    /// That was the last attempt; the words for it.
    Never(String),
}

impl Attempts {
    /// Says that something was saved: what fails from here on fails for the first time.
    pub fn got_on(&mut self) {
        self.failed = 0;
    }

    /// Returns true if something has failed since the last time that something was saved.
    pub fn is_repeating(&self) -> bool {
        self.failed > 0
    }

    /// Says that an attempt failed.
    pub fn failed(&mut self, role: Role, conf: &TaskConf, error: &anyhow::Error) -> Again {
        self.failed += 1;
        let (attempt, most) = (self.failed, conf.call_attempts);
        if attempt >= most {
            return Again::Never(format!("{error:#} ({attempt} attempts)"));
        }
        let wait = conf.call_backoff.wait(attempt, 1.0);
        let reason = format!(
            "its {role}, whose plugin failed (attempt {attempt} of {most}) and is called again in {wait:?}: {error:#}"
        );
        Again::After(wait, reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_count_from_the_last_time_that_it_got_on() {
        let conf = TaskConf { call_attempts: 3, ..TaskConf::default() };
        let error = anyhow::anyhow!("broken");
        let mut attempts = Attempts::default();
        let mut wait = |got_on: bool| {
            if got_on {
                attempts.got_on();
            }
            match attempts.failed(Role::Collector, &conf, &error) {
                Again::After(wait, words) if words.contains("broken") => Some(wait.as_secs()),
                Again::After(..) => None,
                Again::Never(words) => words.contains("broken (3 attempts)").then_some(0),
            }
        };
        assert_eq!([wait(false), wait(false), wait(true)], [Some(1), Some(2), Some(1)]);
        assert_eq!([wait(false), wait(false)], [Some(2), Some(0)]);
    }
}
