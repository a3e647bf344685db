//! The clocks of the processes, which can be stepped: their wall clocks go through libfaketime, where it is installed.

use std::fs;
use std::path::{Path, PathBuf};

/// The library's places on Debian and Ubuntu.
const ARCHITECTURES: [&str; 2] = ["x86_64-linux-gnu", "aarch64-linux-gnu"];

/// The wall clock of one process, and of those that take its place.
#[derive(Debug)]
pub(super) struct Clock {
    library: PathBuf,
    /// The file that holds the offset; the library reads it again each second.
    file: PathBuf,
}

impl Clock {
    /// A clock that goes right at first; none where libfaketime is not installed.
    pub(super) fn new(dir: &Path, name: &str) -> Option<Self> {
        let place = |architecture| format!("/usr/lib/{architecture}/faketime/libfaketimeMT.so.1");
        let library = ARCHITECTURES.map(place).map(PathBuf::from).into_iter().find(|path| path.exists())?;
        let clock = Self { library, file: dir.join(format!("clock-{name}")) };
        clock.step(0);
        Some(clock)
    }

    /// Puts the clock ahead of the machine's by so many seconds, or behind it.
    pub(super) fn step(&self, seconds: i64) {
        // Renamed into its place, so that the library never reads half of it.
        let new = self.file.with_extension("new");
        fs::write(&new, format!("{seconds:+}\n")).unwrap();
        fs::rename(new, &self.file).unwrap();
    }

    /// The variables that make a process go by this clock. Its monotonic clocks stay the machine's.
    pub(super) fn settings(&self) -> Vec<(&'static str, String)> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        vec![
            ("LD_PRELOAD", text(&self.library)),
            ("FAKETIME_TIMESTAMP_FILE", text(&self.file)),
            ("FAKETIME_CACHE_DURATION", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
    }
}
