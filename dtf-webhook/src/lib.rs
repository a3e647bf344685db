//! Signed HTTP requests to addresses that users give, kept away from private networks.
//!
//! A service that sends requests wherever its users say has to prove to the receiver who it is, and must not become a way into its own
//! network. [`Secret`] signs as [Standard Webhooks](https://www.standardwebhooks.com) have it, so receivers verify with a library that
//! exists in their language. [`Sender`] asks its [`AddressRule`] about each address that a name resolves to at the very moment of
//! connecting, so a name that resolves to another address the second time (DNS rebinding) gains nothing; it follows no redirects and
//! uses no proxies.
//!
//! ```
//! use dtf_webhook::Secret;
//!
//! # fn main() -> Result<(), dtf_webhook::SecretError> {
//! let secret: Secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse()?;
//! let signature = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, br#"{"test": 2432232314}"#);
//! assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
//! # Ok(())
//! # }
//! ```

#[cfg(feature = "send")]
mod address;
#[cfg(feature = "send")]
mod resolver;
#[cfg(feature = "send")]
mod sender;
mod signature;

#[cfg(feature = "send")]
pub use address::AddressRule;
#[cfg(feature = "send")]
pub use reqwest::{Method, Url, header};
#[cfg(feature = "send")]
pub use sender::{Answer, Outgoing, SendError, Sender, SenderConf, check_url};
pub use signature::{Secret, SecretError, Signed, TOLERANCE, VerifyError, verify};

/// The examples of the README are compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
