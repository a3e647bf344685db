//! The items of a file, one after the other.

use std::io::{BufRead, BufReader, Read};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use dtf_model::plugin::MAX_BODY_BYTES;
use serde_json::value::RawValue;

use super::csv::CsvRecords;
use super::input::Input;

/// A stretch of a file.
pub(super) struct Taken {
    /// The item that it is; none of what is passed over.
    pub(super) item: Option<Bytes>,
    /// Its length.
    pub(super) bytes: u64,
    /// The number of its lines.
    pub(super) lines: u64,
}

/// The reader of a file's items.
pub(super) enum Records {
    /// Each line is one, as a string.
    Lines(BufReader<Input>),
    /// Each line is one, as a JSON value; empty lines are passed over.
    Jsonl(BufReader<Input>),
    /// Each record is one.
    Csv(CsvRecords),
}

impl Records {
    /// Returns the next stretch; none at the end of the file.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<Taken>> {
        match self {
            Self::Lines(reader) => line(reader, |line| Ok(Some(serde_json::to_vec(line)?.into()))),
            Self::Jsonl(reader) => line(reader, json),
            Self::Csv(records) => records.next(),
        }
    }

    pub(super) fn input(&self) -> &Input {
        match self {
            Self::Lines(reader) | Self::Jsonl(reader) => reader.get_ref(),
            Self::Csv(records) => records.input(),
        }
    }
}

/// Returns the next line, without its end, as `item` has it.
fn line(
    reader: &mut BufReader<Input>,
    item: impl Fn(&str) -> anyhow::Result<Option<Bytes>>,
) -> anyhow::Result<Option<Taken>> {
    let mut line = Vec::new();
    let length = reader.by_ref().take(MAX_BODY_BYTES as u64 + 2).read_until(b'\n', &mut line)?;
    if length == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    ensure!(line.len() <= MAX_BODY_BYTES, "it has more than {MAX_BODY_BYTES} bytes");
    let Ok(text) = str::from_utf8(&line) else { bail!("it is no UTF-8") };
    Ok(Some(Taken { item: item(text)?, bytes: length as u64, lines: 1 }))
}

fn json(line: &str) -> anyhow::Result<Option<Bytes>> {
    if line.trim().is_empty() {
        return Ok(None);
    }
    let value: &RawValue = serde_json::from_str(line).context("it is no JSON value")?;
    Ok(Some(Bytes::copy_from_slice(value.get().as_bytes())))
}
