//! `tbl_resource_group` in memory.

use std::collections::BTreeMap;
use std::ops::Bound;

use async_trait::async_trait;
use dtf_model::error::StoreError;
use dtf_model::group::{GroupTable, ResourceGroup};

use super::MemoryTable;

/// Groups by name; the default one is among them from the beginning.
#[derive(Debug)]
pub(super) struct Groups(BTreeMap<String, ResourceGroup>);

impl Default for Groups {
    fn default() -> Self {
        let group = ResourceGroup::default();
        Self(BTreeMap::from([(group.name.clone(), group)]))
    }
}

impl Groups {
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

#[async_trait]
impl GroupTable for MemoryTable {
    async fn set_group(&self, group: &ResourceGroup) -> Result<(), StoreError> {
        group.check()?;
        let mut state = self.state();
        state.groups.0.insert(group.name.clone(), group.clone());
        self.write_entry(&mut state, 0);
        Ok(())
    }

    async fn group(&self, name: &str) -> Result<Option<ResourceGroup>, StoreError> {
        Ok(self.state().groups.0.get(name).cloned())
    }

    async fn groups(&self, after: Option<&str>, most: u32) -> Result<Vec<ResourceGroup>, StoreError> {
        let above = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let state = self.state();
        Ok(state
            .groups
            .0
            .range::<str, _>(above)
            .take(most as usize)
            .map(|(_, group)| group.clone())
            .collect())
    }
}
