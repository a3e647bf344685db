//! Hooks: who is told that a task has ended.
//!
//! - [`Hook`] names a receiver, an HTTP address or a callback of the program, and the ends that it is told of.
//! - [`HookRecord`] is a hook of a task with the progress of its delivery, and [`claim`], [`settle`] and [`again`] are the decisions on it.
//! - [`HookTable`] keeps the records, and [`Courier`] carries a message.
//!
//! Each receiver gets its message at least once: an attempt is noted before it is made, with the time at which it is made again unless
//! its answer has been noted by then. Messages have ids, by which receivers know what they have received before.

mod courier;
mod record;
mod table;

use serde::{Deserialize, Serialize};

use crate::error::InvalidInput;
use crate::flow::Condition;
use crate::text::{MAX_NAME_CHARS, check_length};

pub use courier::{Answer, Courier, TaskEnd};
pub use record::{ATTEMPTS, HookRecord, HookState, LEASE, Round, again, claim, next_at, settle, waiting};
pub use table::{HookTable, HookUpdate};

/// The most hooks of a task.
pub const MAX_HOOKS: usize = 8;
/// The longest address, in characters.
pub const MAX_URL_CHARS: usize = 2048;

/// A receiver.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Receiver {
    /// An HTTP address, which gets a signed request.
    Url(String),
    /// A callback by the name under which programs with the manager role have registered it.
    Callback(String),
}

/// A receiver that is told of a task's end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Fields", into = "Fields")]
pub struct Hook {
    /// The receiver.
    pub to: Receiver,
    /// The ends that it is told of.
    pub when: Condition,
}

/// A hook as users write it: `{"url": "https://…", "when": "failed"}`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    callback: Option<String>,
    #[serde(default = "however")]
    when: Condition,
}

fn however() -> Condition {
    Condition::Ended
}

impl TryFrom<Fields> for Hook {
    type Error = &'static str;

    fn try_from(Fields { url, callback, when }: Fields) -> Result<Self, Self::Error> {
        let to = match (url, callback) {
            (Some(url), None) => Receiver::Url(url),
            (None, Some(name)) => Receiver::Callback(name),
            _ => return Err("a hook has one of `url` and `callback`"),
        };
        Ok(Self { to, when })
    }
}

impl From<Hook> for Fields {
    fn from(Hook { to, when }: Hook) -> Self {
        let (url, callback) = match to {
            Receiver::Url(url) => (Some(url), None),
            Receiver::Callback(name) => (None, Some(name)),
        };
        Self { url, callback, when }
    }
}

impl Hook {
    /// A request to an address, however the task ends.
    pub fn url(url: impl Into<String>) -> Self {
        Self { to: Receiver::Url(url.into()), when: Condition::Ended }
    }

    /// A call of a registered callback, however the task ends.
    pub fn callback(name: impl Into<String>) -> Self {
        Self { to: Receiver::Callback(name.into()), when: Condition::Ended }
    }

    /// The hook for these ends only.
    #[must_use]
    pub fn when(self, when: Condition) -> Self {
        Self { when, ..self }
    }

    /// Checks the receiver, as far as that can be done without asking it.
    ///
    /// # Errors
    /// What is wrong, and what is allowed.
    pub fn check(&self) -> Result<(), InvalidInput> {
        match &self.to {
            Receiver::Callback(name) if name.is_empty() => Err(InvalidInput::Empty("the name of a callback")),
            Receiver::Callback(name) => check_length("the name of a callback", name, MAX_NAME_CHARS),
            Receiver::Url(url) => {
                check_length("the address of a hook", url, MAX_URL_CHARS)?;
                let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
                let authority = rest.and_then(|rest| rest.split(['/', '?', '#']).next());
                let is_odd = |c: char| c.is_whitespace() || c.is_control();
                match authority {
                    Some(host) if !host.is_empty() && !host.contains('@') && !url.contains(is_odd) => Ok(()),
                    _ => Err(InvalidInput::OutOfRange {
                        what: "the address of a hook",
                        got: format!("{url:?}"),
                        allowed: "http:// or https://, a host without a user, and a path".to_owned(),
                    }),
                }
            }
        }
    }
}

/// Checks the hooks of a task.
pub(crate) fn check(hooks: &[Hook]) -> Result<(), InvalidInput> {
    if hooks.len() > MAX_HOOKS {
        return Err(InvalidInput::OutOfRange {
            what: "the number of hooks",
            got: hooks.len().to_string(),
            allowed: format!("at most {MAX_HOOKS}"),
        });
    }
    hooks.iter().try_for_each(Hook::check)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_is_written_with_its_receiver_and_its_ends() {
        let hook: Hook = serde_json::from_str(r#"{"url": "https://a.example/x"}"#).unwrap();
        assert_eq!(hook, Hook::url("https://a.example/x"));
        let hook = Hook::callback("bill").when(Condition::Failed);
        let text = serde_json::to_string(&hook).unwrap();
        assert_eq!(text, r#"{"callback":"bill","when":"failed"}"#);
        assert_eq!(serde_json::from_str::<Hook>(&text).unwrap(), hook);
        for wrong in [r#"{}"#, r#"{"url": "a", "callback": "b"}"#, r#"{"url": "a", "on": "x"}"#] {
            assert!(serde_json::from_str::<Hook>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn receivers_that_cannot_be_are_refused() {
        for wrong in
            ["", "a.example", "ftp://a.example", "http://", "https:///x", "http://me@a/x", "http://a/x y"]
        {
            assert!(Hook::url(wrong).check().is_err(), "{wrong}");
        }
        assert!(Hook::url(format!("http://a/{}", "x".repeat(MAX_URL_CHARS))).check().is_err());
        assert!(Hook::callback("").check().is_err());
        assert!(Hook::url("http://127.0.0.1:80?x#y").check().is_ok());
        assert!(check(&vec![Hook::callback("a"); MAX_HOOKS + 1]).is_err());
    }
}
