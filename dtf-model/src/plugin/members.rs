//! The numbers of the members of types.

use std::ops::RangeInclusive;

use crate::ids::TaskTypeId;

/// The numbers that members have; no type is registered under one of them.
const MEMBERS: RangeInclusive<u32> = 1 << 30..=(1 << 31) - 1;

/// Returns true if this is the number of a member.
pub(crate) fn is_member(task_type: TaskTypeId) -> bool {
    MEMBERS.contains(&task_type.0)
}

/// Returns the number of a member: a hash of `type:member`, the lower 30 bits of 32-bit FNV-1a, above 2^30. It is stored in `tbl_task` and
/// on the wire, so it never changes. Where two members have the same one, an executor that has one of them is given the items of the
/// other as well, and keeps them until it has that, too.
pub(crate) fn number_of(family: &str, member: &str) -> TaskTypeId {
    let bytes = family.bytes().chain(*b":").chain(member.bytes());
    let fnv = bytes.fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    TaskTypeId(fnv & (MEMBERS.start() - 1) | MEMBERS.start())
}

/// The beginning of the members that are types of their own, with a name that data gave them. No function's name has a colon.
const DEFINED: &str = "type:";

/// Returns the member that a type which is defined is.
pub fn of_defined(name: &str) -> String {
    format!("{DEFINED}{name}")
}

/// Returns the name of a type that is defined, where the member is one.
pub(crate) fn defined_name(member: &str) -> Option<&str> {
    member.strip_prefix(DEFINED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_that_are_stored_already() {
        assert_eq!(number_of("map", "thumbnail").0, 1_739_652_659);
        assert!(is_member(number_of("", "")) && !is_member(TaskTypeId(5)) && !is_member(TaskTypeId(1 << 31)));
    }
}
