//! Names resolved to addresses that the rule permits.

use std::net::SocketAddr;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::address::AddressRule;

/// The refusal of all addresses of a name.
#[derive(Debug, thiserror::Error)]
#[error("{0} has no address outside private networks")]
pub(crate) struct Private(pub(crate) String);

/// The system's resolver, without the addresses that the rule does not permit.
pub(crate) struct Permitted(pub(crate) AddressRule);

impl Resolve for Permitted {
    fn resolve(&self, name: Name) -> Resolving {
        let rule = self.0.clone();
        Box::pin(async move {
            // The port is the connector's business.
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let permitted: Vec<SocketAddr> = found.filter(|address| rule.permits(address.ip())).collect();
            if permitted.is_empty() {
                return Err(Private(name.as_str().to_owned()).into());
            }
            Ok(Box::new(permitted.into_iter()) as Addrs)
        })
    }
}
