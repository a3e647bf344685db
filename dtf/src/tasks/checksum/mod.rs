//! The task type `checksum`: the digest of every regular file below directories, in one manifest; or the files of manifests,
//! compared with them. `docs/checksum.md` of the repository describes it for users.
//!
//! The manifest is byte for byte what `find DIR -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum` prints, so that
//! `sha256sum -c` can check it; with other digests, what `sha512sum`, `b3sum` and `md5sum` print. Symlinks are not followed,
//! other files than regular ones passed over.
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
//! - Items of manifests travel with their number before their path, so that what came of them is told in their order.
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
mod digest;
mod exclude;
mod execute;
mod generate;
mod index;
mod line;
mod manifests;
mod record;
mod results;
mod sorted;
mod target;
mod walk;

pub use digest::Digest;
pub use results::Limits;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dtf_model::plugin::{
    TaskCollector, TaskConf, TaskExecutor, TaskGenerator, TaskPlugin, TaskPluginRegistration,
};
use dtf_model::{InvalidInput, TaskParam, TaskSpec};
use serde::{Deserialize, Serialize};

use self::collect::{AllCollected, ChecksumCollector, Collected};
use self::exclude::Exclude;
use self::generate::What;
use self::index::Update;
use self::results::Results;
use self::target::Target;
use super::raw::Raw;
use super::{Console, plain, shown};

const TAKES: &str = "dir or dirs (directories) or check (manifests), out (a file, or null for standard output), digest \
                     (sha256, sha512, blake3 or md5), exclude (patterns), update and quiet (true or false)";
/// The largest file takes as long as it takes.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);
/// The number of batches that may wait: at most 16 MiB of paths.
const BACKLOG: u64 = 256;
/// The number of ended tasks that are remembered, should their end be asked for again.
const REMEMBERED: usize = 64;

/// The parameter of a `checksum` task.
#[derive(Clone, Debug, Default)]
pub struct ChecksumParam {
    /// The directories whose files are hashed.
    pub dirs: Vec<PathBuf>,
    /// The file for the manifest; `None` for standard output.
    pub out: Option<PathBuf>,
    /// The kind of digest. Of a manifest that is checked, the length of its digests tells, unless several have it.
    pub digest: Digest,
    /// The exclusions, as patterns of a `.gitignore` file.
    pub exclude: Vec<String>,
    /// True if only files are read that have changed since the manifest was made, by the index that is kept beside it.
    pub update: bool,
    /// The manifests whose files are compared with them, instead.
    pub check: Vec<PathBuf>,
    /// True if nothing is said of files that match their manifest.
    pub quiet: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    #[serde(default)]
    dir: Option<Raw>,
    #[serde(default)]
    dirs: Vec<Raw>,
    #[serde(default)]
    out: Option<Raw>,
    #[serde(default)]
    digest: Digest,
    #[serde(default)]
    exclude: Vec<String>,
    #[serde(default)]
    update: bool,
    #[serde(default)]
    check: Vec<Raw>,
    #[serde(default)]
    quiet: bool,
}

impl ChecksumParam {
    /// As the task's `type_param`. What is not UTF-8 survives it.
    pub fn to_json(&self) -> serde_json::Value {
        let raw = |paths: &[PathBuf]| paths.iter().map(Raw::new).collect();
        serde_json::json!(Form {
            dir: None,
            dirs: raw(&self.dirs),
            out: self.out.as_ref().map(Raw::new),
            digest: self.digest,
            exclude: self.exclude.clone(),
            update: self.update,
            check: raw(&self.check),
            quiet: self.quiet,
        })
    }

    fn read(param: &TaskParam) -> Result<Self, InvalidInput> {
        let form: Form = super::read_param("checksum", TAKES, &param.type_param)?;
        let paths =
            |raw: &mut dyn Iterator<Item = &Raw>| raw.map(|raw| raw.to_os().into()).collect::<Vec<PathBuf>>();
        let read = Self {
            dirs: paths(&mut form.dir.iter().chain(&form.dirs)),
            out: form.out.as_ref().map(|out| out.to_os().into()),
            digest: form.digest,
            exclude: form.exclude,
            update: form.update,
            check: paths(&mut form.check.iter()),
            quiet: form.quiet,
        };
        match (read.dirs.is_empty(), read.check.is_empty()) {
            (false, true) | (true, false) => Ok(read),
            _ => Err(InvalidInput::TypeParam(format!(
                "the parameters of checksum name neither or both; it takes {TAKES}"
            ))),
        }
    }

