//! FILE: where the manifest goes, and how it appears there complete or not at all.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use tempfile::NamedTempFile;

use super::super::{plain, shown};

/// The beginning of an unfinished manifest's name.
pub(super) const UNFINISHED: &str = ".dtf-manifest-";
/// The end of the name of a manifest's index.
const INDEX: &str = ".dtf-index";

/// A file to be made or replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// The path, without symlinks in its last step.
    path: PathBuf,
    /// The directory that it is in.
    parent: PathBuf,
    /// Its name there.
    name: OsString,
    /// Permissions and owner of the file that is there already.
    was: Option<Was>,
}

/// The owner and the mode of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Was {
    mode: u32,
    user: u32,
    group: u32,
}

impl Target {
    /// Looks at what is there. Makes nothing.
    ///
    /// # Errors
    /// Why the file cannot be made, in one line.
    pub(super) fn resolve(out: &Path) -> Result<Self, String> {
        let path = followed(out)?;
        let wrong = |why: &str| format!("{}: {why}", shown(out));
        let was = match fs::symlink_metadata(&path) {
            Ok(there) if there.is_dir() => return Err(wrong("is a directory; FILE must be a file")),
            Ok(there) if !there.is_file() => {
                return Err(wrong("is no regular file; leave --out away to write to standard output"));
            }
            Ok(there) => Some(Was { mode: there.mode() & 0o7777, user: there.uid(), group: there.gid() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(wrong(&plain(&error))),
        };
        let name = match path.file_name() {
            Some(name) if !path.as_os_str().as_bytes().ends_with(b"/") => name.to_owned(),
            _ => return Err(wrong("is a directory's name; FILE must be a file's")),
        };
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let unusable = |why: &str| format!("{}: its directory {why}", shown(out));
        if !parent.is_dir() {
            return Err(unusable("does not exist; FILE can only be made in one that does"));
        }
        access(&parent, Access::WRITE_OK | Access::EXEC_OK)
            .map_err(|error| unusable(&format!("is not writable ({})", plain(&error.into()))))?;
        Ok(Self { path, parent, name, was })
    }

    /// The directory that it is in.
    pub(super) fn parent(&self) -> &Path {
        &self.parent
    }

    /// The place of the manifest's index: beside it.
    pub(super) fn index(&self) -> Self {
        let name = indexed(&self.name);
        Self { path: self.parent.join(&name), name, ..self.clone() }
    }

    /// The path, without symlinks in its last step.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Lets `fill` write the file beside its place, and puts it there when all of it is on disk.
    pub(super) fn write<T>(&self, fill: impl FnOnce(&mut File) -> io::Result<T>) -> io::Result<T> {
        let mut beside = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(&self.parent)?;
        let filled = fill(beside.as_file_mut())?;
        self.put_in_place(beside)?;
        Ok(filled)
    }

    fn put_in_place(&self, mut beside: NamedTempFile) -> io::Result<()> {
        beside.flush()?;
        if let Some(was) = self.was {
            keep_owner(beside.as_file(), was)?;
            // Afterwards: a change of owner takes some permissions away.
            beside.as_file().set_permissions(Permissions::from_mode(was.mode))?;
        }
        beside.as_file().sync_all()?;
        beside.persist(&self.path).map_err(|error| error.error)?;
        File::open(&self.parent)?.sync_all()
    }

    /// Returns the entries that a walk shall pass over: the file itself, its index, and unfinished ones
    /// beside it.
    pub(super) fn to_skip(&self) -> io::Result<Skip> {
        let parent = fs::metadata(&self.parent)?;
        Ok(Skip { directory: (parent.dev(), parent.ino()), name: self.name.clone() })
    }
}

/// Gives a file the owner and the group that it had, as far as this process may: only root may give files away.
fn keep_owner(file: &File, was: Was) -> io::Result<()> {
    let is = file.metadata()?;
    let not_permitted = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    for (user, group) in [(Some(was.user), None), (None, Some(was.group))] {
        if user.is_none_or(|user| user == is.uid()) && group.is_none_or(|group| group == is.gid()) {
            continue;
        }
        match fchown(file, user, group) {
            Err(error) if !not_permitted(&error) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// The path itself, or what it leads to where it is a symlink.
fn followed(out: &Path) -> Result<PathBuf, String> {
    match fs::symlink_metadata(out) {
        Ok(there) if there.is_symlink() => fs::canonicalize(out).map_err(|error| {
            format!("{}: is a symlink that leads to no file ({})", shown(out), plain(&error))
        }),
        _ => Ok(out.to_owned()),
    }
}

/// The entries of one directory that belong to the manifest in the making.
#[derive(Clone, Debug)]
pub(super) struct Skip {
    directory: (u64, u64),
    name: OsString,
}

impl Skip {
    /// Returns true if this is the directory.
    pub(super) fn is_in(&self, directory: &Path) -> io::Result<bool> {
        let found = fs::metadata(directory)?;
        Ok((found.dev(), found.ino()) == self.directory)
    }

    /// Returns true if it has this entry.
    pub(super) fn has(&self, name: &OsStr) -> bool {
        name == self.name || name == indexed(&self.name) || name.as_bytes().starts_with(UNFINISHED.as_bytes())
    }
}

/// The name of the index of a manifest with this name.
fn indexed(manifest: &OsStr) -> OsString {
    let mut name = manifest.to_owned();
    name.push(INDEX);
    name
}
