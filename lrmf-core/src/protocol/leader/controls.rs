//! The wishes of operators, as far as this version can read them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::control::{DrainRecord, FreezeRecord, PinRecord, ReleaseRecord};
use crate::coordination::{KeyValue, Revision};
use crate::ids::InstanceId;
use crate::keys::Control;
use crate::records::{RecordError, decode};

/// The control records of a group.
#[derive(Clone, Debug, Default)]
pub(super) struct Controls {
    /// Nothing that runs is moved.
    pub(super) frozen: bool,
    /// Members that are to hold nothing.
    pub(super) drains: BTreeSet<InstanceId>,
    /// Tasks that are to be with one member.
    pub(super) pins: BTreeMap<Arc<str>, InstanceId>,
    /// Holdings that are declared to be over, with the write that said so.
    pub(super) releases: BTreeMap<Arc<str>, (Revision, ReleaseRecord)>,
}

impl Controls {
    /// Takes a record in. One that cannot be read has no effect, nor has what it replaces.
    pub(super) fn put(&mut self, control: Control, entry: &KeyValue) -> Result<(), RecordError> {
        self.delete(&control);
        let (key, value) = (entry.key.as_str(), entry.value.as_ref());
        match control {
            Control::Freeze => {
                decode::<FreezeRecord>(key, value)?;
                self.frozen = true;
            }
            Control::Drain(instance) => {
                decode::<DrainRecord>(key, value)?;
                self.drains.insert(instance);
            }
            Control::Pin(task) => {
                let record: PinRecord = decode(key, value)?;
                self.pins.insert(task, record.member);
            }
            Control::Release(task) => {
                let record: ReleaseRecord = decode(key, value)?;
                self.releases.insert(task, (entry.mod_revision, record));
            }
        }
        Ok(())
    }

    /// Takes a record out.
    pub(super) fn delete(&mut self, control: &Control) {
        match control {
            Control::Freeze => self.frozen = false,
            Control::Drain(instance) => drop(self.drains.remove(instance)),
            Control::Pin(task) => drop(self.pins.remove(task)),
            Control::Release(task) => drop(self.releases.remove(task)),
        }
    }
}
