//! Resource groups: between whom the executors are shared, and how. The port to `tbl_resource_group`.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::error::{InvalidInput, StoreError};
use crate::limits::Limits;
use crate::text::{MAX_DESCRIPTION_CHARS, MAX_NAME_CHARS, check_length};

/// The group that is always there, and that a task is in which names none.
pub const DEFAULT_GROUP: &str = "default";
/// The quota of a group of which nothing else was said.
pub const DEFAULT_QUOTA: u32 = 100;
/// The largest quota.
pub const MAX_QUOTA: u32 = 1_000_000;

/// A group of tasks that has a share of the executors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ResourceGroup {
    /// Its name.
    pub name: String,
    /// Its share of the executors' time, in proportion to those of the other groups that have something to run; from 1 to
    /// [`MAX_QUOTA`]. Default [`DEFAULT_QUOTA`].
    pub quota: u32,
    /// The limits on the subtasks of the group that run, whatever its share.
    pub limits: Limits,
    /// The purpose of the group; may be empty.
    pub description: String,
    /// True while nothing of its tasks is dispatched; what runs may finish.
    pub paused: bool,
}

impl Default for ResourceGroup {
    fn default() -> Self {
        Self::named(DEFAULT_GROUP)
    }
}

impl ResourceGroup {
    /// A group of which nothing but the name was said.
    pub fn named(name: impl Into<String>) -> Self {
        let (limits, description) = (Limits::NONE, String::new());
        Self { name: name.into(), quota: DEFAULT_QUOTA, limits, description, paused: false }
    }

    /// Checks what is said of it.
    ///
    /// # Errors
    /// The first thing that is wrong, and what is allowed.
    pub fn check(&self) -> Result<(), InvalidInput> {
        check_length("the resource group", &self.name, MAX_NAME_CHARS)?;
        check_length("the description", &self.description, MAX_DESCRIPTION_CHARS)?;
        if self.name.is_empty() {
            return Err(InvalidInput::Empty("the resource group"));
        }
        if self.name.trim() != self.name || self.name.contains(char::is_control) {
            return Err(InvalidInput::OutOfRange {
                what: "the resource group",
                got: format!("{:?}", self.name),
                allowed: "a name without spaces at its ends and without control characters".to_owned(),
            });
        }
        if !(1..=MAX_QUOTA).contains(&self.quota) {
            return Err(InvalidInput::OutOfRange {
                what: "the quota",
                got: self.quota.to_string(),
                allowed: format!("1 to {MAX_QUOTA}"),
            });
        }
        self.limits.check()
    }
}

/// The table of resource groups.
///
/// # What an implementor guarantees
/// - The group [`DEFAULT_GROUP`] is always there. Groups are made and changed, never deleted.
/// - A call that returned `Ok` is durable, and the next read sees it.
/// - Names are compared exactly, and ordered by their bytes.
/// - What does not fit is refused with [`StoreError::InvalidInput`] and nothing is written.
///
/// ```
/// use dtf_memory::MemoryTable;
/// use dtf_model::group::{GroupTable, ResourceGroup, all_groups};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> anyhow::Result<()> {
/// let table = MemoryTable::new();
/// table.set_group(&ResourceGroup { quota: 20, ..ResourceGroup::named("nightly") }).await?;
/// let names: Vec<_> = all_groups(&table).await?.into_iter().map(|group| group.name).collect();
/// assert_eq!(names, ["default", "nightly"]);
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait GroupTable: Send + Sync + 'static {
    /// Makes a group, or replaces everything that is said of it.
    async fn set_group(&self, group: &ResourceGroup) -> Result<(), StoreError>;

    /// One group.
    async fn group(&self, name: &str) -> Result<Option<ResourceGroup>, StoreError>;

    /// The groups with names above `after`, by name, at most so many.
    async fn groups(&self, after: Option<&str>, most: u32) -> Result<Vec<ResourceGroup>, StoreError>;
}

/// All groups, read page by page.
///
/// # Errors
/// As [`GroupTable::groups`].
pub async fn all_groups(table: &(impl GroupTable + ?Sized)) -> Result<Vec<ResourceGroup>, StoreError> {
    const PAGE: u32 = 1000;
    let mut all: Vec<ResourceGroup> = Vec::new();
    loop {
        let page = table.groups(all.last().map(|group| group.name.as_str()), PAGE).await?;
        let last = (page.len() as u32) < PAGE;
        all.extend(page);
        if last {
            return Ok(all);
        }
    }
}
