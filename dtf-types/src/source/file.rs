//! The lines of a file, as strings or as JSON values. The position is the offset of the next line, and the size and time of the file
//! that it is an offset of: a file that has changed is refused, as its lines would be others.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context, bail, ensure};
use async_trait::async_trait;
use bytes::Bytes;
use dtf_model::plugin::{Generated, MAX_BODY_BYTES, NewSubtask, TaskGenerator};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The most bytes of a batch.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Lines,
    Jsonl,
}

/// The state of a file at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Version {
    bytes: u64,
    /// The time of its last change, in nanoseconds since the Unix epoch.
    changed: u128,
}

impl Version {
    fn of(file: &File) -> std::io::Result<Self> {
        let metadata = file.metadata()?;
        let changed = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        Ok(Self { bytes: metadata.len(), changed })
    }
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
    opened: Option<(BufReader<File>, Position)>,
}

impl FileSource {
    pub(super) fn lines(path: PathBuf) -> Self {
        Self { path, format: Format::Lines, opened: None }
    }

    pub(super) fn jsonl(path: PathBuf) -> Self {
        Self { path, format: Format::Jsonl, opened: None }
    }

    fn open(path: &Path, saved: Option<Position>) -> anyhow::Result<(BufReader<File>, Position)> {
        let file =
            File::open(path).with_context(|| format!("the source {} cannot be opened", path.display()))?;
        ensure!(file.metadata()?.is_file(), "the source {} is no file", path.display());
        let version = Version::of(&file)?;
        let position = saved.unwrap_or(Position { offset: 0, lines: 0, version });
        let mut reader = BufReader::new(file);
        reader.seek(SeekFrom::Start(position.offset))?;
        Ok((reader, position))
    }
}

#[async_trait]
impl TaskGenerator for FileSource {
    async fn begin(&mut self, saved: Option<Bytes>) -> anyhow::Result<()> {
        let saved = saved.map(|saved| serde_json::from_slice(&saved)).transpose()?;
        self.opened = Some(Self::open(&self.path, saved)?);
        Ok(())
    }

    async fn next_subtasks(&mut self, most: usize) -> anyhow::Result<Generated> {
        let path = &self.path;
        let (reader, position) = self.opened.as_mut().context("the source was not begun")?;
        let (mut subtasks, mut bytes, mut finished) = (Vec::new(), 0, false);
        while subtasks.len() < most && bytes < BATCH_BYTES {
            let Some((line, length)) = next_line(reader).with_context(|| {
                format!("line {} of {} cannot be read", position.lines + 1, path.display())
            })?
            else {
                finished = true;
                break;
            };
            position.lines += 1;
            position.offset += length;
            bytes += line.len();
            let item = item(self.format, &line)
                .with_context(|| format!("line {} of {} cannot be used", position.lines, path.display()))?;
            subtasks.extend(item.map(NewSubtask::new));
        }
        let version = Version::of(reader.get_ref())?;
        ensure!(
            version == position.version,
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

/// Returns the next line without its end, and the bytes that it takes in the file; none at the end of the file.
fn next_line(reader: &mut BufReader<File>) -> anyhow::Result<Option<(Vec<u8>, u64)>> {
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
    Ok(Some((line, length as u64)))
}

/// Returns the item of a line, as JSON; none of an empty line of JSON values.
fn item(format: Format, line: &[u8]) -> anyhow::Result<Option<Bytes>> {
    let Ok(line) = str::from_utf8(line) else { bail!("it is no UTF-8") };
    match format {
        Format::Lines => Ok(Some(serde_json::to_vec(line)?.into())),
        Format::Jsonl if line.trim().is_empty() => Ok(None),
        Format::Jsonl => {
            let value: &RawValue = serde_json::from_str(line).context("it is no JSON value")?;
            Ok(Some(Bytes::copy_from_slice(value.get().as_bytes())))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    async fn all(mut source: FileSource, most: usize) -> anyhow::Result<Vec<String>> {
        let (path, format) = (source.path.clone(), source.format);
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
            source = FileSource { path: path.clone(), format, opened: None };
            source.begin(saved).await?;
        }
    }

    #[tokio::test]
    async fn every_line_is_an_item_wherever_generating_stops() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("items");
        fs::write(&path, "a\n\n\"b\"\r\nlast, ü").unwrap();
        for most in 1..6 {
            let items = all(FileSource::lines(path.clone()), most).await.unwrap();
            assert_eq!(items, ["\"a\"", "\"\"", "\"\\\"b\\\"\"", "\"last, ü\""]);
        }
        fs::write(&path, " {\"a\": 1} \n\n[2]\nnull\n").unwrap();
        for most in 1..6 {
            assert_eq!(
                all(FileSource::jsonl(path.clone()), most).await.unwrap(),
                ["{\"a\": 1}", "[2]", "null"]
            );
        }
        fs::write(&path, "").unwrap();
        assert!(all(FileSource::lines(path), 1).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn what_is_wrong_with_a_file_is_said_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("items");
        let refused = |format: fn(PathBuf) -> FileSource| {
            let source = format(path.clone());
            async { format!("{:#}", all(source, 1).await.unwrap_err()) }
        };
        assert!(refused(FileSource::lines).await.contains("cannot be opened"));
        fs::write(&path, "1\n{\n").unwrap();
        assert!(refused(FileSource::jsonl).await.contains("line 2 of"));
        fs::write(&path, b"a\n\xff\n").unwrap();
        assert!(refused(FileSource::lines).await.contains("it is no UTF-8"));
        fs::write(&path, vec![b'x'; MAX_BODY_BYTES + 1]).unwrap();
        assert!(refused(FileSource::lines).await.contains("more than 1048576 bytes"));
    }

    #[tokio::test]
    async fn a_file_that_changes_while_it_is_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("items");
        fs::write(&path, "1\n2\n3\n").unwrap();
        let mut source = FileSource::jsonl(path.clone());
        source.begin(None).await.unwrap();
        source.next_subtasks(1).await.unwrap();
        let saved = source.save_status().unwrap();
        fs::write(&path, "1\n2\n3\n4\n").unwrap();
        let mut again = FileSource::jsonl(path);
        again.begin(saved).await.unwrap();
        assert!(again.next_subtasks(1).await.unwrap_err().to_string().contains("has changed"));
    }
}
