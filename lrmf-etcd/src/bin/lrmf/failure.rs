//! The end of the command when it does not go well.

use std::fmt;
use std::process::ExitCode;

use crate::print;

/// One line for people, and the exit code.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It was asked for wrongly, and nothing was done.
    Usage(String),
    /// It failed, or something is not there.
    Failed(String),
    /// Whoever read the output has gone.
    Unread,
}

impl Failure {
    pub(crate) fn usage(error: impl fmt::Display) -> Self {
        Self::Usage(error.to_string())
    }

    pub(crate) fn failed(error: impl fmt::Display) -> Self {
        Self::Failed(error.to_string())
    }

    /// What is wrong with the arguments, without the pages that clap puts around it.
    pub(crate) fn arguments(error: &clap::Error) -> Self {
        let text = error.render().to_string();
        let said = text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
        let said: Vec<_> = said.filter(|line| !line.is_empty()).collect();
        let said = said.join(" ");
        Self::Usage(format!("{}; see lrmf --help", said.trim_start_matches("error: ")))
    }

    pub(crate) fn report(&self) -> ExitCode {
        match self {
            Self::Usage(text) => {
                print::say(text);
                ExitCode::from(2)
            }
            Self::Failed(text) => {
                print::say(text);
                ExitCode::from(1)
            }
            Self::Unread => ExitCode::SUCCESS,
        }
    }
}

impl From<lrmf_core::admin::AdminError> for Failure {
    fn from(error: lrmf_core::admin::AdminError) -> Self {
        Self::failed(error)
    }
}

impl From<lrmf_core::InvalidName> for Failure {
    fn from(error: lrmf_core::InvalidName) -> Self {
        Self::usage(error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe { Self::Unread } else { Self::failed(error) }
    }
}
