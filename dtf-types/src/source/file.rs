//! The items of a file. The position is the offset of the next one, and the size and time of the file that it is an offset of: a file that
//! has changed is refused, as its items would be others.

use std::io::BufReader;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use async_trait::async_trait;
use bytes::Bytes;
use dtf_model::plugin::{Generated, NewSubtask, TaskGenerator};
use serde::{Deserialize, Serialize};

use super::csv::CsvRecords;
use super::input::{Input, Version};
use super::records::Records;
use crate::stores::ObjectStores;

/// The most bytes of a batch.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// The format of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Lines,
    Jsonl,
    Csv { delimiter: u8, header: bool },
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Position {
    offset: u64,
    /// The number of lines before the offset.
    lines: u64,
    version: Version,
}

pub(super) struct FileSource {
    path: PathBuf,
    format: Format,
    stores: Option<ObjectStores>,
    opened: Option<(Records, Position)>,
}

impl FileSource {
    pub(super) fn new(path: PathBuf, format: Format, stores: Option<ObjectStores>) -> Self {
        Self { path, format, stores, opened: None }
    }

    fn open(&self, saved: Option<Position>) -> anyhow::Result<(Records, Position)> {
        let (path, stores) = (&self.path, self.stores.as_ref());
        let offset = saved.map_or(0, |saved| saved.offset);
        let mut begin = (0, 0);
        let records = match self.format {
            Format::Lines => Records::Lines(BufReader::new(Input::open(path, offset, stores)?)),
            Format::Jsonl => Records::Jsonl(BufReader::new(Input::open(path, offset, stores)?)),
            Format::Csv { delimiter, header } => {
                let records = CsvRecords::open(path, offset, delimiter, header, stores)
                    .with_context(|| format!("the source {} cannot be used", path.display()))?;
                begin = records.header();
                Records::Csv(records)
            }
        };
        let version = records.input().version()?;
        let position = saved.unwrap_or(Position { offset: begin.0, lines: begin.1, version });
        Ok((records, position))
    }
}

#[async_trait]
impl TaskGenerator for FileSource {
    async fn begin(&mut self, saved: Option<Bytes>) -> anyhow::Result<()> {
        let saved = saved.map(|saved| serde_json::from_slice(&saved)).transpose()?;
        self.opened = Some(self.open(saved)?);
        Ok(())
    }

    async fn next_subtasks(&mut self, most: usize) -> anyhow::Result<Generated> {
        let path = &self.path;
        let (records, position) = self.opened.as_mut().context("the source was not begun")?;
        let (mut subtasks, mut bytes, mut finished) = (Vec::new(), 0, false);
        while subtasks.len() < most && bytes < BATCH_BYTES {
            let line = position.lines + 1;
            let taken = records.next();
            let Some(taken) =
                taken.with_context(|| format!("line {line} of {} cannot be used", path.display()))?
            else {
                finished = true;
                break;
            };
            position.lines += taken.lines;
            position.offset += taken.bytes;
            bytes += taken.item.as_ref().map_or(0, Bytes::len);
            subtasks.extend(taken.item.map(NewSubtask::new));
        }
        ensure!(
            records.input().version()? == position.version,
            "the source {} has changed since the task began; create the task again",
            path.display()
        );
        Ok(Generated { subtasks, finished })
    }

