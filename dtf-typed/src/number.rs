//! The number of a task type, derived from its name.

use dtf_model::TaskTypeId;

/// Returns the number of a task type that is given none: a hash of its name.
///
/// It is stored in `tbl_task.task_type` and on the wire, so it never changes: the 32-bit FNV-1a hash of the name's UTF-8
/// bytes, with the highest bit set. Numbers below 2^31 are left for types that are [given](crate::TaskTypeBuilder::number)
/// one. Among a hundred names two have the same number with a probability of two in a million; a process that knows both
/// refuses to start, and one of them then needs a number of its own.
///
/// ```
/// assert_eq!(dtf_typed::number_of("squares").0, 2_946_410_863);
/// ```
pub fn number_of(name: &str) -> TaskTypeId {
    let fnv =
        name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    TaskTypeId(fnv | 1 << 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_that_are_stored_already() {
        // The published test vectors of FNV-1a.
        assert_eq!(number_of("").0, 0x811c_9dc5);
        assert_eq!(number_of("a").0, 0xe40c_292c);
        assert_eq!(number_of("foobar").0, 0xbf9c_f968);
        assert_eq!(number_of("foob").0, 0x3f5076ef | 1 << 31);
    }
}
