//! `tbl_task_type` in memory.

use std::collections::BTreeMap;
use std::ops::Bound;

use async_trait::async_trait;
use dtf_model::defined_type::{DefinedType, DefinedTypeTable};
use dtf_model::error::StoreError;

use super::MemoryTable;

/// The types by name.
pub(super) type DefinedTypes = BTreeMap<String, DefinedType>;

#[async_trait]
impl DefinedTypeTable for MemoryTable {
    async fn define_type(&self, definition: &DefinedType) -> Result<bool, StoreError> {
        definition.check()?;
        let mut state = self.state();
        let version = state.defined_types.get(&definition.name).map_or(0, |there| there.version);
        let follows = version.checked_add(1) == Some(definition.version);
        if follows {
            state.defined_types.insert(definition.name.clone(), definition.clone());
            self.write_entry(&mut state, 0);
        }
        Ok(follows)
    }

    async fn defined_type(&self, name: &str) -> Result<Option<DefinedType>, StoreError> {
        Ok(self.state().defined_types.get(name).cloned())
    }

    async fn defined_types(&self, after: Option<&str>, most: u32) -> Result<Vec<DefinedType>, StoreError> {
        let above = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let state = self.state();
        let types = state.defined_types.range::<str, _>(above).take(most as usize);
        Ok(types.map(|(_, definition)| definition.clone()).collect())
    }

    async fn delete_type(&self, name: &str) -> Result<bool, StoreError> {
        let mut state = self.state();
        let is_removed = state.defined_types.remove(name).is_some();
        if is_removed {
            self.write_entry(&mut state, 0);
        }
        Ok(is_removed)
    }
}
