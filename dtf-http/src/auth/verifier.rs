//! Looking tokens up, with a short memory: a busy client costs the database a call every few seconds.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use dtf_api::Code;
use dtf_control::{Client, PresentedToken};
use dtf_model::token::ApiToken;
use tracing::{debug, warn};

use super::attempts::Attempts;
use super::caller::Caller;
use crate::problem::Failed;

/// The time for which an answer of the database holds: a revoked token is refused after it.
const REMEMBERED_MILLIS: u64 = 5_000;
/// The tokens that are remembered.
const MAX_REMEMBERED: usize = 1_000;
/// The time between two notes of a token's use.
const TOUCHED_MILLIS: u64 = 60_000;

/// Finds the bearers of tokens.
pub(crate) struct Verifier {
    client: Client,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    tokens: HashMap<String, (ApiToken, u64)>,
    /// True if there is any token, and the time at which that was read.
    any: Option<(bool, u64)>,
    attempts: Attempts,
}

impl Verifier {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, memory: Mutex::default() }
    }

    /// Returns true if there is any token.
    pub(super) async fn has_tokens(&self) -> Result<bool, Failed> {
        let now = self.client.now();
        let remembered = self.memory().any.filter(|(any, at)| *any || is_fresh(*at, now));
        if let Some((any, _)) = remembered {
            return Ok(any);
        }
        let any = self.client.has_tokens().await?;
        self.memory().any = Some((any, now));
        Ok(any)
    }

    /// Returns the bearer of a token.
    pub(super) async fn verify(&self, text: &str, address: Option<IpAddr>) -> Result<Caller, Failed> {
        let now = self.client.now();
        if let Some(seconds) = address.and_then(|address| self.memory().attempts.blocked_for(address, now)) {
            let detail =
                format!("too many wrong tokens came from this address; try again in {seconds} seconds");
            return Err(Failed::new(Code::TooManyAttempts, detail));
        }
        let Some(presented) = PresentedToken::parse(text) else {
            return Err(self.refuse(
                "malformed",
                address,
                now,
                "this is no token; one looks like dtf_ID_SECRET",
            ));
        };
        let token = self.find(presented.id(), now).await?;
        let Some(token) = token.filter(|token| presented.has_digest(&token.digest)) else {
            return Err(self.refuse("unknown", address, now, "the token is unknown or revoked"));
        };
        if token.has_expired(now) {
            return Err(self.refuse(
                "expired",
                address,
                now,
                "the token has expired; ask an admin for a new one",
            ));
        }
        self.touch(&token, now).await;
        Ok(Caller::bearer(&token, &address.map(|address| address.to_string()).unwrap_or_default()))
    }

    async fn find(&self, id: &str, now: u64) -> Result<Option<ApiToken>, Failed> {
        let remembered = self.memory().tokens.get(id).filter(|(_, at)| is_fresh(*at, now)).cloned();
        if let Some((token, _)) = remembered {
            return Ok(Some(token));
        }
        let found = self.client.token(id).await?;
        let mut memory = self.memory();
        match &found {
            Some(token) => {
                if memory.tokens.len() >= MAX_REMEMBERED {
                    memory.tokens.clear();
                }
                memory.tokens.insert(id.to_owned(), (token.clone(), now));
            }
            None => drop(memory.tokens.remove(id)),
        }
        Ok(found)
    }

    /// Notes the use of a token, once a minute. A note that fails is no reason to refuse anything.
    async fn touch(&self, token: &ApiToken, now: u64) {
        if token.last_used.is_some_and(|at| now.abs_diff(at) < TOUCHED_MILLIS) {
            return;
        }
        if let Some((remembered, _)) = self.memory().tokens.get_mut(&token.id) {
            remembered.last_used = Some(now);
        }
        if let Err(error) = self.client.touch_token(&token.id, now).await {
            debug!(%error, token = token.id, "the use of a token was not noted");
        }
    }

    fn refuse(&self, reason: &'static str, address: Option<IpAddr>, now: u64, detail: &str) -> Failed {
        if let Some(address) = address {
            self.memory().attempts.failed(address, now);
        }
        metrics::counter!("dtf_api_refused_tokens_total", "reason" => reason).increment(1);
        warn!(reason, address = address.map(tracing::field::display), "a token was refused");
        Failed::new(Code::Unauthenticated, detail)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_fresh(at: u64, now: u64) -> bool {
    now.abs_diff(at) < REMEMBERED_MILLIS
}
