//! Sources and sinks as they are written on the command line: `range:1000`, `lines:urls.txt`, `jsonl:out.jsonl`; or as JSON.

use std::path::PathBuf;

use dtf_types::{CsvFile, CsvOut, DigestKind, FailedSink, Function, Sink, Source, WebhookOut};
use serde_json::Value;

const SOURCES: &str = "list:A,B or list:JSON, range:TO or range:FROM..TO, lines:FILE, jsonl:FILE, csv:FILE, files:DIR, or the source as JSON";
const SINKS: &str = "count, keep, jsonl:FILE, csv:FILE, webhook:URL, or the sink as JSON";

/// Reads a source.
pub(super) fn source(text: &str) -> Result<Source, String> {
    if text.starts_with('{') {
        return json(text, SOURCES);
    }
    let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
    match kind {
        "list" if rest.trim_start().starts_with('[') => json(rest, SOURCES).map(Source::List),
        "list" => Ok(Source::List(rest.split(',').map(|item| Value::String(item.to_owned())).collect())),
        "range" => range(rest),
        "lines" => file(rest).map(Source::Lines),
        "jsonl" => file(rest).map(Source::Jsonl),
        "csv" => file(rest).map(CsvFile::new).map(Source::Csv),
        "files" => file(rest).map(Source::Files),
        _ => Err(format!("it takes {SOURCES}")),
    }
}

/// Reads a function.
pub(super) fn function(text: &str) -> Result<Function, String> {
    json(text, "the function as JSON, as in {\"sql\": {\"connection\": \"shop\", \"statement\": \"…\"}}")
}

/// Reads a kind of digest.
pub(super) fn digest(text: &str) -> Result<DigestKind, String> {
    match text {
        "sha256" => Ok(DigestKind::Sha256),
        "sha512" => Ok(DigestKind::Sha512),
        _ => Err("it takes sha256 or sha512".to_owned()),
    }
}

/// Reads a sink.
pub(super) fn sink(text: &str) -> Result<Sink, String> {
    if text.starts_with('{') {
        return json(text, SINKS);
    }
    match text.split_once(':').unwrap_or((text, "")) {
        ("count", "") => Ok(Sink::Count),
        ("keep", "") => Ok(Sink::Keep),
        ("jsonl", rest) => file(rest).map(Sink::Jsonl),
        ("webhook", url) => Ok(Sink::Webhook(WebhookOut { url: url.to_owned() })),
        ("csv", rest) => file(rest).map(|path| Sink::Csv(CsvOut { path, columns: Vec::new() })),
        _ => Err(format!("it takes {SINKS}")),
    }
}

/// Reads the sink for failed items.
pub(super) fn failed(text: &str) -> Result<FailedSink, String> {
    match text.split_once(':') {
        Some(("jsonl", rest)) => file(rest).map(FailedSink::Jsonl),
        _ => Err("it takes jsonl:FILE".to_owned()),
    }
}

fn json<T: serde::de::DeserializeOwned>(text: &str, allowed: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| format!("{error}; it takes {allowed}"))
}

fn range(text: &str) -> Result<Source, String> {
    let (from, to) = text.split_once("..").unwrap_or(("0", text));
    match (from.parse(), to.parse()) {
        (Ok(from), Ok(to)) => Ok(Source::Range { from, to }),
        _ => Err("a range is two whole numbers, as in range:0..1000, or the second one only".to_owned()),
    }
}

/// A path as every process can read it, wherever it was started.
fn file(path: &str) -> Result<PathBuf, String> {
    match path {
        "-" => Err("standard input cannot be read again after a failure; name a file".to_owned()),
        "" => Err("the name of the file is missing".to_owned()),
        address if address.contains("://") => Ok(address.into()),
        path => std::path::absolute(path).map_err(|error| format!("{path}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sources_and_sinks_are_short_or_json() {
        let strings = |items: &[&str]| Source::List(items.iter().map(|item| json!(item)).collect());
        let here = std::env::current_dir().unwrap();
        for (text, expected) in [
            ("list:a,b c", strings(&["a", "b c"])),
            (r#"list:[1, "x"]"#, Source::List(vec![json!(1), json!("x")])),
            ("range:7", Source::Range { from: 0, to: 7 }),
            ("range:3..7", Source::Range { from: 3, to: 7 }),
            ("lines:in/a:b.txt", Source::Lines(here.join("in/a:b.txt"))),
            ("jsonl:/in.jsonl", Source::Jsonl("/in.jsonl".into())),
            ("files:s3://bucket/in", Source::Files("s3://bucket/in".into())),
            ("csv:/in.csv.gz", Source::Csv(CsvFile::new("/in.csv.gz"))),
            (r#"{"range": {"to": 2}}"#, Source::Range { from: 0, to: 2 }),
        ] {
            assert_eq!(source(text), Ok(expected), "{text}");
        }
        for (text, said) in [
            ("", "it takes list:A,B"),
            ("file:x", "it takes list:A,B"),
            ("range:", "two whole numbers"),
            ("range:1..x", "two whole numbers"),
            ("lines:-", "standard input"),
            ("lines:", "missing"),
            ("list:[1", "it takes list:A,B"),
            ("{}", "it takes list:A,B"),
        ] {
            let refused = source(text).unwrap_err();
            assert!(refused.contains(said), "{text}: {refused}");
        }
        assert_eq!(sink("count"), Ok(Sink::Count));
        assert_eq!(sink("keep"), Ok(Sink::Keep));
        assert_eq!(sink("jsonl:out"), Ok(Sink::Jsonl(here.join("out"))));
        assert_eq!(failed("jsonl:f"), Ok(FailedSink::Jsonl(here.join("f"))));
        assert!(failed("csv:f").is_err());
        assert_eq!(sink(r#"{"jsonl": "/o"}"#), Ok(Sink::Jsonl("/o".into())));
        for text in ["", "keep:x", "csv", "jsonl:-", r#"{"x": 1}"#] {
            assert!(sink(text).is_err(), "{text}");
        }
    }
}
