//! The digests that there are.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

/// A kind of digest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Digest {
    /// SHA-256, as `sha256sum` makes it.
    #[default]
    Sha256,
    /// SHA-512, as `sha512sum` makes it.
    Sha512,
    /// BLAKE3, as `b3sum` makes it.
    Blake3,
    /// MD5, as `md5sum` makes it. It protects against accidents only: two files with one MD5 are made in seconds.
    Md5,
}

impl Digest {
    /// All of them.
    pub(super) const ALL: [Self; 4] = [Self::Sha256, Self::Sha512, Self::Blake3, Self::Md5];

    /// Returns the number of bytes.
    pub(super) fn len(self) -> usize {
        match self {
            Self::Sha256 | Self::Blake3 => 32,
            Self::Sha512 => 64,
            Self::Md5 => 16,
        }
    }

    /// Its name in lines of the form `NAME (path) = digest`.
    pub(super) fn tag(self) -> &'static str {
        match self {
            Self::Sha256 => "SHA256",
            Self::Sha512 => "SHA512",
            Self::Blake3 => "BLAKE3",
            Self::Md5 => "MD5",
        }
    }

    /// Begins one.
    pub(super) fn begin(self) -> Hasher {
        match self {
            Self::Sha256 => Hasher::Sha256(sha2::Sha256::new()),
            Self::Sha512 => Hasher::Sha512(sha2::Sha512::new()),
            Self::Blake3 => Hasher::Blake3(Box::default()),
            Self::Md5 => Hasher::Md5(md5::Md5::new()),
        }
    }
}

impl FromStr for Digest {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = Self::ALL.into_iter().find(|digest| digest.tag().eq_ignore_ascii_case(text));
        named.ok_or("known are: sha256, sha512, blake3, md5")
    }
}

/// A digest in the making.
pub(super) enum Hasher {
    Sha256(sha2::Sha256),
    Sha512(sha2::Sha512),
    Blake3(Box<blake3::Hasher>),
    Md5(md5::Md5),
}

impl Hasher {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha512(hash) => hash.update(bytes),
            Self::Blake3(hash) => drop(hash.update(bytes)),
            Self::Md5(hash) => hash.update(bytes),
        }
    }

    pub(super) fn finish(self) -> Vec<u8> {
        match self {
            Self::Sha256(hash) => hash.finalize().to_vec(),
            Self::Sha512(hash) => hash.finalize().to_vec(),
            Self::Blake3(hash) => hash.finalize().as_bytes().to_vec(),
            Self::Md5(hash) => hash.finalize().to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::raw::to_hex;
    use super::*;

    #[test]
    fn digests_are_those_of_the_standards() {
        // Of "abc": FIPS 180-2, RFC 1321, and the BLAKE3 paper's implementation.
        for (name, expected) in [
            ("sha256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            ("md5", "900150983cd24fb0d6963f7d28e17f72"),
            ("BLAKE3", "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"),
            (
                "sha512",
                "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e\
                 2a9ac94fa54ca49f",
            ),
        ] {
            let digest: Digest = name.parse().unwrap();
            let mut hash = digest.begin();
            hash.update(b"a");
            hash.update(b"bc");
            let made = hash.finish();
            assert_eq!((to_hex(&made).as_str(), made.len()), (expected, digest.len()), "{name}");
        }
        assert!("sha1".parse::<Digest>().is_err());
    }
}
