//! The parameters of a `map` task.

use std::path::PathBuf;
use std::time::Duration;

use dtf_model::plugin::MAX_SUBTASK_TIMEOUT;
use dtf_model::{InvalidInput, TaskParam};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::checksum::DigestKind;
use crate::defined::DefinedAs;
use crate::http::HttpCall;
use crate::item_key::ItemKey;
use crate::sql::{SqlCall, SqlQuery};
use crate::stores;

/// The longest name of a function, in characters.
const MAX_FUNCTION_CHARS: usize = 100;
/// The most attempts that a subtask may have.
pub(crate) const MAX_ATTEMPTS: u32 = 100;
/// The most items of a list.
const MAX_LIST: usize = 10_000;

/// The parameters of a task of type `map`.
///
/// ```
/// use dtf_types::{Function, MapParam};
///
/// let param: MapParam = serde_json::from_value(serde_json::json!({
///     "source": {"list": ["a.png", "b.png"]},
///     "function": {"worker": "thumbnail"},
///     "sink": "keep",
///     "timeout_ms": 30_000
/// }))?;
/// assert_eq!(param.function, Function::Worker("thumbnail".to_owned()));
/// assert_eq!(param.attempts, 3);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MapParam {
    /// The source of the items.
    pub source: Source,
    /// The function that is applied to each item.
    pub function: Function,
    /// The sink for the results. Default: they are counted only.
    #[serde(default)]
    pub sink: Sink,
    /// The sink for the items that failed for good. Default: they are kept as failures of the task only, as far as those are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<FailedSink>,
    /// The key of each item. Default: none has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<ItemKey>,
    /// The number of attempts at an item, the first included, before it has failed for good: 1 to 100. Default 3.
    #[serde(default = "attempts")]
    pub attempts: u32,
    /// The time that a worker has for an item, in milliseconds: up to 30 minutes. Default 5 minutes.
    #[serde(default = "timeout_ms")]
    pub timeout_ms: u64,
    /// The type that the task was created as, where that is defined of this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub defined: Option<DefinedAs>,
}

fn attempts() -> u32 {
    3
}

fn timeout_ms() -> u64 {
    300_000
}

/// The source of a task's items.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// These items; at most 10,000.
    List(Vec<Value>),
    /// The whole numbers from `from` to before `to`.
    Range {
        /// The first number. Default 0.
        #[serde(default)]
        from: u64,
        /// The number behind the last one.
        to: u64,
    },
    /// The lines of a file, as strings. The file must be there under the same path in every process that generates, and must not change. The
    /// address of an object, as in `s3://bucket/key`, stands for one that is in a store which these processes use.
    /// One whose name ends with `.gz` or `.zst` is decompressed.
    Lines(PathBuf),
    /// The JSON values of a file, one a line; empty lines are passed over. The file as for [`Lines`](Self::Lines).
    Jsonl(PathBuf),
    /// The records of a file of comma-separated values, as objects or arrays of strings. The file as for [`Lines`](Self::Lines).
    Csv(CsvFile),
    /// The files of a directory and of those in it, or the objects below an address, as objects `{"path", "bytes", "changed"}`, by name.
    Files(PathBuf),
    /// The rows of a query over a connection that these processes have, as objects.
    Sql(SqlQuery),
    /// Those that are fed into the task, until it is closed.
    Items,
}

/// A file of comma-separated values, as a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CsvFile {
    /// The file.
    pub path: PathBuf,
    /// The character between two values: an ASCII character. Default `,`.
    #[serde(default = "comma")]
    pub delimiter: char,
    /// True if the first record has the names of the fields: items are objects then, else arrays. Default true.
    #[serde(default = "header")]
    pub header: bool,
}

impl CsvFile {
    /// Returns a file with a header, whose values have commas between them.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), delimiter: comma(), header: header() }
    }
}

fn comma() -> char {
    ','
}

fn header() -> bool {
    true
}

