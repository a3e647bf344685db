//! Failures grouped by what went wrong, so that a thousand of them are read at a glance.

use std::collections::HashMap;

use dtf_model::failure::{Failure, FailureKey};

/// Failures of a task that read the same but for their numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureKind {
    /// The text that their errors have in common: numbers, and hexadecimal digits as in ids, are `#`.
    pub pattern: String,
    /// True if they took too long, and did not fail by themselves.
    pub timed_out: bool,
    /// The number of them, of those that are kept.
    pub count: u64,
    /// The error of the first one.
    pub example: String,
    /// The first one.
    pub first: FailureKey,
}

/// Groups failures, the largest group first; among equals, the one that came first.
pub(crate) fn kinds(failures: &[Failure]) -> Vec<FailureKind> {
    let mut places: HashMap<(bool, String), usize> = HashMap::new();
    let mut kinds: Vec<FailureKind> = Vec::new();
    for failure in failures {
        let pattern = pattern(&failure.error);
        let place = *places.entry((failure.timed_out, pattern.clone())).or_insert(kinds.len());
        match kinds.get_mut(place) {
            Some(kind) => kind.count += 1,
            None => kinds.push(FailureKind {
                pattern,
                timed_out: failure.timed_out,
                count: 1,
                example: failure.error.clone(),
                first: failure.key,
            }),
        }
    }
    kinds.sort_by_key(|kind| std::cmp::Reverse(kind.count));
    kinds
}

/// An error without what differs from one to the next: words of four and more hexadecimal digits with a digit among them, and numbers in
/// other words.
fn pattern(error: &str) -> String {
    /// The shortest word that is taken for a part of an id.
    const ID: usize = 4;
    let mut pattern = String::with_capacity(error.len());
    let mut rest = error;
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric();
        let end = rest.find(|c| is_word(c) != is_word(first)).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        let has_digit = word.contains(|c: char| c.is_ascii_digit());
        if has_digit && word.len() >= ID && word.chars().all(|c| c.is_ascii_hexdigit()) {
            pattern.push('#');
        } else {
            let mut was_digit = false;
            for c in word.chars() {
                let is_digit = c.is_ascii_digit();
                match is_digit {
                    true if !was_digit => pattern.push('#'),
                    true => {}
                    false => pattern.push(c),
                }
                was_digit = is_digit;
            }
        }
        rest = behind;
    }
    pattern
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use dtf_model::{EmitEpoch, Seq};

    use super::*;

    #[test]
    fn what_differs_from_one_to_the_next_is_left_out() {
        for (error, of) in [
            ("no such host db7.example", "no such host db#.example"),
            ("timeout after 30s (attempt 2)", "timeout after #s (attempt #)"),
            ("object 5f3aa9c0 not found", "object # not found"),
            ("id 018f0c6e-1b2c-7a3d-9e4f-0a1b2c3d4e5f", "id #-#-#-#-#"),
            ("a bad face", "a bad face"),
            ("größer als 10 €", "größer als # €"),
            ("", ""),
        ] {
            assert_eq!(pattern(error), of);
        }
    }

    #[test]
    fn the_largest_group_comes_first_with_its_first_failure() {
        let failure = |seq, timed_out, error: &str| {
            let key = FailureKey { epoch: EmitEpoch(1), seq: Seq(seq) };
            Failure::new(key, timed_out, error, Bytes::new())
        };
        let all = [
            failure(1, false, "bad line 4"),
            failure(2, false, "no route"),
            failure(3, true, "no route"),
            failure(5, false, "bad line 17"),
        ];
        let kinds = kinds(&all);
        let told: Vec<_> =
            kinds.iter().map(|kind| (kind.example.as_str(), kind.count, kind.timed_out)).collect();
        assert_eq!(told, [("bad line 4", 2, false), ("no route", 1, false), ("no route", 1, true)]);
        assert_eq!((kinds[0].pattern.as_str(), kinds[0].first.seq), ("bad line #", Seq(1)));
    }
}
