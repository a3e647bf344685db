//! The text of a token, `dtf_<id>_<secret>`: drawn once, and told apart from others by the digest of its secret.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The begin of every token, by which scanners for leaked secrets know it.
const PREFIX: &str = "dtf_";
/// The size of an id, in bytes of randomness.
const ID_BYTES: usize = 8;
/// The size of a secret, in bytes of randomness.
const SECRET_BYTES: usize = 32;

/// A token as its bearer presents it.
#[derive(Clone, PartialEq, Eq)]
pub struct PresentedToken {
    id: String,
    secret: String,
}

/// Never shows the secret.
impl fmt::Debug for PresentedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PresentedToken").field("id", &self.id).finish_non_exhaustive()
    }
}

impl PresentedToken {
    /// Draws a new token.
    ///
    /// # Errors
    /// The operating system has no randomness to give.
    pub(crate) fn draw() -> Result<Self, getrandom::Error> {
        let mut random = [0; ID_BYTES + SECRET_BYTES];
        getrandom::fill(&mut random)?;
        let (id, secret) = random.split_at(ID_BYTES);
        Ok(Self { id: hex(id), secret: hex(secret) })
    }

    /// Reads the text of a token; `None` where it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.trim().strip_prefix(PREFIX)?.split_once('_')?;
        let is_hex = |text: &str, bytes: usize| {
            text.len() == 2 * bytes && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let whole = is_hex(id, ID_BYTES) && is_hex(secret, SECRET_BYTES);
        whole.then(|| Self { id: id.to_owned(), secret: secret.to_owned() })
    }

    /// Returns the public part.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the whole text, which is a secret.
    pub fn text(&self) -> String {
        format!("{PREFIX}{}_{}", self.id, self.secret)
    }

    /// Returns the digest of the secret, in hex.
    pub fn digest(&self) -> String {
        hex(&Sha256::digest(self.secret.as_bytes()))
    }

    /// Returns true if the secret has this digest. Takes the same time wherever they differ.
    pub fn has_digest(&self, digest: &str) -> bool {
        self.digest().as_bytes().ct_eq(digest.as_bytes()).into()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_back_and_no_two_are_alike() {
        let (one, two) = (PresentedToken::draw().unwrap(), PresentedToken::draw().unwrap());
        assert_eq!(PresentedToken::parse(&one.text()).as_ref(), Some(&one));
        assert_eq!(PresentedToken::parse(&format!(" {}\n", one.text())).as_ref(), Some(&one));
        assert_ne!(one, two);
        assert!(one.has_digest(&one.digest()) && !one.has_digest(&two.digest()) && !one.has_digest(""));
        assert!(!format!("{one:?}").contains(&one.secret));
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let token = PresentedToken::draw().unwrap().text();
        for text in
            ["", "dtf_", "dtf__", "dtf_1_2", &token[1..], &token[..token.len() - 1], &token.to_uppercase()]
        {
            assert_eq!(PresentedToken::parse(text), None, "{text:?}");
        }
    }
}