/// The function that is applied to each item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Function {
    /// The function that remote workers offer under this name.
    Worker(String),
    /// The command that executors allow under this name.
    Exec(String),
    /// A request to a receiver.
    Http(HttpCall),
    /// The digest of the file or object that the item names, by its path or its field `path`, as items of the source `files` do. It must be
    /// there under the same path in every process that executes, or in a store which these use.
    Checksum(DigestKind),
    /// A statement over a connection that executors have.
    Sql(SqlCall),
}

impl Function {
    fn check(&self) -> Result<(), InvalidInput> {
        match self {
            Self::Worker(name) | Self::Exec(name) => check_name(name),
            Self::Http(call) => call.check(),
            Self::Checksum(_) => Ok(()),
            Self::Sql(call) => call.check(),
        }
    }

    /// Returns the member of the type that it makes: the name under which executors offer it. No name has a colon, so no worker can offer
    /// what is not its own.
    pub(crate) fn member(&self) -> String {
        match self {
            Self::Worker(name) => name.clone(),
            Self::Exec(name) => format!("exec:{name}"),
            Self::Http(_) => crate::http::MEMBER.to_owned(),
            Self::Checksum(_) => crate::checksum::MEMBER.to_owned(),
            Self::Sql(call) => call.member(),
        }
    }
}

/// The sink for a task's results.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sink {
    /// They are counted.
    #[default]
    Count,
    /// They are kept in the database, in the order in which they were collected, for as long as the task is.
    Keep,
    /// They are written to a file, one JSON value a line, in the order in which they were collected. It appears, complete, when the
    /// task has ended; until then it is `PATH.part`. The directory must be there under the same path in every process that collects. The
    /// results for an object of a store are kept in the database, and written to it at the end.
    Jsonl(PathBuf),
    /// They are written to a file of comma-separated values. The file as for [`Jsonl`](Self::Jsonl).
    Csv(CsvOut),
    /// They are counted, and a receiver is told at the end.
    Webhook(WebhookOut),
}

/// A file of comma-separated values, as a sink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CsvOut {
    /// The file.
    pub path: PathBuf,
    /// The names of the columns, which are fields of the results. Default: the fields of the first result, or `result` where it is no
    /// object.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
}

/// A receiver that is told of the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookOut {
    /// The address that the request goes to.
    pub url: String,
}

/// The sink for the items that failed for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailedSink {
    /// They are written to a file, a JSON object a line: `{"key", "item", "error", "timed_out"}`. The file as for [`Sink::Jsonl`].
    Jsonl(PathBuf),
}

impl MapParam {
    /// Reads the parameters of a task.
    ///
    /// # Errors
    /// They are no parameters of this type, or a value is out of range.
    pub fn read(param: &TaskParam) -> Result<Self, InvalidInput> {
        Self::from_json(&param.type_param)
    }

    /// Reads the parameters, as JSON has them.
    pub(crate) fn from_json(param: &Value) -> Result<Self, InvalidInput> {
        let read: Self = Self::deserialize(param).map_err(|error| {
            InvalidInput::TypeParam(format!(
                "the parameters of map cannot be used: {error}; they are {{\"source\", \"function\", \"sink\", \"failed\", \"key\", \"attempts\", \"timeout_ms\"}}, \
                 as in {{\"source\": {{\"range\": {{\"to\": 10}}}}, \"function\": {{\"worker\": \"square\"}}}}"
            ))
        })?;
        read.check()?;
        Ok(read)
    }

