//! The meaning of an error of the client for the call.

use std::error::Error as _;

use etcd_client::Error;
use lrmf_core::CoordinationError;
use tonic::{Code, ConnectError, Status};

/// Tells a call that was certainly not applied from one that may have been. When in doubt, it may have been.
pub(crate) fn store_error(error: &Error) -> CoordinationError {
    match error {
        Error::GRpcStatus(status) => of_status(status),
        Error::InvalidArgs(_) | Error::InvalidUri(_) | Error::InvalidMetadataValue(_) => {
            CoordinationError::Refused(error.to_string())
        }
        _ => CoordinationError::Unknown(error.to_string()),
    }
}

fn of_status(status: &Status) -> CoordinationError {
    let message = status.message().to_owned();
    if never_sent(status) {
        return CoordinationError::Unreachable(with_cause(status));
    }
    match status.code() {
        Code::NotFound if message.contains("requested lease not found") => CoordinationError::LeaseGone,
        Code::InvalidArgument if message.contains("too large") || message.contains("too many operations") => {
            CoordinationError::TooLarge(message)
        }
        // gRPC's own limit on requests. (etcd's "database space exceeded" has the same code, and is also said after the
        // call was applied.)
        Code::ResourceExhausted if message.contains("received message larger than max") => {
            CoordinationError::TooLarge(message)
        }
        // Somebody changed users or roles meanwhile; the next attempt sees it.
        Code::InvalidArgument if message.contains("revision of auth store is old") => {
            CoordinationError::Unknown(message)
        }
        Code::InvalidArgument | Code::Unauthenticated | Code::PermissionDenied | Code::Unimplemented => {
            CoordinationError::Refused(message)
        }
        _ => CoordinationError::Unknown(format!("{:?}: {}", status.code(), with_cause(status))),
    }
}

/// The message with what lies at the bottom of it: that a connection was refused, or whose certificate is not believed.
fn with_cause(status: &Status) -> String {
    let causes = std::iter::successors(status.source(), |&error| error.source());
    match causes.last().map(ToString::to_string) {
        Some(cause) if !status.message().contains(&cause) => format!("{}: {cause}", status.message()),
        _ => status.message().to_owned(),
    }
}

/// Returns true where the call ended for want of a connection.
fn never_sent(status: &Status) -> bool {
    if status.message().starts_with("Service was not ready") {
        return true;
    }
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<ConnectError>() {
            return true;
        }
        source = error.source();
    }
    false
}

/// Returns true where a read at a fixed revision came too late.
pub(crate) fn is_compacted(error: &Error) -> bool {
    matches!(error, Error::GRpcStatus(status)
        if status.code() == Code::OutOfRange && status.message().contains("compacted"))
}

/// Returns true where etcd knows us and does not let us.
pub(crate) fn is_not_permitted(error: &Error) -> bool {
    matches!(error, Error::GRpcStatus(status) if status.code() == Code::PermissionDenied)
}

/// Returns true where the client says that a lease does not exist; it has no error of its own for that.
pub(crate) fn is_lease_gone(error: &Error) -> bool {
    matches!(error, Error::LeaseKeepAliveError(message) if message.contains("not found"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: Code, message: &str) -> CoordinationError {
        store_error(&Error::GRpcStatus(Status::new(code, message)))
    }

    #[test]
    fn only_certain_refusals_are_not_unknown() {
        let refused = of(Code::PermissionDenied, "etcdserver: permission denied");
        assert!(matches!(refused, CoordinationError::Refused(_)));
        let too_large = of(Code::InvalidArgument, "etcdserver: request is too large");
        assert!(matches!(too_large, CoordinationError::TooLarge(_)));
        let gone = of(Code::NotFound, "etcdserver: requested lease not found");
        assert!(matches!(gone, CoordinationError::LeaseGone));
        for (code, message) in [
            (Code::Unavailable, "etcdserver: request timed out"),
            (Code::Unavailable, "error trying to connect: by the words alone"),
            (Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded"),
            (Code::Cancelled, "Timeout expired"),
            (Code::Unknown, "broken pipe"),
            (Code::Internal, ""),
        ] {
            assert!(matches!(of(code, message), CoordinationError::Unknown(_)), "{message}");
        }
    }

    #[test]
    fn a_connection_that_did_not_come_about_is_unreachable() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let status = Status::from_error(Box::new(ConnectError(Box::new(refused))));
        assert!(matches!(of_status(&status), CoordinationError::Unreachable(_)), "{status:?}");
    }
}
