//! The reports of subtasks that were executed.

use std::hash::{BuildHasher, Hash};
use std::time::Duration;

use bytes::Bytes;
use dtf_model::plugin::{ExecuteContext, ExecuteError, SubtaskResult, TaskConf};
use dtf_model::queue::{Outcome, Report};

/// The longest error text that is kept of a failed subtask, in bytes.
pub const MAX_ERROR_BYTES: usize = 4 * 1024;
/// The largest body of a result, in bytes. A subtask with a larger one has failed.
pub const MAX_RESULT_BYTES: usize = 4 * 1024 * 1024;

pub(crate) fn succeeded(result: SubtaskResult, body: &Bytes) -> Report {
    let size = result.body.len() + result.msg.len();
    if size > MAX_RESULT_BYTES {
        return failed(&format!("the result has {size} bytes; at most {MAX_RESULT_BYTES} are allowed"), body);
    }
    Report::Ended(Outcome::Succeeded(result))
}

pub(crate) fn failure(
    conf: &TaskConf,
    error: &ExecuteError,
    body: &Bytes,
    context: &ExecuteContext,
) -> Report {
    let failed_so_far = context.attempt + 1;
    let text = error.to_string();
    match error {
        ExecuteError::Retryable(_) if failed_so_far < conf.max_attempts => {
            let after = conf.backoff.wait(failed_so_far, jitter(context));
            // A wait of zero would be a retry without one.
            Report::Retry { after: after.max(Duration::from_millis(1)), error: shortened(&text) }
        }
        _ => failed(&text, body),
    }
}

pub(crate) fn failed(error: &str, body: &Bytes) -> Report {
    Report::Ended(Outcome::Failed { error: shortened(error), body: body.clone() })
}

fn shortened(text: &str) -> String {
    let mut end = text.len().min(MAX_ERROR_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// A number from 0 to 1 that differs between subtasks and attempts, and is the same each time for one of them.
fn jitter(context: &ExecuteContext) -> f64 {
    let mut hasher = foldhash::quality::FixedState::with_seed(0).build_hasher();
    (context.id, context.attempt).hash(&mut hasher);
    std::hash::Hasher::finish(&hasher) as f64 / u64::MAX as f64
}
