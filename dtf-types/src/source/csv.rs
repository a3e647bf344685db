//! The records of a file of comma-separated values (RFC 4180): each is an object whose fields are named by the first record, or an array
//! where there is no such record. All values are strings.

use std::io::{self, Read};
use std::path::Path;

use anyhow::{bail, ensure};
use csv::{ByteRecord, Reader, ReaderBuilder};
use dtf_model::plugin::MAX_BODY_BYTES;

use super::input::Input;
use super::records::Taken;
use crate::stores::ObjectStores;

/// The bytes that the reader reads ahead.
const BUFFER: usize = 64 * 1024;

/// The reader of records.
pub(super) struct CsvRecords {
    reader: Reader<Metered>,
    /// The names of the fields, as JSON; none where records have none.
    names: Option<Vec<String>>,
    record: ByteRecord,
}

impl CsvRecords {
    /// Opens a file at the offset of a record, or at its beginning.
    pub(super) fn open(
        path: &Path,
        offset: u64,
        delimiter: u8,
        header: bool,
        stores: Option<&ObjectStores>,
    ) -> anyhow::Result<Self> {
        let reader = |offset| -> anyhow::Result<_> {
            let mut builder = ReaderBuilder::new();
            builder.has_headers(false).flexible(true).delimiter(delimiter).buffer_capacity(BUFFER);
            Ok(builder.from_reader(Metered { input: Input::open(path, offset, stores)?, left: 0 }))
        };
        let mut records = Self { reader: reader(0)?, names: None, record: ByteRecord::new() };
        if header && records.read()? {
            let mut names = Vec::with_capacity(records.record.len());
            for name in &records.record {
                let Ok(name) = str::from_utf8(name) else { bail!("the header is no UTF-8") };
                let name = serde_json::to_string(name)?;
                ensure!(!names.contains(&name), "the header names {name} twice");
                names.push(name);
            }
            records.names = Some(names);
        }
        if offset > 0 {
            records.reader = reader(offset)?;
        }
        Ok(records)
    }

    /// The length of what was read of this reader so far, and the number of its lines.
    fn position(&self) -> (u64, u64) {
        let position = self.reader.position();
        (position.byte(), position.line())
    }

    fn read(&mut self) -> anyhow::Result<bool> {
        self.reader.get_mut().left = 2 * MAX_BODY_BYTES + BUFFER;
        Ok(self.reader.read_byte_record(&mut self.record)?)
    }

    /// Returns the length of the header, and the number of its lines, right behind it.
    pub(super) fn header(&self) -> (u64, u64) {
        let (bytes, line) = self.position();
        (bytes, line - 1)
    }

    pub(super) fn next(&mut self) -> anyhow::Result<Option<Taken>> {
        let (before, first) = self.position();
        if !self.read()? {
            return Ok(None);
        }
        let (after, last) = self.position();
        let item = self.item()?;
        ensure!(item.len() <= MAX_BODY_BYTES, "it has more than {MAX_BODY_BYTES} bytes");
        Ok(Some(Taken { item: Some(item.into()), bytes: after - before, lines: last - first }))
    }

    /// Returns the record as JSON.
    fn item(&self) -> anyhow::Result<Vec<u8>> {
        let mut item = Vec::with_capacity(2 * self.record.as_slice().len());
        if let Some(names) = &self.names {
            let (fields, named) = (self.record.len(), names.len());
            ensure!(fields == named, "it has {fields} fields, and the header has {named}");
        }
        item.push(if self.names.is_some() { b'{' } else { b'[' });
        for (index, field) in self.record.iter().enumerate() {
            if index > 0 {
                item.push(b',');
            }
            if let Some(names) = &self.names {
                item.extend_from_slice(names[index].as_bytes());
                item.push(b':');
            }
            let Ok(field) = str::from_utf8(field) else { bail!("it is no UTF-8") };
            serde_json::to_writer(&mut item, field)?;
        }
        item.push(if self.names.is_some() { b'}' } else { b']' });
        Ok(item)
    }

    pub(super) fn input(&self) -> &Input {
        &self.reader.get_ref().input
    }
}

/// An input of which only so much is read before it is asked for more: a quote that is never closed makes the rest of the file one record.
struct Metered {
    input: Input,
    left: usize,
}

impl Read for Metered {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::Error::other(format!(
                "a record has more than {MAX_BODY_BYTES} bytes; is a quote not closed?"
            )));
        }
        let most = to.len().min(self.left);
        let read = self.input.read(&mut to[..most])?;
        self.left -= read;
        Ok(read)
    }
}
