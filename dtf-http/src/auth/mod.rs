//! The callers of the API, and their rights.
//!
//! A request presents a token, as `Authorization: Bearer …` or in the cookie that a browser got for it at `/login`. The [`Verifier`]
//! looks it up, [`least`] says what its route takes, and the handler acts as the [`Caller`]. Where the rule allows it, a request
//! from the machine itself needs no token.

mod attempts;
mod bearer;
mod caller;
mod gate;
mod least;
#[cfg(test)]
mod tests;
mod verifier;

pub(crate) use bearer::Bearer;
pub(crate) use caller::Acting;
pub use caller::Caller;
pub(crate) use gate::{COOKIE, Gate, Peer, PeerAddress, authorize};
pub(crate) use verifier::Verifier;
