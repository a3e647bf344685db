//! The errors of a client, by what its caller can do about them.

use dtf_model::{InvalidInput, StoreError, TaskId, TaskStatus};

/// An error of a [`Client`](crate::Client) or [`TaskHandle`](crate::TaskHandle).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> anyhow::Result<()> {
/// use dtf::{ClientError, Dtf, model::TaskId};
///
/// let dtf = Dtf::embedded().start().await?;
/// let error = dtf.client().cancel_task(TaskId(7)).await.expect_err("there is no task 7");
/// assert!(matches!(error, ClientError::NoSuchTask(TaskId(7))) && !error.is_retryable());
/// # dtf.stop().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The task does not exist.
    #[error("task {0} does not exist")]
    NoSuchTask(TaskId),
    /// The status of the task does not allow the change. Nothing was written.
    #[error("task {task} is {status} and cannot be {asked}")]
    NotAllowed {
        /// The task.
        task: TaskId,
        /// Its status.
        status: TaskStatus,
        /// The change: paused, resumed, cancelled, retried.
        asked: &'static str,
    },
    /// The request is wrong: an unknown type or group, a parameter out of range. Nothing was written.
    #[error(transparent)]
    Invalid(InvalidInput),
    /// A store was not reached or did not answer. The same call may succeed later.
    #[error(transparent)]
    Unavailable(StoreError),
    /// A store refused the call, and would refuse it again.
    #[error(transparent)]
    Refused(StoreError),
}

impl ClientError {
    /// Returns true if the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    /// Returns true if the call has certainly had no effect.
    pub fn is_definitely_not_applied(&self) -> bool {
        match self {
            Self::Unavailable(error) | Self::Refused(error) => error.is_definitely_not_applied(),
            Self::NoSuchTask(_) | Self::NotAllowed { .. } | Self::Invalid(_) => true,
        }
    }
}

impl From<InvalidInput> for ClientError {
    fn from(error: InvalidInput) -> Self {
        match error {
            InvalidInput::NoSuchTask(task) => Self::NoSuchTask(task),
            InvalidInput::NotAllowed { task, status, asked } => Self::NotAllowed { task, status, asked },
            other => Self::Invalid(other),
        }
    }
}

impl From<StoreError> for ClientError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::InvalidInput(invalid) => invalid.into(),
            error if error.is_retryable() => Self::Unavailable(error),
            error => Self::Refused(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_the_caller_can_do() {
        let (store, cause) = ("redis", "refused".to_owned());
        let lost = ClientError::from(StoreError::Unreachable { store, cause: cause.clone() });
        assert!(lost.is_retryable() && lost.is_definitely_not_applied());
        assert_eq!(lost.to_string(), "redis cannot be reached: refused");
        let unknown = ClientError::from(StoreError::Unknown { store, cause: cause.clone() });
        assert!(unknown.is_retryable() && !unknown.is_definitely_not_applied());
        let refused = ClientError::from(StoreError::Refused { store, cause });
        assert!(!refused.is_retryable() && matches!(refused, ClientError::Refused(_)));
        let missing = ClientError::from(StoreError::from(InvalidInput::NoSuchTask(TaskId(1))));
        assert!(matches!(missing, ClientError::NoSuchTask(TaskId(1))));
        let empty = ClientError::from(InvalidInput::Empty("the group"));
        assert_eq!(empty.to_string(), "the group is empty; it needs at least one character");
    }
}
