//! The stores that a process may use.

use std::fmt;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::path::Path as Key;
use tokio::runtime::Handle;
use url::Url;

/// The object stores that a process may use: prefixes of addresses. Cheap to clone.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use dtf_types::ObjectStores;
///
/// let stores = ObjectStores::mounted(["s3://pictures/incoming/"], [("aws_region", "eu-central-1")]);
/// assert!(stores.is_ok());
/// assert!(ObjectStores::mounted(["pictures"], [("aws_region", "eu-central-1")]).is_err());
/// # }
/// ```
#[derive(Clone)]
pub struct ObjectStores {
    mounts: Arc<[Mount]>,
    /// The runtime that waits for them: sources are read by threads that may block.
    pub(super) on: Handle,
}

struct Mount {
    prefix: Url,
    store: Arc<dyn ObjectStore>,
}

impl ObjectStores {
    /// The stores behind these prefixes, with options as the crate `object_store` names them: variables such as `AWS_ACCESS_KEY_ID` are some.
    /// It has to be called on a runtime, which must have a thread beside those that execute plugins.
    ///
    /// # Errors
    /// A prefix is no address of a store that is known, or lacks an option.
    pub fn mounted<'a, K: AsRef<str>, V: Into<String> + Clone>(
        prefixes: impl IntoIterator<Item = &'a str>,
        options: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, String> {
        // Whoever was first has chosen.
        drop(rustls::crypto::ring::default_provider().install_default());
        let options: Vec<_> =
            options.into_iter().map(|(name, value)| (name.as_ref().to_owned(), value.into())).collect();
        let mount = |prefix: &str| {
            let wrong = |why: String| format!("{prefix} cannot be used as an object store: {why}");
            let url = Url::parse(prefix).map_err(|error| wrong(error.to_string()))?;
            let (store, _) = object_store::parse_url_opts(&url, options.iter().cloned())
                .map_err(|error| wrong(error.to_string()))?;
            Ok(Mount { prefix: url, store: store.into() })
        };
        let mounts = prefixes.into_iter().map(mount).collect::<Result<Vec<_>, String>>()?;
        Ok(Self { mounts: mounts.into(), on: Handle::current() })
    }

    /// A store of the caller's own behind a prefix.
    #[cfg(test)]
    pub(crate) fn of(prefix: &str, store: Arc<dyn ObjectStore>) -> Self {
        let prefix = Url::parse(prefix).expect("it is an address");
        Self { mounts: Arc::new([Mount { prefix, store }]), on: Handle::current() }
    }

    /// Returns the store that has an object, and the object's key there.
    ///
    /// # Errors
    /// It is in none that this process may use; the error names those.
    pub(super) fn find(&self, address: &str) -> anyhow::Result<(Arc<dyn ObjectStore>, Key)> {
        let url = Url::parse(address).map_err(|error| anyhow::anyhow!("{address} is no address: {error}"))?;
        let Some(mount) = self.mounts.iter().find(|mount| is_below(&mount.prefix, &url)) else {
            let allowed: Vec<_> = self.mounts.iter().map(|mount| mount.prefix.as_str()).collect();
            anyhow::bail!(
                "{address} is in no object store that this process may use; allowed {}",
                if allowed.is_empty() {
                    "are none".to_owned()
                } else {
                    format!("is what is below {}", allowed.join(", "))
                }
            );
        };
        let (_, key) = object_store::ObjectStoreScheme::parse(&url)?;
        Ok((mount.store.clone(), key))
    }
}

/// Returns whether an address is below a prefix, by whole names. An address has been normalized when it was parsed: it has no dots.
fn is_below(prefix: &Url, url: &Url) -> bool {
    let root =
        |url: &Url| (url.scheme().to_owned(), url.host_str().map(str::to_owned), url.port_or_known_default());
    let (above, below) = (prefix.path().trim_end_matches('/'), url.path());
    let same_names = below.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    // A key may hide names of its own behind escapes.
    let is_plain = !below.to_ascii_lowercase().contains("%2f") && !below.to_ascii_lowercase().contains("%2e");
    root(prefix) == root(url) && url.username().is_empty() && url.query().is_none() && same_names && is_plain
}

impl fmt::Debug for ObjectStores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.mounts.iter().map(|mount| mount.prefix.as_str())).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_below_a_prefix_may_be_used() {
        let below = |prefix: &str, address: &str| {
            is_below(&Url::parse(prefix).unwrap(), &Url::parse(address).unwrap())
        };
        assert!(
            below("s3://b/in/", "s3://b/in/a/b")
                && below("s3://b", "s3://b/a")
                && below("s3://b/in", "s3://b/in")
        );
        assert!(below("https://e.com/d/", "https://e.com:443/d/x"));
        for address in [
            "s3://b/inner/a",
            "s3://c/in/a",
            "gs://b/in/a",
            "s3://b/in/../secret",
            "s3://b/in/%2e%2e/secret",
            "s3://b/in/..%2fsecret",
            "s3://u@b/in/a",
            "s3://b/in/a?versionId=1",
        ] {
            assert!(!below("s3://b/in/", address), "{address}");
        }
        assert!(!below("https://e.com/d/", "http://e.com/d/x"));
    }
}