    fn check(&self) -> Result<(), InvalidInput> {
        let wrong = |what, got: String, allowed: String| Err(InvalidInput::OutOfRange { what, got, allowed });
        self.function.check()?;
        if !(1..=MAX_ATTEMPTS).contains(&self.attempts) {
            return wrong("attempts", self.attempts.to_string(), format!("1 to {MAX_ATTEMPTS}"));
        }
        let longest = MAX_SUBTASK_TIMEOUT.as_millis();
        if self.timeout_ms == 0 || u128::from(self.timeout_ms) > longest {
            return wrong("timeout_ms", self.timeout_ms.to_string(), format!("1 to {longest}"));
        }
        if let Some(key) = self.key.as_ref().filter(|key| !key.is_allowed()) {
            let allowed = "a JSON pointer, as in /customer, or nothing for the whole item".to_owned();
            return wrong("the place of the key", format!("{:?}", key.at), allowed);
        }
        match &self.source {
            Source::List(items) if items.len() > MAX_LIST => {
                wrong("the length of the list", items.len().to_string(), format!("at most {MAX_LIST}"))
            }
            Source::Range { from, to } if from > to => {
                wrong("from", from.to_string(), format!("at most to, which is {to}"))
            }
            Source::Sql(query) => query.check().and_then(|()| self.check_sink()),
            Source::Csv(CsvFile { delimiter, .. })
                if !delimiter.is_ascii() || "\"\r\n".contains(*delimiter) =>
            {
                wrong(
                    "the delimiter",
                    format!("{delimiter:?}"),
                    "an ASCII character, no quote and no end of a line".to_owned(),
                )
            }
            _ => self.check_sink(),
        }
    }

    fn check_sink(&self) -> Result<(), InvalidInput> {
        if let Sink::Webhook(WebhookOut { url }) = &self.sink
            && dtf_webhook::check_url(url).is_err()
        {
            let allowed = "http:// or https:// and a host, without a user".to_owned();
            return Err(InvalidInput::OutOfRange {
                what: "the url of the sink",
                got: format!("{url:?}"),
                allowed,
            });
        }
        self.check_paths()
    }

    fn check_paths(&self) -> Result<(), InvalidInput> {
        let source = match &self.source {
            Source::Lines(path)
            | Source::Jsonl(path)
            | Source::Files(path)
            | Source::Csv(CsvFile { path, .. }) => Some(path),
            Source::List(_) | Source::Range { .. } | Source::Sql(_) | Source::Items => None,
        };
        let sink = match &self.sink {
            Sink::Jsonl(path) | Sink::Csv(CsvOut { path, .. }) => Some(path),
            Sink::Count | Sink::Keep | Sink::Webhook(_) => None,
        };
        let failed = self.failed.as_ref().map(|FailedSink::Jsonl(path)| path);
        let paths = [
            ("the path of the source", source, true),
            ("the path of the sink", sink, true),
            ("the path of failed", failed, false),
        ];
        for (what, path, may_be_object) in paths {
            let Some(path) = path.filter(|path| !path.is_absolute()) else { continue };
            if !may_be_object || stores::address(path).is_none() {
                let or_object = if may_be_object { ", or the address of an object" } else { "" };
                let (got, allowed) = (path.display().to_string(), format!("an absolute path{or_object}"));
                return Err(InvalidInput::OutOfRange { what, got, allowed });
            }
        }
        if failed.is_some() && failed == sink {
            let got = failed.map(|path| path.display().to_string()).unwrap_or_default();
            let allowed = "another path than that of the sink".to_owned();
            return Err(InvalidInput::OutOfRange { what: "the path of failed", got, allowed });
        }
        Ok(())
    }

    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}

