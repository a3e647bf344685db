//! The executor: decodes an item, calls the closure, encodes the output.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use dtf_model::plugin::{ExecuteContext, ExecuteError, SubtaskResult, TaskExecutor};
use futures::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::{decode, encode};

/// The surroundings of one execution: the parameter of the task, and everything that an [`ExecuteContext`] has.
///
/// ```
/// use dtf_typed::TaskType;
///
/// let greetings = TaskType::named("greetings")
///     .input(|names: Vec<String>| names)
///     .execute(|name: String, ctx| async move {
///         // The same for every execution of this subtask: give it to systems that take idempotency keys.
///         let key = ctx.id.idempotency_key();
///         Ok(format!("{key}: hello {name}, one of {}", ctx.param().len()))
///     })
///     .build();
/// ```
#[derive(Debug)]
pub struct Context<P> {
    param: Arc<P>,
    context: ExecuteContext,
}

impl<P> Context<P> {
    /// Returns the parameter of the task.
    pub fn param(&self) -> &P {
        &self.param
    }
}

impl<P> Clone for Context<P> {
    fn clone(&self) -> Self {
        Self { param: self.param.clone(), context: self.context.clone() }
    }
}

impl<P> Deref for Context<P> {
    type Target = ExecuteContext;

    fn deref(&self) -> &ExecuteContext {
        &self.context
    }
}

/// A closure that executes an item.
pub(crate) type Execute<P, I, O> =
    dyn Fn(I, Context<P>) -> BoxFuture<'static, anyhow::Result<O>> + Send + Sync;

/// Marks an error as one that no retry mends: the subtask fails for good at once.
///
/// ```
/// use dtf_typed::{TaskType, final_error};
///
/// let parsed = TaskType::named("parse")
///     .input(|lines: Vec<String>| lines)
///     .execute(|line: String, _ctx| async move { line.parse::<u64>().map_err(final_error) })
///     .build();
/// ```
pub fn final_error(error: impl Into<anyhow::Error>) -> anyhow::Error {
    Final(error.into()).into()
}

/// The mark of a final error. It is found below whatever context is added to it.
#[derive(Debug)]
struct Final(anyhow::Error);

impl fmt::Display for Final {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Final {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

fn classified(error: anyhow::Error) -> ExecuteError {
    match error.is::<Final>() {
        true => ExecuteError::Final(error),
        false => ExecuteError::Retryable(error),
    }
}

/// The executor of one task.
pub(crate) struct TypedExecutor<P, I, O> {
    pub(crate) param: Arc<P>,
    pub(crate) execute: Arc<Execute<P, I, O>>,
}

#[async_trait]
impl<P, I, O> TaskExecutor for TypedExecutor<P, I, O>
where
    P: Send + Sync + 'static,
    I: DeserializeOwned + Send + 'static,
    O: Serialize + Send + Sync + 'static,
{
    async fn execute(&self, body: &Bytes, context: &ExecuteContext) -> Result<SubtaskResult, ExecuteError> {
        // Neither gets better by trying again.
        let item = decode("the subtask's item", body).map_err(ExecuteError::Final)?;
        let context = Context { param: self.param.clone(), context: context.clone() };
        let output = (self.execute)(item, context).await.map_err(classified)?;
        Ok(SubtaskResult::new(encode("the output", &output).map_err(ExecuteError::Final)?))
    }
}

#[cfg(test)]
mod tests {
    use anyhow::{Context as _, anyhow};

    use super::*;

    #[test]
    fn a_final_error_stays_one_below_its_context_and_says_the_same() {
        let cause = || anyhow!("no such host").context("connecting");
        let error = classified(Err::<(), _>(final_error(cause())).context("page 7").unwrap_err());
        assert!(matches!(error, ExecuteError::Final(_)));
        assert_eq!(error.to_string(), "page 7: connecting: no such host");
        let error = classified(cause());
        assert!(matches!(error, ExecuteError::Retryable(_)));
        assert_eq!(error.to_string(), "connecting: no such host");
    }
}
