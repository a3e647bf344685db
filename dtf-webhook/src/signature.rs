//! Signatures of requests, after the specification of Standard Webhooks, version 1.0.0.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// The difference between a request's time and the receiver's that [`verify`] is content with in general: five minutes.
pub const TOLERANCE: Duration = Duration::from_secs(300);

const PREFIX: &str = "whsec_";
const MIN_BYTES: usize = 24;
const MAX_BYTES: usize = 64;

/// A text that is no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a secret is \"whsec_\" followed by {MIN_BYTES} to {MAX_BYTES} bytes in base64")]
pub struct SecretError;

/// A secret that sender and receiver share. It is shown by [`Secret::reveal`] alone.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// A new one, of 32 random bytes.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = vec![0; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// Its text, which whoever has it can sign with.
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}", STANDARD.encode(&self.0))
    }

    /// Returns the signature of a message: its id, its time in seconds since the Unix epoch, and its body.
    pub fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        // Keys of any length are accepted.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return String::new() };
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

impl FromStr for Secret {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, SecretError> {
        let encoded = text.strip_prefix(PREFIX).ok_or(SecretError)?;
        let bytes = STANDARD.decode(encoded).map_err(|_| SecretError)?;
        if !(MIN_BYTES..=MAX_BYTES).contains(&bytes.len()) {
            return Err(SecretError);
        }
        Ok(Self(bytes))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What a signed request carries beside its body: the headers `webhook-id`, `webhook-timestamp` and `webhook-signature`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The message's id, the same in each attempt: receivers know by it what they have received before.
    pub id: String,
    /// The time of the attempt, in seconds since the Unix epoch.
    pub timestamp: u64,
    /// The signatures, one for each secret that is valid.
    pub signatures: String,
}

impl Signed {
    /// Signs a message with each of the secrets: with two while one replaces the other.
    pub fn new(secrets: &[Secret], id: &str, timestamp: u64, body: &[u8]) -> Self {
        let signatures: Vec<_> = secrets.iter().map(|secret| secret.sign(id, timestamp, body)).collect();
        Self { id: id.to_owned(), timestamp, signatures: signatures.join(" ") }
    }
}

/// Why a request is not to be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// None of its signatures is that of the secret.
    #[error("the signature is not that of the message")]
    Signature,
    /// It was signed too long ago, or is of the future: somebody may have kept it.
    #[error("the message is not of this time")]
    Time,
}

/// Checks a request as its receiver does.
///
/// # Errors
/// It is not to be believed.
pub fn verify(
    secret: &Secret,
    signed: &Signed,
    body: &[u8],
    now: u64,
    tolerance: Duration,
) -> Result<(), VerifyError> {
    if now.abs_diff(signed.timestamp) > tolerance.as_secs() {
        return Err(VerifyError::Time);
    }
    let expected = secret.sign(&signed.id, signed.timestamp, body);
    let is_signed =
        signed.signatures.split(' ').any(|one| bool::from(one.as_bytes().ct_eq(expected.as_bytes())));
    if is_signed { Ok(()) } else { Err(VerifyError::Signature) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    #[test]
    fn the_example_of_the_specification_has_its_signature() {
        let secret: Secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap();
        let signature =
            secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_request_is_believed_only_as_it_was_signed() {
        let (old, new) = (Secret::random().unwrap(), Secret::random().unwrap());
        let signed = Signed::new(&[new.clone(), old.clone()], "m", NOW, b"body");
        for secret in [&old, &new] {
            assert_eq!(verify(secret, &signed, b"body", NOW + 300, TOLERANCE), Ok(()));
        }
        let other = Secret::random().unwrap();
        assert_eq!(verify(&other, &signed, b"body", NOW, TOLERANCE), Err(VerifyError::Signature));
        assert_eq!(verify(&new, &signed, b"bodz", NOW, TOLERANCE), Err(VerifyError::Signature));
        let renamed = Signed { id: "n".into(), ..signed.clone() };
        assert_eq!(verify(&new, &renamed, b"body", NOW, TOLERANCE), Err(VerifyError::Signature));
        assert_eq!(verify(&new, &signed, b"body", NOW + 301, TOLERANCE), Err(VerifyError::Time));
        assert_eq!(verify(&new, &signed, b"body", NOW - 301, TOLERANCE), Err(VerifyError::Time));
    }

    #[test]
    fn secrets_are_read_back_and_nothing_else_is_one() {
        let secret = Secret::random().unwrap();
        assert_eq!(secret.reveal().parse::<Secret>(), Ok(secret.clone()));
        assert!(!format!("{secret:?}").contains(&secret.reveal()));
        for wrong in ["", "whsec_", "whsec_abc", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_c2hvcnQ="] {
            assert_eq!(wrong.parse::<Secret>(), Err(SecretError), "{wrong}");
        }
    }
}
