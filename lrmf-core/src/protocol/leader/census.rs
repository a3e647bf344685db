//! The members of a group, counted by what they say about leading it.

use std::collections::BTreeMap;

use crate::records::MemberRecord;

/// The counts, kept up to date with each record.
#[derive(Clone, Debug, Default)]
pub(super) struct Census {
    /// The number of members with each assignor.
    assignors: BTreeMap<String, usize>,
    /// The number of members with each preference.
    preferences: BTreeMap<u8, usize>,
}

impl Census {
    /// Counts a member that came, went, or says something else than before.
    pub(super) fn count(&mut self, before: Option<&MemberRecord>, now: Option<&MemberRecord>) {
        if let Some(now) = now {
            *self.preferences.entry(now.preference).or_default() += 1;
            if !now.assignor.is_empty() {
                *self.assignors.entry(now.assignor.clone()).or_default() += 1;
            }
        }
        let Some(before) = before else { return };
        if let Some(count) = self.assignors.get_mut(&before.assignor) {
            *count -= 1;
        }
        if let Some(count) = self.preferences.get_mut(&before.preference) {
            *count -= 1;
        }
    }

    /// The assignor that more members have than have this leader's: the group's.
    pub(super) fn other_assignor(&self, own: &str) -> Option<&str> {
        let mine = self.assignors.get(own).copied().unwrap_or_default();
        let others = self.assignors.iter().filter(|(name, count)| *name != own && **count > mine);
        others.max_by_key(|(_, count)| **count).map(|(name, _)| name.as_str())
    }

    /// The highest preference of any member but this one.
    pub(super) fn highest_preference_beside(&self, own: Option<&MemberRecord>) -> Option<u8> {
        let others = |(level, count): (&u8, &usize)| {
            let mine = own.is_some_and(|own| own.preference == *level);
            (*count > usize::from(mine)).then_some(*level)
        };
        self.preferences.iter().rev().find_map(others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::GroupMode;
    use crate::ids::Incarnation;
    use crate::records::{Format, MemberState};

    fn member(assignor: &str, preference: u8) -> MemberRecord {
        MemberRecord {
            format: Format,
            incarnation: Incarnation(uuid::Uuid::nil()),
            state: MemberState::Active,
            mode: GroupMode::Exclusive,
            capacity: 1,
            zone: None,
            labels: BTreeMap::new(),
            assignor: assignor.to_owned(),
            load: None,
            preference,
        }
    }

    #[test]
    fn members_are_counted_as_they_come_change_and_go() {
        let mut census = Census::default();
        let (low, high) = (member("hash", 0), member("sticky", 3));
        census.count(None, Some(&low));
        assert_eq!((census.other_assignor("sticky"), census.other_assignor("hash")), (Some("hash"), None));
        assert_eq!(
            (census.highest_preference_beside(Some(&low)), census.highest_preference_beside(None)),
            (None, Some(0))
        );
        census.count(None, Some(&high));
        assert_eq!(census.other_assignor("sticky"), None, "as many have this one");
        assert_eq!(census.highest_preference_beside(Some(&low)), Some(3));
        assert_eq!(census.highest_preference_beside(Some(&high)), Some(0));
        census.count(Some(&high), Some(&member("hash", 0)));
        assert_eq!(
            (census.other_assignor("sticky"), census.highest_preference_beside(None)),
            (Some("hash"), Some(0))
        );
        census.count(Some(&low), None);
        census.count(Some(&low), None);
        assert_eq!((census.other_assignor("sticky"), census.highest_preference_beside(None)), (None, None));
    }
}
