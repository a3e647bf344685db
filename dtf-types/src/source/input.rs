//! The bytes of a file or an object from an offset on; of a compressed one, the offset is that of its contents.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::time::UNIX_EPOCH;

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

use crate::stores::{self, ObjectStores};

/// The state of a file at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Version {
    pub(crate) bytes: u64,
    /// The time of its last change, in nanoseconds since the Unix epoch; of an object, a hash of its tag.
    pub(crate) changed: u128,
}

impl Version {
    fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let changed = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        Ok(Self { bytes: metadata.len(), changed })
    }
}

/// An opened file or object.
pub(super) struct Input {
    origin: Origin,
    contents: Box<dyn Read + Send>,
}

enum Origin {
    File(File),
    /// Each request for a part of it says which version is meant.
    Object(Version),
}

impl Input {
    /// Opens a file, or an object of a store, at an offset of its contents. What is before it in a compressed file is read and passed over.
    pub(super) fn open(path: &Path, offset: u64, stores: Option<&ObjectStores>) -> anyhow::Result<Self> {
        match stores::address(path) {
            Some(address) => Self::open_object(path, address, offset, stores),
            None => Self::open_file(path, offset),
        }
    }

    fn open_object(
        path: &Path,
        address: &str,
        offset: u64,
        stores: Option<&ObjectStores>,
    ) -> anyhow::Result<Self> {
        let compression = Compression::of(path);
        let from = if compression.is_some() { 0 } else { offset };
        let (reader, version) = stores::open(stores, address, from)?;
        let contents: Box<dyn Read + Send> = match compression {
            None => Box::new(reader),
            Some(compression) => compression.behind(path, reader, offset)?,
        };
        Ok(Self { origin: Origin::Object(version), contents })
    }

    fn open_file(path: &Path, offset: u64) -> anyhow::Result<Self> {
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
            Some(compression) => compression.behind(path, reading, offset)?,
        };
        Ok(Self { origin: Origin::File(file), contents })
    }

    pub(super) fn version(&self) -> io::Result<Version> {
        match &self.origin {
            Origin::File(file) => Version::of(file),
            Origin::Object(version) => Ok(*version),
        }
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

    /// Returns the contents behind an offset.
    fn behind(
        self,
        path: &Path,
        reader: impl Read + Send + 'static,
        offset: u64,
    ) -> anyhow::Result<Box<dyn Read + Send>> {
        let mut contents = self.contents(reader)?;
        let passed = io::copy(&mut (&mut contents).take(offset), &mut io::sink())
            .with_context(|| format!("the source {} cannot be read", path.display()))?;
        ensure!(passed == offset, "the source {} has become shorter", path.display());
        Ok(contents)
    }

    #[cfg(feature = "compression")]
    fn contents(self, reader: impl Read + Send + 'static) -> anyhow::Result<Box<dyn Read + Send>> {
        Ok(match self {
            Self::Gzip => Box::new(flate2::read::MultiGzDecoder::new(io::BufReader::new(reader))),
            Self::Zstd => Box::new(zstd::Decoder::new(reader)?),
        })
    }

    #[cfg(not(feature = "compression"))]
    fn contents(self, _: impl Read + Send + 'static) -> anyhow::Result<Box<dyn Read + Send>> {
        let kind = match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        };
        anyhow::bail!(
            "this program was built without {kind}; decompress the source, or build it with --features full"
        )
    }
}