    fn target(&self) -> Result<Option<Target>, String> {
        self.out.as_ref().map(|out| Target::resolve(out)).transpose()
    }

    fn check(&self) -> Result<(), String> {
        self.dirs.iter().try_for_each(|dir| check_dir(dir))?;
        self.check.iter().try_for_each(|manifest| check_manifest(manifest))?;
        Exclude::new(&self.exclude)?;
        if self.update && (self.out.is_none() || self.dirs.is_empty()) {
            return Err(
                "update is for manifests of directories that have a file (out) to be updated".to_owned()
            );
        }
        self.target().map(drop)
    }

    fn what(&self) -> anyhow::Result<What> {
        if !self.check.is_empty() {
            return Ok(What::Manifests(self.check.clone(), self.digest));
        }
        let target = self.target().map_err(anyhow::Error::msg)?;
        let skip = target.map(|target| target.to_skip()).transpose()?;
        let exclude = Exclude::new(&self.exclude).map_err(anyhow::Error::msg)?;
        Ok(What::Directories(self.dirs.clone(), skip, exclude))
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
        let (dirs, out) = (vec![dir.to_owned()], out.map(Path::to_owned));
        ChecksumParam { dirs, out, ..ChecksumParam::default() }.to_json()
    }

    /// Returns the collected results of a task, and true if there were any before.
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
            // A generator or collector that fails says what is wrong with the directories or the manifest.
            call_attempts: 1,
            backlog: BACKLOG,
            ..TaskConf::default()
        }
    }

    fn check(&self, param: &TaskParam) -> Result<(), InvalidInput> {
        ChecksumParam::read(param)?.check().map_err(InvalidInput::TypeParam)
    }

    fn generator(&self, spec: &TaskSpec) -> anyhow::Result<Box<dyn TaskGenerator>> {
        let what = ChecksumParam::read(&spec.param)?.what()?;
        Ok(Box::new(generate::ChecksumGenerator::new(what)))
    }

    fn executor(&self, spec: &TaskSpec) -> anyhow::Result<Arc<dyn TaskExecutor>> {
        let param = ChecksumParam::read(&spec.param)?;
        let digest = param.digest;
        let target = if param.update { param.target().map_err(anyhow::Error::msg)? } else { None };
        let index = target.map(|target| target.index().path().to_owned());
        let update = index.map(|index| Arc::new(Update::new(index, digest, self.console.clone())));
        Ok(Arc::new(execute::ChecksumExecutor { digest, update }))
    }

    fn collector(&self, spec: &TaskSpec) -> anyhow::Result<Box<dyn TaskCollector>> {
        let param = ChecksumParam::read(&spec.param)?;
        let target = param.target().map_err(anyhow::Error::msg)?;
        let scratch = target.map_or_else(std::env::temp_dir, |target| target.parent().to_owned());
        let (collected, known) = self.collected(spec, scratch);
        let (compares, quiet) = (!param.check.is_empty(), param.quiet);
        let (console, index) = (self.console.clone(), param.update.then_some(param.digest));
        let out = param.out;
        Ok(Box::new(ChecksumCollector { collected, known, out, compares, quiet, index, console }))
    }
}

/// A manifest is opened when its turn comes; that it is none is better said before.
fn check_manifest(manifest: &Path) -> Result<(), String> {
    if manifest == Path::new("-") {
        return Ok(());
    }
    let wrong = |why: &str| {
        format!("{}: {why}; name a manifest that can be read, or - for standard input", shown(manifest))
    };
    match fs::metadata(manifest) {
        Ok(there) if there.is_dir() => Err(wrong("is a directory")),
        Ok(_) => fs::File::open(manifest).map(drop).map_err(|error| wrong(&plain(&error))),
        Err(error) => Err(wrong(&plain(&error))),
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
