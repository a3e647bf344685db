//! Gateways: who is connected where.

use dtf_model::gateway::Gateway;
use uuid::Uuid;

use crate::client::Client;
use crate::client_error::ClientError;

/// The most gateways of a page.
const PAGE: u32 = 100;

impl Client {
    /// Returns the gateways that have remote workers, as they described themselves last, by process.
    ///
    /// # Errors
    /// The store failed.
    pub async fn gateways(&self) -> Result<Vec<Gateway>, ClientError> {
        let (now, mut after, mut all) = (self.now(), None, Vec::new());
        loop {
            let page = self.table().gateways(now, after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            all.extend(page);
        }
        all.sort_by(|one, other| (&one.process, one.id).cmp(&(&other.process, other.id)));
        Ok(all)
    }

    /// Writes what a gateway says of itself.
    ///
    /// # Errors
    /// Something is out of range, or the store failed.
    pub async fn announce_gateway(&self, gateway: &Gateway) -> Result<(), ClientError> {
        Ok(self.table().announce_gateway(gateway).await?)
    }

    /// Deletes what a gateway said of itself, and what others said that holds no more.
    ///
    /// # Errors
    /// The store failed.
    pub async fn withdraw_gateway(&self, id: Uuid) -> Result<(), ClientError> {
        Ok(self.table().withdraw_gateway(id, self.now()).await?)
    }
}
