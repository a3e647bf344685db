//! The objects below a prefix, in the order of their names.

use std::collections::VecDeque;
use std::sync::Arc;

use anyhow::Context;
use futures::TryStreamExt;
use object_store::path::Path as Key;
use object_store::{ObjectMeta, ObjectStore};

use super::{Listed, ObjectStores};

/// The objects that are read ahead.
const AHEAD: usize = 1000;

/// A listing that goes on behind an object.
pub(crate) struct Listing {
    store: Arc<dyn ObjectStore>,
    prefix: Key,
    /// The address that the keys are below.
    root: String,
    ahead: VecDeque<ObjectMeta>,
    last: Option<Key>,
    is_done: bool,
}

impl Listing {
    /// Lists what is below an address, behind the object with the address `after`.
    ///
    /// # Errors
    /// It is in no store that may be used.
    pub(crate) fn begin(
        stores: Option<&ObjectStores>,
        address: &str,
        after: Option<&str>,
    ) -> anyhow::Result<Self> {
        let stores = stores
            .with_context(|| format!("{address} cannot be listed: this process uses no object stores"))?;
        let (store, prefix) = stores.find(address)?;
        let last = after.map(|after| stores.find(after).map(|(_, key)| key)).transpose()?;
        let named = address.trim_end_matches('/');
        let root = named.strip_suffix(prefix.as_ref()).unwrap_or(named).trim_end_matches('/').to_owned();
        Ok(Self { store, prefix, root, ahead: VecDeque::new(), last, is_done: false })
    }

    /// Returns the next object; none at the end.
    ///
    /// # Errors
    /// The store failed.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Option<Listed>> {
        if self.ahead.is_empty() && !self.is_done {
            self.read_ahead().await?;
        }
        let object = self.ahead.pop_front();
        Ok(object.map(|object| Listed {
            path: format!("{}/{}", self.root, object.location),
            bytes: object.size,
            changed: u64::try_from(object.last_modified.timestamp_millis()).unwrap_or(0),
        }))
    }

    async fn read_ahead(&mut self) -> anyhow::Result<()> {
        let objects = match &self.last {
            Some(last) => self.store.list_with_offset(Some(&self.prefix), last),
            None => self.store.list(Some(&self.prefix)),
        };
        let page: Vec<_> = futures::StreamExt::take(objects, AHEAD)
            .try_collect()
            .await
            .with_context(|| format!("what is below {}/{} cannot be listed", self.root, self.prefix))?;
        self.is_done = page.len() < AHEAD;
        if let Some(last) = page.last() {
            self.last = Some(last.location.clone());
        }
        self.ahead = page.into();
        Ok(())
    }
}
