//! Lines that are given as arguments: `::: a b ::: 1 2` means every value of the first source with every one of the second.

use super::input::Line;

/// Sources of values. Those that are linked (`:::+`) go along with the one before; the others are combined, the last one
/// changing fastest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Arguments {
    /// Linked sources, as rows of values that go together.
    rows: Vec<Vec<Vec<Vec<u8>>>>,
}

impl Arguments {
    /// Combines sources, each with its values and whether it is linked with the one before. Linked ones are as long as the
    /// shortest of them.
    pub(super) fn new(sources: Vec<(bool, Vec<Vec<u8>>)>) -> Self {
        let mut rows: Vec<Vec<Vec<Vec<u8>>>> = Vec::new();
        for (linked, values) in sources {
            match rows.last_mut().filter(|_| linked) {
                Some(before) => {
                    before.truncate(values.len());
                    before.iter_mut().zip(values).for_each(|(row, value)| row.push(value));
                }
                None => rows.push(values.into_iter().map(|value| vec![value]).collect()),
            }
        }
        Self { rows }
    }

    /// Returns the number of lines.
    pub(super) fn len(&self) -> u64 {
        self.rows.iter().map(|rows| rows.len() as u64).fold(1, u64::saturating_mul)
    }

    /// The lines behind the first `position`, at most `most`.
    pub(super) fn next(&self, position: u64, most: usize) -> Vec<Line> {
        let until = self.len().min(position.saturating_add(most as u64));
        (position..until).map(|at| self.line(at)).collect()
    }

    fn line(&self, at: u64) -> Line {
        let mut rest = at;
        let mut chosen: Vec<&Vec<Vec<u8>>> = Vec::with_capacity(self.rows.len());
        for rows in self.rows.iter().rev() {
            let length = rows.len() as u64;
            chosen.push(&rows[(rest % length) as usize]);
            rest /= length;
        }
        let columns: Vec<Vec<u8>> = chosen.into_iter().rev().flatten().cloned().collect();
        Line { number: at + 1, text: columns.join(&b' '), columns, too_long: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(sources: &[(bool, &[&str])]) -> Vec<String> {
        let bytes = |values: &[&str]| values.iter().map(|value| value.as_bytes().to_vec()).collect();
        let arguments =
            Arguments::new(sources.iter().map(|(linked, values)| (*linked, bytes(values))).collect());
        let mut made = Vec::new();
        while (made.len() as u64) < arguments.len() {
            made.extend(arguments.next(made.len() as u64, 2));
        }
        assert!(made.iter().map(|line| line.number).eq(1..=made.len() as u64));
        made.into_iter().map(|line| String::from_utf8(line.text).unwrap()).collect()
    }

    #[test]
    fn sources_are_combined_as_gnu_parallel_combines_them() {
        assert_eq!(all(&[(false, &["a", "b"])]), ["a", "b"]);
        assert_eq!(all(&[(false, &["a", "b"]), (false, &["1", "2"])]), ["a 1", "a 2", "b 1", "b 2"]);
        assert_eq!(all(&[(false, &["a", "b"]), (true, &["x", "y", "z"])]), ["a x", "b y"]);
        assert_eq!(all(&[(false, &["a", "b"]), (true, &["x"]), (false, &["1", "2"])]), ["a x 1", "a x 2"]);
        assert_eq!(all(&[(false, &["a", "b"]), (false, &[])]), [""; 0]);
    }
}
