//! Errors, as problem details (RFC 9457).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The stable name of an error, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The request cannot be read, or asks for something that is not allowed. Nothing was done.
    InvalidRequest,
    /// There is no such task, group, type, worker or page.
    NotFound,
    /// The state of the task does not allow the action. Nothing was done.
    NotAllowed,
    /// The selection holds another number of tasks than the request expects. Nothing was done.
    CountDiffers,
    /// The request needs a token, or its token is unknown, revoked or expired.
    Unauthenticated,
    /// The token does not give the right.
    Forbidden,
    /// Too many wrong tokens came from this address; try again later.
    TooManyAttempts,
    /// The request comes from another site, or names a host that this server is not.
    ForeignOrigin,
    /// The body is larger than the server reads.
    TooLarge,
    /// Items of the producer are missing before those of the request. Nothing was done.
    ItemsMissing,
    /// As many items of the task wait as may. Some of the first of the request may have been taken; send it again later.
    Full,
    /// The worker's session is unknown or has ended. Poll without a session to begin a new one.
    NoSession,
    /// Too many event streams are open at the server.
    TooManyStreams,
    /// A store did not answer. The action may have been applied; sending the same request again is safe.
    Unknown,
    /// A store cannot be reached. Nothing was done; try again.
    Unavailable,
    /// The server did not finish in time. The action may have been applied.
    Timeout,
    /// A store refused.
    Refused,
}

/// An error: what is wrong, and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// The stable name of the error.
    pub code: Code,
    /// The HTTP status.
    pub status: u16,
    /// The meaning of the HTTP status, in words.
    pub title: String,
    /// One sentence: what is wrong, what is allowed, what to do.
    pub detail: String,
}
