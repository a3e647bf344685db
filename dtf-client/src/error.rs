//! The failures of a request.

use dtf_api::{Code, Problem};

/// A request that failed, in one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The server's address or the token cannot be used; nothing was sent.
    #[error("{0}")]
    Usage(String),
    /// The server refused, and says why.
    #[error("{}", .0.detail)]
    Refused(Problem),
    /// The server was not reached; nothing was applied.
    #[error("{server} cannot be reached: {cause}")]
    Unreachable {
        /// The address.
        server: String,
        /// The reason.
        cause: String,
    },
    /// The request was sent, and no answer came that can be used.
    #[error("{server} did not answer, the request may have been applied: {cause}")]
    Unknown {
        /// The address.
        server: String,
        /// The reason.
        cause: String,
    },
}

impl Error {
    /// Returns true if the same request may be answered otherwise later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Usage(_) => false,
            Self::Unreachable { .. } | Self::Unknown { .. } => true,
            Self::Refused(problem) => matches!(
                problem.code,
                Code::Unavailable | Code::Unknown | Code::Timeout | Code::TooManyStreams | Code::Full
            ),
        }
    }

    /// Returns true if the request has certainly had no effect.
    pub fn is_definitely_not_applied(&self) -> bool {
        match self {
            Self::Usage(_) | Self::Unreachable { .. } => true,
            Self::Unknown { .. } => false,
            Self::Refused(problem) => !matches!(problem.code, Code::Unknown | Code::Timeout),
        }
    }

    /// The code of the server's answer, where it answered.
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Refused(problem) => Some(problem.code),
            _ => None,
        }
    }
}
