//! The records of members about themselves, and of the leader.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Format, Record};
use crate::config::GroupMode;
use crate::ids::{Incarnation, InstanceId};

/// The readiness of a member to take tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemberState {
    /// It does.
    Active,
    /// It is leaving: it gets nothing new, and what it holds goes elsewhere.
    Draining,
    /// It has stopped all its tasks and is about to come back under the same name: they wait for it.
    Restarting,
}

/// A member's session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRecord {
    /// The record format.
    pub format: Format,
    /// The session.
    pub incarnation: Incarnation,
    /// The readiness to take tasks.
    pub state: MemberState,
    /// The mode of its group, for when it is out of contact.
    #[serde(default, skip_serializing_if = "GroupMode::is_default")]
    pub mode: GroupMode,
    /// Its capacity, relative to that of others.
    pub capacity: u32,
    /// The failure domain that it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<Arc<str>>,
    /// Its labels, for people and tools.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The assignor that it would plan with.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub assignor: String,
    /// The load that it reported, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<LoadReport>,
    /// The preference for it as the leader.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub preference: u8,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(preference: &u8) -> bool {
    *preference == 0
}

/// The load of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadReport {
    /// In thousandths of what it can bear; more than 1000 is too much.
    pub per_mille: u32,
    /// The number of tasks that it held then.
    pub tasks: u32,
}

/// A process that waits to become a member whose session is still alive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuccessorRecord {
    /// The record format.
    pub format: Format,
    /// The session that it will be.
    pub incarnation: Incarnation,
}
/// The record of the leader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderRecord {
    /// The record format.
    pub format: Format,
    /// The member.
    pub instance: InstanceId,
    /// Its session.
    pub incarnation: Incarnation,
    /// The members that campaign at once when the leader goes; others do only when none of these does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<InstanceId>,
    /// The assignor that it plans with: for people and tools.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub assignor: String,
    /// The present troubles of the user's code that the leader asks: for people and tools.
    #[serde(default, skip_serializing_if = "Troubles::is_empty")]
    pub troubles: Troubles,
    /// The preference for this leader; members with a higher one take over.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub preference: u8,
}

impl LeaderRecord {
    /// The record of a leader that has named no candidates yet.
    pub fn new(instance: InstanceId, incarnation: Incarnation, assignor: &str) -> Self {
        let (assignor, troubles) = (assignor.to_owned(), Troubles::default());
        Self {
            format: Format,
            instance,
            incarnation,
            candidates: Vec::new(),
            assignor,
            troubles,
            preference: 0,
        }
    }
}

/// The last answers of the provider and of the assignor, where they were errors.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Troubles {
    /// The error of the provider, or the fault of its list. The last good list stays in effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The error of the assignor, or the fault of its plan. The plan before stays in effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignor: Option<String>,
}

impl Troubles {
    /// The most bytes of an error that are kept.
    const BYTES: usize = 1000;

    /// Returns true where the provider and the assignor answered well.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The beginning of an error, as much of it as a record keeps.
    pub(crate) fn kept(error: &str) -> String {
        error[..error.floor_char_boundary(Self::BYTES)].to_owned()
    }
}

/// That a member of a group of mode `available` was heard of within the last contact time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContactRecord {
    /// The record format.
    pub format: Format,
    /// The session that is in contact.
    pub incarnation: Incarnation,
}

/// The mode of a group, where it is another one than [`GroupMode::Exclusive`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModeRecord {
    /// The record format.
    pub format: Format,
    /// The mode.
    pub mode: GroupMode,
}

/// The leader's notice to one member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeRecord {
    /// The record format.
    pub format: Format,
    /// The session that is meant.
    pub incarnation: Incarnation,
    /// Why it is given no tasks.
    #[serde(flatten)]
    pub barred: Barred,
}

/// Why a member is given no tasks, although it would take some.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "barred", rename_all = "lowercase")]
pub enum Barred {
    /// The group has as many members with tasks as it may have; this one came later.
    Full {
        /// The most members that may have tasks.
        most: usize,
    },
    /// The group has another mode than this member.
    Mode {
        /// The group's.
        group: GroupMode,
    },
    /// The record of what it holds cannot be read: it is to stop everything and to join anew.
    Unreadable,
    /// A newer leader had a reason that this version does not know.
    #[serde(other)]
    Other,
}

impl fmt::Display for Barred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full { most } => write!(
                f,
                "the group is full: {most} members may have tasks, and this one waits until one of them has left"
            ),
            Self::Mode { group } => write!(
                f,
                "the group's mode is {group} and this member's is not: set mode = \"{group}\" here, or stop the members \
                 of that mode first"
            ),
            Self::Unreadable => {
                f.write_str("the record of what it holds cannot be read: it stops everything and joins anew")
            }
            Self::Other => {
                f.write_str("the leader has a reason that this version does not know: update this process")
            }
        }
    }
}

impl Record for ContactRecord {}
impl Record for ModeRecord {}
impl Record for NoticeRecord {}
impl Record for MemberRecord {}
impl Record for SuccessorRecord {}
impl Record for LeaderRecord {}