    fn save_status(&self) -> anyhow::Result<Option<Bytes>> {
        let (_, position) = self.opened.as_ref().context("the source was not begun")?;
        Ok(Some(serde_json::to_vec(position)?.into()))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use dtf_model::plugin::MAX_BODY_BYTES;

    use super::*;

    const CSV: Format = Format::Csv { delimiter: b',', header: true };

    fn lines(path: &std::path::Path) -> FileSource {
        FileSource::new(path.to_owned(), Format::Lines, None)
    }

    fn jsonl(path: &std::path::Path) -> FileSource {
        FileSource::new(path.to_owned(), Format::Jsonl, None)
    }

    fn csv(path: &std::path::Path) -> FileSource {
        FileSource::new(path.to_owned(), CSV, None)
    }

    async fn all(mut source: FileSource, most: usize) -> anyhow::Result<Vec<String>> {
        let (path, format, stores) = (source.path.clone(), source.format, source.stores.clone());
        source.begin(None).await?;
        let mut items = Vec::new();
        loop {
            let batch = source.next_subtasks(most).await?;
            items.extend(batch.subtasks.iter().map(|item| String::from_utf8(item.body.to_vec()).unwrap()));
            if batch.finished {
                return Ok(items);
            }
            // As after a crash: from the saved position, with nothing else.
            let saved = source.save_status()?;
            source = FileSource { path: path.clone(), format, stores: stores.clone(), opened: None };
            source.begin(saved).await?;
        }
    }

    #[tokio::test]
    async fn every_line_is_an_item_wherever_generating_stops() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("items");
        fs::write(&path, "a\n\n\"b\"\r\nlast, ü").unwrap();
        for most in 1..6 {
            let items = all(lines(&path), most).await.unwrap();
            assert_eq!(items, ["\"a\"", "\"\"", "\"\\\"b\\\"\"", "\"last, ü\""]);
        }
        fs::write(&path, " {\"a\": 1} \n\n[2]\nnull\n").unwrap();
        for most in 1..6 {
            assert_eq!(all(jsonl(&path), most).await.unwrap(), ["{\"a\": 1}", "[2]", "null"]);
        }
        fs::write(&path, "").unwrap();
        assert!(all(lines(&path), 1).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn what_is_wrong_with_a_file_is_said_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("items");
        let refused = |format: fn(&std::path::Path) -> FileSource| {
            let source = format(&path);
            async { format!("{:#}", all(source, 1).await.unwrap_err()) }
        };
        assert!(refused(lines).await.contains("cannot be opened"));
        fs::write(&path, "1\n{\n").unwrap();
        assert!(refused(jsonl).await.contains("line 2 of"));
        fs::write(&path, b"a\n\xff\n").unwrap();
        assert!(refused(lines).await.contains("it is no UTF-8"));
        fs::write(&path, vec![b'x'; MAX_BODY_BYTES + 1]).unwrap();
        assert!(refused(lines).await.contains("more than 1048576 bytes"));
    }

    #[tokio::test]
    async fn a_file_that_changes_while_it_is_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("items");
        fs::write(&path, "1\n2\n3\n").unwrap();
        let mut source = jsonl(&path);
        source.begin(None).await.unwrap();
        source.next_subtasks(1).await.unwrap();
        let saved = source.save_status().unwrap();
        fs::write(&path, "1\n2\n3\n4\n").unwrap();
        let mut again = jsonl(&path);
        again.begin(saved).await.unwrap();
        assert!(again.next_subtasks(1).await.unwrap_err().to_string().contains("has changed"));
    }

