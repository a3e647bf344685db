//! The lock that keeps a database file to one process.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// Holds `FILE.lock` beside a database file, until it is dropped or the process ends.
#[derive(Debug)]
pub(crate) struct FileLock(
    #[expect(dead_code, reason = "held, not used: closing it gives up the lock")] File,
);

/// Locks a database file; gives the file's real path too, as one file may have several names.
pub(crate) fn lock(database: &Path) -> Result<(FileLock, PathBuf), String> {
    let unusable = |error: io::Error| format!("{} cannot be used: {error}", database.display());
    let real = real_path(database).map_err(unusable)?;
    if real.is_dir() {
        return Err(unusable(io::ErrorKind::IsADirectory.into()));
    }
    let mut name = OsString::from(&real);
    name.push(".lock");
    // The file stays when the lock is given up: deleting it would let two processes lock two files of one name.
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&name)
        .map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(in_use(database, &mut file)),
        Err(TryLockError::Error(error)) => return Err(unusable(error)),
    }
    note_holder(&mut file).map_err(unusable)?;
    Ok((FileLock(file), real))
}

fn real_path(database: &Path) -> io::Result<PathBuf> {
    match fs::canonicalize(database) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => return other,
    }
    let name = database.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    let parent = database.parent().filter(|parent| !parent.as_os_str().is_empty());
    Ok(fs::canonicalize(parent.unwrap_or(Path::new(".")))?.join(name))
}

fn note_holder(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn in_use(database: &Path, file: &mut File) -> String {
    let mut holder = String::new();
    let read = file.read_to_string(&mut holder);
    let holder = match holder.trim().parse::<u32>() {
        Ok(pid) if read.is_ok() => format!("process {pid}"),
        _ => "another process".to_owned(),
    };
    format!("{} is in use by {holder}; a database file belongs to one process at a time", database.display())
}
