//! The task type `checksum`: the SHA-256 of every regular file below a directory, in one manifest.
//!
//! The manifest is byte for byte what `find DIR -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum` prints, so that
//! `sha256sum -c` can check it. Symlinks are not followed, other files than regular ones passed over.
//!
//! - The generator walks DIR and cuts what it finds into batches; the executor hashes a batch; the collector keeps a
//!   sorted set of what was found, spilled to disk where it is large, and writes the manifest at the end. Memory is
//!   bounded in all three, however many files there are and however they are spread over directories.
//! - A file or directory that cannot be read is named on standard error and counted in `failed_items`; the manifest has
//!   the others.
//! - FILE appears complete or not at all. FILE itself is not hashed where it lies below DIR, nor is what a run that was
//!   killed while it wrote FILE may have left beside it, named `.dtf-manifest-…`. Results are spilled beside FILE, or into
//!   the system's directory for temporary files where there is no FILE, to files without names that vanish with the
//!   process.
//! - Nothing of a run outlives its process: a task whose process ended is run again from the start.
//!
//! ```
//! use dtf::tasks::{Console, checksum::Checksum};
//! use dtf_model::{TaskParam, plugin::TaskPlugin};
//!
//! let plugin = Checksum::new(Console::std());
//! let type_param = Checksum::param("/nonexistent".as_ref(), None);
//! let refused = plugin.check(&TaskParam { type_param, ..TaskParam::default() }).unwrap_err();
//! assert_eq!(refused.to_string(), "/nonexistent: No such file or directory; DIR must be a directory that exists");
//! ```

mod collect;
mod execute;
mod generate;
mod line;
mod record;
mod results;
mod sorted;
mod target;
mod walk;

pub use results::Limits;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dtf_model::plugin::{
    TaskCollector, TaskConf, TaskExecutor, TaskGenerator, TaskPlugin, TaskPluginRegistration,
};
use dtf_model::{Invalid, TaskParam, TaskSpec};
use serde::{Deserialize, Serialize};

use self::collect::{AllCollected, ChecksumCollector, Collected};
use self::results::Results;
use self::target::Target;
use super::raw::Raw;
use super::{Console, plain, shown};

const TAKES: &str = "dir (a directory) and out (a file, or null for standard output)";
/// The largest file takes as long as it takes.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);
/// How many batches may wait: at most 16 MiB of paths.
const BACKLOG: u64 = 256;
/// How many tasks that have ended are remembered, should their end be asked for again.
const REMEMBERED: usize = 64;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Param {
    dir: Raw,
    #[serde(default)]
    out: Option<Raw>,
}

impl Param {
    fn read(param: &TaskParam) -> Result<Self, Invalid> {
        super::read_param("checksum", TAKES, &param.type_param)
    }

    fn dir(&self) -> PathBuf {
        self.dir.to_os().into()
    }

    fn out(&self) -> Option<PathBuf> {
        self.out.as_ref().map(|out| out.to_os().into())
    }

    fn target(&self) -> Result<Option<Target>, String> {
        self.out().map(|out| Target::resolve(&out)).transpose()
    }
}

/// The task type `checksum`.
pub struct Checksum {
    console: Console,
    limits: Limits,
    collected: Mutex<AllCollected>,
}

impl Checksum {
    /// The type, with the usual limits. What fails is named on the console's standard error, and a manifest without FILE
    /// goes to its standard output.
    pub fn new(console: Console) -> Self {
        Self::with_limits(console, Limits::default())
    }

    /// The type, with these limits on what its collector takes.
    pub fn with_limits(console: Console, limits: Limits) -> Self {
        Self { console, limits, collected: Mutex::default() }
    }

    /// Under its number and name.
    pub fn registration(self) -> TaskPluginRegistration {
        TaskPluginRegistration {
            task_type: super::CHECKSUM,
            name: "checksum".to_owned(),
            description: "the SHA-256 manifest of a directory tree".to_owned(),
            plugin: Arc::new(self),
        }
    }

    /// The `type_param` of a task: hash what is below `dir`, write the manifest to `out`, or to standard output where
    /// there is none. The paths need not be UTF-8.
    pub fn param(dir: &Path, out: Option<&Path>) -> serde_json::Value {
        serde_json::json!({ "dir": Raw::new(dir), "out": out.map(Raw::new) })
    }

    /// What has been collected of a task, and whether anything had been before.
    fn collected(&self, spec: &TaskSpec, scratch: PathBuf) -> (Arc<Mutex<Collected>>, bool) {
        let mut all = self.collected.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (spec.id, spec.run);
        if let Some(known) = all.get(&key) {
            return (Arc::clone(known), true);
        }
        let ended =
            |one: &Arc<Mutex<Collected>>| one.try_lock().is_ok_and(|one| !matches!(*one, Collected::Open(_)));
        while all.len() >= REMEMBERED
            && let Some(oldest) = all.iter().find(|(_, one)| ended(one)).map(|(key, _)| *key)
        {
            all.remove(&oldest);
        }
        // An earlier run of the task is over, whatever became of it.
        all.retain(|(task, run), _| *task != spec.id || *run > spec.run);
        let fresh = Arc::new(Mutex::new(Collected::Open(Results::new(scratch, self.limits))));
        all.insert(key, Arc::clone(&fresh));
        (fresh, false)
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checksum").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl TaskPlugin for Checksum {
    fn conf(&self) -> TaskConf {
        TaskConf {
            task_type_timeout: LONGEST,
            subtask_timeout: LONGEST,
            // What can fail fails as an item of its batch, and would fail again.
            max_attempts: 1,
            backlog: BACKLOG,
            ..TaskConf::default()
        }
    }

    fn check(&self, param: &TaskParam) -> Result<(), Invalid> {
        let param = Param::read(param)?;
        check_dir(&param.dir()).and_then(|()| param.target().map(drop)).map_err(Invalid::TypeParam)
    }

    fn generator(&self, spec: &TaskSpec) -> anyhow::Result<Box<dyn TaskGenerator>> {
        let param = Param::read(&spec.param)?;
        let target = param.target().map_err(anyhow::Error::msg)?;
        let skip = target.map(|target| target.to_skip()).transpose()?;
        Ok(Box::new(generate::ChecksumGenerator::new(&param.dir(), skip)))
    }

    fn executor(&self, _spec: &TaskSpec) -> anyhow::Result<Arc<dyn TaskExecutor>> {
        Ok(Arc::new(execute::ChecksumExecutor))
    }

    fn collector(&self, spec: &TaskSpec) -> anyhow::Result<Box<dyn TaskCollector>> {
        let param = Param::read(&spec.param)?;
        let target = param.target().map_err(anyhow::Error::msg)?;
        let scratch = target.map_or_else(std::env::temp_dir, |target| target.parent().to_owned());
        let (collected, known) = self.collected(spec, scratch);
        Ok(Box::new(ChecksumCollector { collected, known, out: param.out(), console: self.console.clone() }))
    }
}

/// `find DIR` does not follow a symlink either, and would find nothing: that is refused. With a slash behind it, both
/// follow it.
fn check_dir(dir: &Path) -> Result<(), String> {
    let shown = shown(dir);
    match fs::symlink_metadata(dir) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(found) if found.is_symlink() && dir.is_dir() => {
            Err(format!("{shown}: is a symlink, which is not followed; write {shown}/ for what it leads to"))
        }
        Ok(_) => Err(format!("{shown}: is no directory; DIR must be one")),
        Err(error) => Err(format!("{shown}: {}; DIR must be a directory that exists", plain(&error))),
    }
}