    #[tokio::test]
    async fn a_record_is_an_object_or_an_array_wherever_generating_stops() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("items.csv");
        let text = "\u{feff}name,\"size, in \"\"mm\"\"\"\r\na,1\r\n\r\n\"b\nc\",\"2,5\"\n\"\",ü";
        fs::write(&path, text).unwrap();
        let size = r#""size, in \"mm\"""#;
        let objects = [("a", "1"), ("b\\nc", "2,5"), ("", "ü")]
            .map(|(name, value)| format!(r#"{{"name":"{name}",{size}:"{value}"}}"#));
        for most in 1..5 {
            assert_eq!(all(csv(&path), most).await.unwrap(), objects);
        }
        fs::write(&path, "a;b\nc\n").unwrap();
        let arrays = Format::Csv { delimiter: b';', header: false };
        for most in 1..3 {
            let items = all(FileSource::new(path.clone(), arrays, None), most).await.unwrap();
            assert_eq!(items, [r#"["a","b"]"#, r#"["c"]"#]);
        }
        fs::write(&path, "").unwrap();
        assert!(all(csv(&path), 1).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn what_is_wrong_with_a_record_is_said_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("items.csv");
        let long = format!("a\n1\n\"{}", "x\n".repeat(2 * MAX_BODY_BYTES));
        for (text, said) in [
            ("a,b\n\"1\n\",2\n3\n", "line 4 of"),
            ("a,b\n\"1\n\",2\n3\n", "it has 1 fields, and the header has 2"),
            ("a,a\n1,2\n", "names \"a\" twice"),
            (&long, "is a quote not closed?"),
        ] {
            fs::write(&path, text).unwrap();
            let refused = format!("{:#}", all(csv(&path), 1).await.unwrap_err());
            assert!(refused.contains(said), "{refused}");
        }
    }

    #[cfg(feature = "compression")]
    #[tokio::test]
    async fn a_compressed_file_has_the_items_of_its_contents() {
        use std::io::Write;
        let dir = tempfile::tempdir().unwrap();
        let texts = ["1\n2", "2\n", "3\n4\n"];
        let gzip = dir.path().join("items.jsonl.gz");
        let zstd = dir.path().join("items.jsonl.zst");
        // Of several parts each, as `cat` makes of several files.
        let mut parts = (Vec::new(), Vec::new());
        for text in texts {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(text.as_bytes()).unwrap();
            parts.0.extend(encoder.finish().unwrap());
            parts.1.extend(zstd::encode_all(text.as_bytes(), 1).unwrap());
        }
        fs::write(&gzip, &parts.0).unwrap();
        fs::write(&zstd, &parts.1).unwrap();
        for path in [&gzip, &zstd] {
            for most in 1..5 {
                assert_eq!(all(jsonl(path), most).await.unwrap(), ["1", "22", "3", "4"]);
            }
        }
        fs::write(&gzip, &parts.0[..parts.0.len() - 12]).unwrap();
        assert!(all(jsonl(&gzip), 1).await.is_err(), "it was cut");
    }

    /// The reader blocks its thread; the store is asked by another one.
    #[cfg(feature = "object-stores")]
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_object_has_the_items_of_a_file_and_another_one_under_its_name_is_refused() {
        use std::sync::Arc;

        use object_store::memory::InMemory;
        use object_store::{ObjectStore, ObjectStoreExt};

        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let stores = ObjectStores::of("s3://bucket/", store.clone());
        let large = (0..200_000)
            .map(|n| format!("{{\"n\":{n},\"text\":\"{}\"}}\n", "x".repeat(40)))
            .collect::<String>();
        store.put(&"a.jsonl".into(), large.clone().into()).await.unwrap();
        let source = || FileSource::new("s3://bucket/a.jsonl".into(), Format::Jsonl, Some(stores.clone()));
        let items = all(source(), 70_000).await.unwrap();
        assert!(items.iter().map(String::as_str).eq(large.lines()), "in several requests");
        let mut csv = String::from("name,size\n");
        (0..100).for_each(|n| csv.push_str(&format!("a{n},{n}\n")));
        store.put(&"a.csv".into(), csv.into()).await.unwrap();
        let records =
            all(FileSource::new("s3://bucket/a.csv".into(), CSV, Some(stores.clone())), 7).await.unwrap();
        assert_eq!((records.len(), records[99].as_str()), (100, r#"{"name":"a99","size":"99"}"#));

        let mut first = source();
        first.begin(None).await.unwrap();
        first.next_subtasks(10).await.unwrap();
        let saved = first.save_status().unwrap();
        store.put(&"a.jsonl".into(), large.replace('x', "y").into()).await.unwrap();
        let mut read_on = Ok(());
        while read_on.is_ok() {
            read_on = first.next_subtasks(10_000).await.map(|batch| assert!(!batch.finished));
        }
        assert!(format!("{:#}", read_on.unwrap_err()).contains("has changed"));
        let mut again = source();
        again.begin(saved).await.unwrap();
        assert!(again.next_subtasks(1).await.unwrap_err().to_string().contains("has changed"));
        let mut none = FileSource::new("s3://bucket/none".into(), Format::Lines, Some(stores.clone()));
        assert!(format!("{:#}", none.begin(None).await.unwrap_err()).contains("cannot be opened"));
        let mut no_stores = FileSource::new("s3://bucket/a.jsonl".into(), Format::Lines, None);
        assert!(
            no_stores
                .begin(None)
                .await
                .unwrap_err()
                .to_string()
                .contains("this process uses no object stores")
        );
    }
}
