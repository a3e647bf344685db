//! The names and numbers of placement, each with a type of its own.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::InvalidName;

/// The longest instance id or group part, in bytes.
pub const MAX_NAME_BYTES: usize = 128;

/// The most members of a group that are given tasks. Further ones are members all the same, in the order in which they
/// came; they are told so, and get their first tasks when one before them has left.
pub const MAX_MEMBERS: usize = 100_000;

fn check_name(what: &'static str, name: &str) -> Result<(), InvalidName> {
    if name.is_empty() {
        return Err(InvalidName::Empty { what });
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(InvalidName::TooLong { what, bytes: name.len(), most: MAX_NAME_BYTES });
    }
    match name.chars().find(|c| *c == '/' || c.is_control()) {
        Some(found) => Err(InvalidName::Character { what, found }),
        None => Ok(()),
    }
}

/// A namespace of placement: members and tasks of one group never see those of another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupId {
    protocol: Arc<str>,
    biz: Arc<str>,
    tenancy: Arc<str>,
}

impl GroupId {
    /// Names a group.
    ///
    /// # Errors
    /// A part that is empty, longer than [`MAX_NAME_BYTES`], or has a `/` or a control character.
    pub fn new(protocol: &str, biz: &str, tenancy: &str) -> Result<Self, InvalidName> {
        check_name("protocol", protocol)?;
        check_name("biz", biz)?;
        check_name("tenancy", tenancy)?;
        Ok(Self { protocol: protocol.into(), biz: biz.into(), tenancy: tenancy.into() })
    }

    /// The first part: what kind of work is placed.
    pub fn protocol(&self) -> &str {
        &self.protocol
    }

    /// The second part: whose work it is.
    pub fn biz(&self) -> &str {
        &self.biz
    }

    /// The third part: which tenant of it.
    pub fn tenancy(&self) -> &str {
        &self.tenancy
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.protocol, self.biz, self.tenancy)
    }
}

/// The stable name of a member: the same across restarts of its process.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InstanceId(Arc<str>);

impl InstanceId {
    /// Names a member.
    ///
    /// # Errors
    /// A name that is empty, longer than [`MAX_NAME_BYTES`], or has a `/` or a control character.
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        check_name("instance id", name)?;
        Ok(Self(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for InstanceId {
    type Error = InvalidName;
    fn try_from(name: String) -> Result<Self, InvalidName> {
        Self::new(&name)
    }
}

impl From<InstanceId> for String {
    fn from(id: InstanceId) -> String {
        id.0.as_ref().to_owned()
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One session of a member: fresh every time the member joins, never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub Uuid);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a committed change of a group's assignment. Strictly increasing over the life of the group,
/// always below 2^53 so that every store and script can hold it exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A fencing token: the generation that began a holding. Tokens of one task strictly increase from holding to
/// holding, so a store that remembers the highest one it has seen can refuse a former holder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(pub u64);

impl From<Generation> for Token {
    fn from(generation: Generation) -> Self {
        Self(generation.0)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert!(InstanceId::new("a.b-c:1").is_ok());
        assert!(matches!(InstanceId::new(""), Err(InvalidName::Empty { .. })));
        assert!(matches!(InstanceId::new("a/b"), Err(InvalidName::Character { found: '/', .. })));
        assert!(matches!(GroupId::new("p", "b\n", "t"), Err(InvalidName::Character { found: '\n', .. })));
        assert!(matches!(InstanceId::new(&"x".repeat(MAX_NAME_BYTES + 1)), Err(InvalidName::TooLong { .. })));
    }

    #[test]
    fn an_instance_id_is_checked_when_read() {
        let read: Result<InstanceId, _> = serde_json::from_str("\"a/b\"");
        assert!(read.is_err());
    }
}
