//! The bytes of a file from an offset on; of a compressed one, the offset is that of its contents.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::time::UNIX_EPOCH;

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

/// The state of a file at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Version {
    bytes: u64,
    /// The time of its last change, in nanoseconds since the Unix epoch.
    changed: u128,
}

impl Version {
    fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let changed = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        Ok(Self { bytes: metadata.len(), changed })
    }
}

/// An opened file.
pub(super) struct Input {
    file: File,
    contents: Box<dyn Read + Send>,
}

impl Input {
    /// Opens a file at an offset of its contents. What is before it in a compressed file is read and passed over.
    pub(super) fn open(path: &Path, offset: u64) -> anyhow::Result<Self> {
        let open = || -> io::Result<_> {
            let file = File::open(path)?;
            Ok((file.metadata()?.is_file(), file.try_clone()?, file))
        };
        let (is_file, mut reading, file) =
            open().with_context(|| format!("the source {} cannot be opened", path.display()))?;
        ensure!(is_file, "the source {} is no file", path.display());
        let contents: Box<dyn Read + Send> = match Compression::of(path) {
            None => {
                reading.seek(SeekFrom::Start(offset))?;
                Box::new(reading)
            }
            Some(compression) => {
                let mut contents = compression.contents(reading)?;
                let passed = io::copy(&mut (&mut contents).take(offset), &mut io::sink())
                    .with_context(|| format!("the source {} cannot be read", path.display()))?;
                ensure!(passed == offset, "the source {} has become shorter", path.display());
                contents
            }
        };
        Ok(Self { file, contents })
    }

    pub(super) fn version(&self) -> io::Result<Version> {
        Version::of(&self.file)
    }
}

impl Read for Input {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.contents.read(to)
    }
}

#[derive(Clone, Copy)]
enum Compression {
    Gzip,
    Zstd,
}

impl Compression {
    /// Returns that of a file, which its name says.
    fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "gz" => Some(Self::Gzip),
            "zst" => Some(Self::Zstd),
            _ => None,
        }
    }

    #[cfg(feature = "compression")]
    fn contents(self, file: File) -> anyhow::Result<Box<dyn Read + Send>> {
        Ok(match self {
            Self::Gzip => Box::new(flate2::read::MultiGzDecoder::new(io::BufReader::new(file))),
            Self::Zstd => Box::new(zstd::Decoder::new(file)?),
        })
    }

    #[cfg(not(feature = "compression"))]
    fn contents(self, _: File) -> anyhow::Result<Box<dyn Read + Send>> {
        let kind = match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        };
        anyhow::bail!(
            "this program was built without {kind}; decompress the source, or build it with --features full"
        )
    }
}
