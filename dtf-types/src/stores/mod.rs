//! Object stores: where sources read and sinks write, besides files. A process uses those that its operator mounts, and no others, as the
//! addresses come from whoever creates tasks.

#[cfg(feature = "object-stores")]
mod listing;
#[cfg(feature = "object-stores")]
mod mounts;
#[cfg(feature = "object-stores")]
mod object;
#[cfg(not(feature = "object-stores"))]
mod without;

use std::path::Path;

#[cfg(feature = "object-stores")]
pub(crate) use self::listing::Listing;
#[cfg(feature = "object-stores")]
pub use self::mounts::ObjectStores;
#[cfg(feature = "object-stores")]
pub(crate) use self::object::{Upload, open};
#[cfg(not(feature = "object-stores"))]
pub use self::without::ObjectStores;
#[cfg(not(feature = "object-stores"))]
pub(crate) use self::without::{Listing, Upload, open};

/// Returns the address of an object where a place is one and no file: it has a scheme, as in `s3://bucket/key`.
pub(crate) fn address(place: &Path) -> Option<&str> {
    let text = place.to_str()?;
    let (scheme, _) = text.split_once("://")?;
    let named = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    (scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(named)).then_some(text)
}

/// An object of a listing, as an item.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Listed {
    /// The path of the file, or the address of the object.
    pub(crate) path: String,
    /// Its size.
    pub(crate) bytes: u64,
    /// The time of its last change, in milliseconds since the Unix epoch.
    pub(crate) changed: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_with_a_scheme_is_an_address() {
        for (place, is_address) in [
            ("s3://bucket/key", true),
            ("https://example.com/a", true),
            ("/srv/s3://x", false),
            ("a://", true),
            ("://x", false),
            ("a/b", false),
        ] {
            assert_eq!(address(Path::new(place)).is_some(), is_address, "{place}");
        }
    }
}
