//! Small disks for the servers, which can be filled.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// The variable that says that this process was started with mounts of its own.
pub const OWN_MOUNTS: &str = "SOAK_OWN_MOUNTS";

/// The disk of a server: a file system in memory.
pub(super) struct Disk {
    place: TempDir,
}

impl Disk {
    /// A disk of so many MiB; none where this process has no mounts of its own, which end with it, or may not mount.
    pub(super) fn mount(mebibytes: u64) -> Option<Self> {
        if !has_own_mounts() {
            return None;
        }
        let disk = Self { place: tempfile::tempdir().unwrap() };
        let size = format!("size={mebibytes}m,mode=0700");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "soak"]).arg(disk.path()).status();
        mounted.is_ok_and(|status| status.success()).then_some(disk)
    }

    pub(super) fn path(&self) -> &Path {
        self.place.path()
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }

    /// Fills it to its last page.
    pub(super) fn fill(&self) {
        let mut filler = File::create(self.filler()).unwrap();
        for size in [1 << 20, 4096] {
            let zeros = vec![0; size];
            loop {
                match filler.write(&zeros) {
                    Ok(0) => break,
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }

    /// Makes room again.
    pub(super) fn free(&self) {
        fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Where it is not mounted, it is a directory and nothing else.
        drop(Command::new("umount").arg(self.path()).output());
    }
}

/// Returns true if mounts of this process are seen by no process that is not its child, so that they end with it.
fn has_own_mounts() -> bool {
    std::env::var_os(OWN_MOUNTS).is_some()
}
