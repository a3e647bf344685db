//! A program without object stores.

use std::io::{self, Read};

use super::Listed;
use crate::source::Version;

/// The object stores that a process may use: none, as this program was built without them.
#[derive(Clone, Debug)]
pub struct ObjectStores(std::convert::Infallible);

impl ObjectStores {
    /// None, as this program was built without them.
    ///
    /// # Errors
    /// Always.
    pub fn mounted<'a, K: AsRef<str>, V: Into<String> + Clone>(
        _prefixes: impl IntoIterator<Item = &'a str>,
        _options: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, String> {
        Err("this program was built without object stores; build it with --features full".to_owned())
    }
}

fn without<T>(address: &str) -> anyhow::Result<T> {
    anyhow::bail!(
        "{address} cannot be used: this program was built without object stores; build it with --features full"
    )
}

/// An object that is read: there is none.
pub(crate) struct ObjectReader(std::convert::Infallible);

impl Read for ObjectReader {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        match self.0 {}
    }
}

pub(crate) fn open(
    _: Option<&ObjectStores>,
    address: &str,
    _: u64,
) -> anyhow::Result<(ObjectReader, Version)> {
    without(address)
}

/// An object that is written: there is none.
pub(crate) struct Upload(std::convert::Infallible);

impl Upload {
    pub(crate) async fn begin(_: Option<&ObjectStores>, address: &str) -> anyhow::Result<Self> {
        without(address)
    }

    pub(crate) async fn write(&mut self, _: &[u8]) -> anyhow::Result<()> {
        match self.0 {}
    }

    pub(crate) async fn finish(self) -> anyhow::Result<()> {
        match self.0 {}
    }
}

/// A listing: there is none.
pub(crate) struct Listing(std::convert::Infallible);

impl Listing {
    pub(crate) fn begin(_: Option<&ObjectStores>, address: &str, _: Option<&str>) -> anyhow::Result<Self> {
        without(address)
    }

    pub(crate) async fn next(&mut self) -> anyhow::Result<Option<Listed>> {
        match self.0 {}
    }
}
