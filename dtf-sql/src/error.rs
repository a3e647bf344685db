//! The conclusions from errors of the driver.

use dtf_model::StoreError;
use sqlx::Error;

/// The meaning of a failed statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It was rolled back in favour of another one: send it again.
    Again,
    /// The server is going away or full: not done, but later perhaps.
    Later,
    /// Not done, as the server takes no writes: another one does perhaps, under the same name.
    Moved,
    /// The statement was interrupted, done or not.
    Interrupted,
    /// No.
    No,
}

/// Why there is no connection.
pub(crate) fn connecting(store: &'static str, error: &Error, verdict: Verdict) -> StoreError {
    let cause = words(error);
    match (error, verdict) {
        (Error::Database(_), Verdict::No) | (Error::Configuration(_) | Error::InvalidArgument(_), _) => {
            StoreError::Refused { store, cause }
        }
        _ => StoreError::Unreachable { store, cause },
    }
}

/// Why a statement that was sent failed.
pub(crate) fn calling(store: &'static str, error: &Error, verdict: Verdict) -> StoreError {
    let cause = words(error);
    match error {
        Error::Database(_) => match verdict {
            Verdict::Again | Verdict::Later | Verdict::Moved => StoreError::Unreachable { store, cause },
            Verdict::Interrupted => StoreError::Unknown { store, cause },
            Verdict::No => StoreError::Refused { store, cause },
        },
        Error::Io(_) | Error::Tls(_) | Error::Protocol(_) | Error::WorkerCrashed => {
            StoreError::Unknown { store, cause }
        }
        _ => StoreError::Refused { store, cause },
    }
}

/// Returns true if the connection can be used after this error: an error that the database itself reports leaves it whole.
pub(crate) fn leaves_connection_whole(error: &Error) -> bool {
    !matches!(error, Error::Io(_) | Error::Tls(_) | Error::Protocol(_) | Error::WorkerCrashed)
}

/// The error without the words that every one of its kind begins with, on one line.
pub(crate) fn words(error: &Error) -> String {
    let words = match error {
        Error::Database(error) => error.message().to_owned(),
        Error::Io(error) => error.to_string(),
        other => other.to_string(),
    };
    words.replace(['\n', '\r'], " ")
}
