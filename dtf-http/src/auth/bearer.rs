//! Whoever asked, for as long as the answer goes on: a stream ends when its token does.

use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use dtf_api::Code;
use dtf_model::token::TokenRole;

use super::caller::Caller;
use super::gate::{Gate, PeerAddress};
use crate::problem::Failed;

/// The time between two looks at a token whose stream goes on.
const AGAIN: Duration = Duration::from_secs(5);

/// The bearer of a token, or whoever needed none, and the way to ask again whether that still holds.
pub(crate) struct Bearer {
    gate: Gate,
    headers: HeaderMap,
    peer: Option<SocketAddr>,
    groups: Vec<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Bearer {
    type Rejection = Failed;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failed> {
        let unknown = || Failed::new(Code::Unauthenticated, "nobody has said who asks");
        let gate = parts.extensions.get::<Gate>().cloned().ok_or_else(unknown)?;
        let caller = parts.extensions.get::<Caller>().cloned().ok_or_else(unknown)?;
        let Ok(PeerAddress(peer)) = PeerAddress::from_request_parts(parts, state).await;
        Ok(Self { gate, headers: parts.headers.clone(), peer, groups: caller.groups })
    }
}

impl Bearer {
    /// Waits until the token is revoked or has expired. A database that does not answer changes nothing.
    pub(crate) async fn refused(self) {
        loop {
            tokio::time::sleep(AGAIN).await;
            match self.gate.caller(&self.headers, self.peer).await {
                Ok(caller)
                    if caller.groups == self.groups && caller.check_role(TokenRole::Reader).is_ok() => {}
                Err(failed) if failed.0.code != Code::Unauthenticated => {}
                _ => return,
            }
        }
    }
}
