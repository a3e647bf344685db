//! `tbl_gateway` in memory.

use std::collections::BTreeMap;
use std::ops::Bound;

use async_trait::async_trait;
use dtf_model::error::StoreError;
use dtf_model::gateway::{Gateway, GatewayTable};
use uuid::Uuid;

use super::MemoryTable;

/// The gateways by id.
pub(super) type Gateways = BTreeMap<Uuid, Gateway>;

#[async_trait]
impl GatewayTable for MemoryTable {
    async fn announce_gateway(&self, gateway: &Gateway) -> Result<(), StoreError> {
        gateway.check()?;
        self.state().gateways.insert(gateway.id, gateway.clone());
        Ok(())
    }

    async fn gateways(&self, now: u64, after: Option<Uuid>, most: u32) -> Result<Vec<Gateway>, StoreError> {
        let above = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let state = self.state();
        let gateways = state.gateways.range(above).map(|(_, gateway)| gateway);
        Ok(gateways.filter(|gateway| gateway.until > now).take(most as usize).cloned().collect())
    }

    async fn withdraw_gateway(&self, id: Uuid, now: u64) -> Result<(), StoreError> {
        self.state().gateways.retain(|known, gateway| *known != id && gateway.until > now);
        Ok(())
    }
}