/// Checks the name of a function.
///
/// # Errors
/// It is empty, too long, or has a character that is not allowed.
pub fn check_name(name: &str) -> Result<(), InvalidInput> {
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
    if !name.is_empty() && name.chars().count() <= MAX_FUNCTION_CHARS && name.chars().all(allowed) {
        return Ok(());
    }
    Err(InvalidInput::OutOfRange {
        what: "the name of the function",
        got: format!("{name:?}"),
        allowed: format!("1 to {MAX_FUNCTION_CHARS} letters, digits and . _ - /"),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(param: Value) -> Result<MapParam, String> {
        MapParam::read(&TaskParam { type_param: param, ..TaskParam::default() })
            .map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_wrong_is_named() {
        let function = json!({"worker": "f"});
        let good = json!({"source": {"range": {"to": 3}}, "function": function});
        assert!(read(good).is_ok());
        for (param, said) in [
            (json!({}), "missing field `source`"),
            (json!({"source": {"list": []}, "function": {"wrker": "f"}}), "unknown variant `wrker`"),
            (json!({"source": {"list": []}, "function": {"worker": ""}}), "the name of the function is \"\""),
            (
                json!({"source": {"list": []}, "function": {"worker": "a b"}}),
                "the name of the function is \"a b\"",
            ),
            (
                json!({"source": {"range": {"from": 4, "to": 3}}, "function": function}),
                "from is 4; allowed is at most to",
            ),
            (json!({"source": {"lines": "a.txt"}, "function": function}), "an absolute path"),
            (
                json!({"source": {"list": []}, "function": function, "sink": {"jsonl": "a"}}),
                "an absolute path",
            ),
            (
                json!({"source": {"csv": {"path": "/a", "delimiter": "é"}}, "function": function}),
                "the delimiter is 'é'",
            ),
            (
                json!({"source": {"csv": {"path": "a"}}, "function": function}),
                "the path of the source is a; allowed is an absolute path, or the address",
            ),
            (
                json!({"source": {"list": []}, "function": function, "sink": {"csv": {"path": "a"}}}),
                "the path of the sink is a;",
            ),
            (
                json!({"source": {"list": []}, "function": function, "failed": {"jsonl": "a"}}),
                "the path of failed is a;",
            ),
            (
                json!({"source": {"list": []}, "function": function, "sink": {"jsonl": "/a"}, "failed": {"jsonl": "/a"}}),
                "another path than that of the sink",
            ),
            (
                json!({"source": {"list": []}, "function": {"http": {"url": "ftp://a/"}}}),
                "the url is \"ftp://a/\"",
            ),
            (
                json!({"source": {"list": []}, "function": {"http": {"url": "https://{host}/a"}}}),
                "placeholders behind it only",
            ),
            (
                json!({"source": {"list": []}, "function": {"http": {"url": "https://a/", "method": "post"}}}),
                "the method is \"post\"",
            ),
            (
                json!({"source": {"list": []}, "function": {"http": {"url": "https://a/", "headers": {"Webhook-Id": "1"}}}}),
                "a header is \"Webhook-Id\"",
            ),
            (
                json!({"source": {"list": []}, "function": {"http": {"url": "https://a/{id}", "batch": 10}}}),
                "a request for many items is POST \"https://a/{id}\"",
            ),
            (
                json!({"source": {"list": []}, "function": {"http": {"url": "https://a/", "batch": 1001}}}),
                "the number of items of a request is 1001",
            ),
            (json!({"source": {"list": []}, "function": function, "attempts": 0}), "attempts is 0"),
            (
                json!({"source": {"list": []}, "function": function, "key": {"at": "customer"}}),
                "the place of the key is \"customer\"",
            ),
            (
                json!({"source": {"list": []}, "function": function, "timeout_ms": 1_800_001}),
                "timeout_ms is 1800001",
            ),
            (
                json!({"source": {"sql": {"connection": "shop", "query": "SELECT id FROM a WHERE id > ?", "key": "id"}}, "function": function}),
                "the query is one with 1 question marks; allowed is one with 2",
            ),
            (
                json!({"source": {"sql": {"connection": "shop", "query": "? ?", "key": "id", "from": []}}, "function": function}),
                "from is []; allowed is a number or a text",
            ),
            (
                json!({"source": {"list": []}, "function": {"sql": {"connection": "shop", "statement": "DELETE FROM a WHERE id = ?"}}}),
                "the statement is one with 1 question marks; allowed is one with 0",
            ),
            (
                json!({"source": {"list": []}, "function": {"sql": {"connection": "shop", "statement": "?", "values": ["id"]}}}),
                "the place of a value is \"id\"",
            ),
            (json!({"source": {"list": []}, "function": {"checksum": "crc"}}), "unknown variant `crc`"),
            (json!({"source": {"list": []}, "function": function, "more": 1}), "unknown field `more`"),
        ] {
            let refused = read(param.clone()).unwrap_err();
            assert!(refused.contains(said), "{param}: {refused}");
        }
    }
}
