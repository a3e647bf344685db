//! The place of each task, by number, so that a plan looks only at those that may have to move.
//!
//! # The problem
//! One member comes or goes among a million tasks, and a hundred tasks move. The assignor needs the holder of each task, as
//! numbers; everything else about a task (its token, its value in the record, whose session it was given to) matters only
//! where something about it is not as it should be. A lookup by key costs a tenth of a microsecond or more, so a
//! million of them cost more than the plan.
//!
//! # The idea
//! A task *rests* where it is in the record of a living session, with its own value, and nobody has asked for it back.
//! For those the holder's number is kept, and nothing more is asked about them. The others are *open*. Which of the two
//! a task is changes only with the record that it is in, with its holder's session, and with the list of tasks; the
//! view says which tasks these are about.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use foldhash::fast::FixedState;

use crate::ids::InstanceId;

use super::tasks::TaskList;
use super::view::View;

/// The number of somebody who is or was a holder.
pub(super) type HolderIx = u32;

const OPEN: HolderIx = HolderIx::MAX;

/// The tasks that may be elsewhere, or in another state, than before.
#[derive(Clone, Debug)]
pub(super) enum Touched {
    All,
    Some(Vec<Arc<str>>),
}

impl Touched {
    /// More of them than this are as many as all.
    const MOST: usize = 1 << 20;

    pub(super) fn add(&mut self, keys: impl Iterator<Item = Arc<str>>) {
        if let Self::Some(touched) = self {
            touched.extend(keys);
            if touched.len() > Self::MOST {
                *self = Self::All;
            }
        }
    }
}

/// The table.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    numbers: HashMap<InstanceId, HolderIx, FixedState>,
    names: Vec<InstanceId>,
    /// Of each task, in the order of the list, who has it at rest.
    homes: Vec<HolderIx>,
    /// The tasks that do not rest.
    open: BTreeSet<u32>,
    /// Tasks that are in a record and no longer in the list.
    strays: BTreeSet<Arc<str>>,
}

impl Ledger {
    /// Takes in what has changed.
    pub(super) fn update(&mut self, view: &View, tasks: &TaskList, touched: Touched) {
        match touched {
            Touched::Some(keys) if self.homes.len() == tasks.all().len() => {
                for key in keys {
                    self.look(view, tasks, &key);
                }
            }
            Touched::Some(_) | Touched::All => self.rebuild(view, tasks),
        }
    }

    fn rebuild(&mut self, view: &View, tasks: &TaskList) {
        *self = Self { homes: vec![OPEN; tasks.all().len()], ..Self::default() };
        let mut open = Vec::new();
        for (ix, task) in (0..).zip(tasks.all()) {
            match view.rests_with(task) {
                Some(holder) => self.homes[ix as usize] = self.number(holder),
                None => open.push(ix),
            }
        }
        self.open = open.into_iter().collect();
        if tasks.all().len() - self.open.len() < view.placed() {
            let strays = view.entries().map(|place| &place.entry.key).filter(|key| tasks.get(key).is_none());
            self.strays = strays.cloned().collect();
        }
    }

    fn look(&mut self, view: &View, tasks: &TaskList, key: &Arc<str>) {
        let Some(ix) = tasks.position(key) else {
            if view.place(key).is_some() {
                self.strays.insert(key.clone());
            } else {
                self.strays.remove(key);
            }
            return;
        };
        let home = view.rests_with(&tasks.all()[ix as usize]).map(|holder| self.number(holder));
        self.homes[ix as usize] = home.unwrap_or(OPEN);
        if home.is_none() {
            self.open.insert(ix);
        } else {
            self.open.remove(&ix);
        }
    }

    fn number(&mut self, holder: &InstanceId) -> HolderIx {
        if let Some(number) = self.numbers.get(holder) {
            return *number;
        }
        let number = u32::try_from(self.names.len()).unwrap_or(OPEN);
        self.names.push(holder.clone());
        self.numbers.insert(holder.clone(), number);
        number
    }

    /// All holders, in the order of their numbers.
    pub(super) fn names(&self) -> &[InstanceId] {
        &self.names
    }

    /// Of each task that rests, its holder; those that are open have none.
    pub(super) fn homes(&self) -> &[HolderIx] {
        &self.homes
    }

    /// The tasks that do not rest, in order.
    pub(super) fn open(&self) -> &BTreeSet<u32> {
        &self.open
    }

    /// Tasks that are in a record and no longer in the list.
    pub(super) fn strays(&self) -> &BTreeSet<Arc<str>> {
        &self.strays
    }
}
