//! Texts that are never shown whole.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

/// The text that stands in a secret's place.
const HIDDEN: &str = "***";

/// A password. It is read as text and shown as `***`.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Hides this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for whoever has to send it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Returns true if there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn shown(&self) -> &'static str {
        if self.0.is_empty() { "" } else { HIDDEN }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.shown())
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.shown())
    }
}

/// The URL of a server. It is shown without what may be a password: nothing between `://` and the last `@`, nothing
/// behind the first `?` after it.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct ServerUrl(String);

impl ServerUrl {
    /// This URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// The URL itself.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Returns true if there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns true if a reader would see a password.
    pub fn has_password(&self) -> bool {
        self.user().is_some_and(|user| user.contains(':')) || self.0.contains('?')
    }

    fn user(&self) -> Option<&str> {
        let rest = self.0.split_once("://").map_or(self.0.as_str(), |(_, rest)| rest);
        rest.rsplit_once('@').map(|(user, _)| user)
    }

    /// The URL with this password, where one is given: it replaces the URL's own. Signs that have a meaning in URLs are
    /// escaped.
    pub fn with_password(&self, password: &Secret) -> String {
        let Some((scheme, rest)) = self.0.split_once("://").filter(|_| !password.is_empty()) else {
            return self.0.clone();
        };
        let (user, place) = rest.rsplit_once('@').unwrap_or(("", rest));
        let user = user.split(':').next().unwrap_or_default();
        format!("{scheme}://{user}:{}@{place}", escaped(password.expose()))
    }
}

/// Everything but letters, digits and the signs that URLs leave alone, as `%XX`.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                escaped.push(char::from(byte))
            }
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((scheme, rest)) = self.0.split_once("://") else {
            // It is no URL; it may be anything.
            return f.write_str(self.user().map_or(self.0.as_str(), |_| HIDDEN));
        };
        let (hidden, place) = rest.rsplit_once('@').map_or(("", rest), |(_, place)| ("***@", place));
        let place = place.split('?').next().unwrap_or_default();
        write!(f, "{scheme}://{hidden}{place}")
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for ServerUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_shown() {
        for url in [
            "mysql://me:s3cret@host:3306/db",
            "mysql://me:s3cret/@x@host/db?ssl-key=s3cret",
            "redis://:s3cret@host",
            "me:s3cret@host",
        ] {
            let shown = format!(
                "{0} {0:?} {1}",
                ServerUrl::new(url),
                serde_json::to_string(&ServerUrl::new(url)).unwrap()
            );
            assert!(!shown.contains("s3cret"), "{shown}");
        }
        assert_eq!(format!("{:?}", Secret::new("s3cret")), "***");
        assert_eq!(serde_json::to_string(&Secret::new("s3cret")).unwrap(), "\"***\"");
        assert_eq!(format!("{:?}", Secret::default()), "");
    }

    #[test]
    fn a_password_of_its_own_goes_into_the_url() {
        let with = |url, password| ServerUrl::new(url).with_password(&Secret::new(password));
        assert_eq!(with("mysql://me@host/db", "p@s/s"), "mysql://me:p%40s%2Fs@host/db");
        assert_eq!(with("mysql://me:old@host/db", "new"), "mysql://me:new@host/db");
        assert_eq!(with("redis://host:1/0", "x"), "redis://:x@host:1/0");
        assert_eq!(with("redis://host:1/0", ""), "redis://host:1/0");
    }
}
