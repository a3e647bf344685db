//! The built-in task types: real work on real input, and examples of how a [`TaskPlugin`](dtf_model::plugin::TaskPlugin)
//! is written.
//!
//! | type | number | what it does |
//! |---|---|---|
//! | [`checksum`] | 1 | the SHA-256 manifest of a directory tree, as `sha256sum` writes it |
//! | [`exec`] | 2 | a command for each line of an input, like xargs and GNU parallel |
//! | [`noop`] | 3 | nothing, at a chosen speed and failure rate |
//!
//! A process that takes tasks from others registers [`checksum`] and [`noop`]; [`exec`] runs whatever commands its
//! creator names and is registered only where an operator asked for it, see [`exec::Exec::new`].
//!
//! What people shall see goes through a [`Console`], so that a progress bar can make room for it.

pub mod checksum;
mod codec;
mod console;
pub mod exec;
pub mod noop;
mod raw;

pub use console::Console;

use dtf_model::plugin::TaskResult;
use dtf_model::{InvalidInput, TaskTypeId};
use serde::de::DeserializeOwned;

/// The number of [`checksum`].
pub const CHECKSUM: TaskTypeId = TaskTypeId(1);
/// The number of [`exec`].
pub const EXEC: TaskTypeId = TaskTypeId(2);
/// The number of [`noop`].
pub const NOOP: TaskTypeId = TaskTypeId(3);

/// Returns the number of failed items of a task of a built-in type: files, lines or subtasks. A task may complete and still
/// have some; then a one-shot run ends with exit code 1.
pub fn failed_items(result: &TaskResult) -> u64 {
    result.data.get("failed_items").and_then(serde_json::Value::as_u64).unwrap_or(0)
}

/// Reads the parameters of a type. `takes` says in a few words what they may be.
fn read_param<P: DeserializeOwned>(
    name: &str,
    takes: &str,
    type_param: &serde_json::Value,
) -> Result<P, InvalidInput> {
    serde_json::from_value(type_param.clone()).map_err(|error| {
        InvalidInput::TypeParam(format!("the parameters of {name}: {error}; it takes {takes}"))
    })
}

/// The words of an I/O error, without the number that the standard library puts behind them.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.rfind(" (os error ") {
        Some(end) if text.ends_with(')') => text[..end].to_owned(),
        _ => text,
    }
}

/// A name as it can be shown on one line: what must not reach a terminal or a table as it is, and backslashes, are escaped.
fn printable(name: &[u8]) -> Vec<u8> {
    lrmf_core::text::bytes_on_one_line(name).into_bytes()
}

/// A path as it can be shown within a line.
fn shown(path: &std::path::Path) -> String {
    String::from_utf8_lossy(&printable(path.as_os_str().as_encoded_bytes())).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_errors_fit_on_one_line() {
        assert_eq!(printable(b"a b\\c\n\r\t\x1b\xff"), b"a b\\\\c\\n\\r\\t\\x1b\\xff");
        let missing = std::fs::read("/nonexistent").unwrap_err();
        assert_eq!(plain(&missing), "No such file or directory");
        assert_eq!(plain(&std::io::Error::other("made up")), "made up");
    }
}
