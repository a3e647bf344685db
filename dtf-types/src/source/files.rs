//! The files of a directory, or the objects below an address: each is an item `{"path", "bytes", "changed"}`, in the order of their names.
//! The position is the last one; what appears behind it while the task generates is taken too.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context, ensure};
use async_trait::async_trait;
use bytes::Bytes;
use dtf_model::plugin::{Generated, NewSubtask, TaskGenerator};

use crate::stores::{self, Listed, Listing, ObjectStores};

pub(super) struct Files {
    place: PathBuf,
    stores: Option<ObjectStores>,
    last: Option<String>,
    listing: Option<Names>,
}

enum Names {
    Directory(Walk),
    Objects(Listing),
}

impl Files {
    pub(super) fn new(place: PathBuf, stores: Option<ObjectStores>) -> Self {
        Self { place, stores, last: None, listing: None }
    }
}

#[async_trait]
impl TaskGenerator for Files {
    async fn begin(&mut self, saved: Option<Bytes>) -> anyhow::Result<()> {
        self.last = saved.map(|saved| String::from_utf8(saved.to_vec())).transpose()?;
        self.listing = Some(match stores::address(&self.place) {
            Some(address) => {
                Names::Objects(Listing::begin(self.stores.as_ref(), address, self.last.as_deref())?)
            }
            None => Names::Directory(Walk::begin(&self.place, self.last.as_deref())?),
        });
        Ok(())
    }

    async fn next_subtasks(&mut self, most: usize) -> anyhow::Result<Generated> {
        let listing = self.listing.as_mut().context("the source was not begun")?;
        let mut subtasks = Vec::new();
        while subtasks.len() < most {
            let next = match listing {
                Names::Directory(walk) => walk.next()?,
                Names::Objects(objects) => objects.next().await?,
            };
            let Some(listed) = next else { return Ok(Generated { subtasks, finished: true }) };
            subtasks.push(NewSubtask::new(serde_json::to_vec(&listed)?));
            self.last = Some(listed.path);
        }
        Ok(Generated { subtasks, finished: false })
    }

    fn save_status(&self) -> anyhow::Result<Option<Bytes>> {
        Ok(self.last.clone().map(Bytes::from))
    }
}

/// A walk through a directory, in the order of paths by their names. Links are not followed.
struct Walk {
    /// The entries of each directory from the first down to the current one that are still to come, the last one first.
    levels: Vec<Vec<PathBuf>>,
    /// The path behind which it begins.
    after: Option<PathBuf>,
}

impl Walk {
    fn begin(directory: &Path, after: Option<&str>) -> anyhow::Result<Self> {
        ensure!(directory.is_dir(), "the source {} is no directory", directory.display());
        let mut walk = Self { levels: Vec::new(), after: after.map(PathBuf::from) };
        walk.enter(directory)?;
        Ok(walk)
    }

    fn enter(&mut self, directory: &Path) -> anyhow::Result<()> {
        let read =
            || fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>();
        let mut entries =
            read().with_context(|| format!("the directory {} cannot be read", directory.display()))?;
        entries.sort_unstable_by(|one, other| other.cmp(one));
        self.levels.push(entries);
        Ok(())
    }

    fn next(&mut self) -> anyhow::Result<Option<Listed>> {
        while let Some(level) = self.levels.last_mut() {
            let Some(path) = level.pop() else {
                self.levels.pop();
                continue;
            };
            if self.after.as_ref().is_some_and(|after| path <= *after && !after.starts_with(&path)) {
                continue;
            }
            let metadata = match fs::symlink_metadata(&path) {
                Ok(metadata) => metadata,
                // It has gone meanwhile.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => {
                    return Err(error).with_context(|| format!("{} cannot be read", path.display()));
                }
            };
            if metadata.is_dir() {
                self.enter(&path)?;
            } else if metadata.is_file() && self.after.as_ref() != Some(&path) {
                let changed = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
                let Some(path) = path.to_str() else {
                    anyhow::bail!("the name of {} is no UTF-8; items are JSON", path.display());
                };
                let changed = u64::try_from(changed).unwrap_or(u64::MAX);
                return Ok(Some(Listed { path: path.to_owned(), bytes: metadata.len(), changed }));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    async fn names(place: &Path, stores: Option<ObjectStores>, most: usize) -> Vec<String> {
        let (mut names, mut saved) = (Vec::new(), None);
        loop {
            // As after a crash, each time.
            let mut source = Files::new(place.to_owned(), stores.clone());
            source.begin(saved).await.unwrap();
            let batch = source.next_subtasks(most).await.unwrap();
            let path = |item: &NewSubtask| {
                let item: Value = serde_json::from_slice(&item.body).unwrap();
                item["path"].as_str().unwrap().strip_prefix(place.to_str().unwrap()).unwrap().to_owned()
            };
            names.extend(batch.subtasks.iter().map(path));
            if batch.finished {
                return names;
            }
            saved = source.save_status().unwrap();
        }
    }

    const NAMES: [&str; 6] = ["/a", "/b.txt", "/b/1", "/b/2/x", "/b/3", "/c"];

    #[tokio::test]
    async fn each_file_of_a_directory_is_an_item_wherever_generating_stops() {
        let dir = tempfile::tempdir().unwrap();
        for name in NAMES {
            let path = dir.path().join(&name[1..]);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        }
        std::os::unix::fs::symlink("/", dir.path().join("link")).unwrap();
        fs::create_dir(dir.path().join("empty")).unwrap();
        let mut wanted = NAMES;
        // Whole names are compared: `b` comes before `b.txt`.
        wanted.swap(1, 2);
        wanted.swap(2, 3);
        wanted.swap(3, 4);
        for most in 1..8 {
            assert_eq!(names(dir.path(), None, most).await, wanted, "{most}");
        }
        let mut none = Files::new(dir.path().join("none"), None);
        assert!(none.begin(None).await.unwrap_err().to_string().contains("is no directory"));
    }

    #[cfg(feature = "object-stores")]
    #[tokio::test]
    async fn each_object_below_an_address_is_an_item_wherever_generating_stops() {
        use std::sync::Arc;

        use object_store::memory::InMemory;
        use object_store::{ObjectStore, ObjectStoreExt};

        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        for name in NAMES {
            store.put(&format!("in{name}").into(), name.into()).await.unwrap();
        }
        store.put(&"other/x".into(), "".into()).await.unwrap();
        let stores = ObjectStores::of("s3://bucket/in/", store);
        for most in 1..8 {
            assert_eq!(names(Path::new("s3://bucket/in"), Some(stores.clone()), most).await, NAMES, "{most}");
        }
        let mut other = Files::new("s3://bucket/other".into(), Some(stores));
        let refused = other.begin(None).await.unwrap_err().to_string();
        assert!(refused.contains("allowed is what is below s3://bucket/in/"), "{refused}");
    }
}
