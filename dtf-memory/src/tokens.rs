//! `tbl_token` in memory.

use std::collections::BTreeMap;
use std::ops::Bound;

use async_trait::async_trait;
use dtf_model::error::StoreError;
use dtf_model::token::{ApiToken, TokenTable};

use super::MemoryTable;

/// The tokens by id.
pub(super) type Tokens = BTreeMap<String, ApiToken>;

#[async_trait]
impl TokenTable for MemoryTable {
    async fn add_token(&self, token: &ApiToken) -> Result<(), StoreError> {
        token.check()?;
        let mut state = self.state();
        state.tokens.entry(token.id.clone()).or_insert_with(|| token.clone());
        self.write_entry(&mut state, 0);
        Ok(())
    }

    async fn token(&self, id: &str) -> Result<Option<ApiToken>, StoreError> {
        Ok(self.state().tokens.get(id).cloned())
    }

    async fn tokens(&self, after: Option<&str>, most: u32) -> Result<Vec<ApiToken>, StoreError> {
        let above = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let state = self.state();
        Ok(state.tokens.range::<str, _>(above).take(most as usize).map(|(_, token)| token.clone()).collect())
    }

    async fn touch_token(&self, id: &str, at: u64) -> Result<(), StoreError> {
        if let Some(token) = self.state().tokens.get_mut(id) {
            token.last_used = token.last_used.max(Some(at));
        }
        Ok(())
    }

    async fn remove_token(&self, id: &str) -> Result<bool, StoreError> {
        let mut state = self.state();
        let is_removed = state.tokens.remove(id).is_some();
        if is_removed {
            self.write_entry(&mut state, 0);
        }
        Ok(is_removed)
    }
}
