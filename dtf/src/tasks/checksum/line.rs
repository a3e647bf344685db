//! A line of a manifest, byte for byte as `sha256sum` of GNU coreutils (9.1) prints it.

use super::super::raw::to_hex;

/// Appends the line of a file: digest, two spaces, path. A path with a backslash, newline or carriage return is
/// escaped, and a backslash before the line says so.
pub(super) fn append(to: &mut Vec<u8>, digest: &[u8], path: &[u8]) {
    let special = |byte: &u8| matches!(byte, b'\\' | b'\n' | b'\r');
    let escape = path.iter().any(special);
    if escape {
        to.push(b'\\');
    }
    to.extend_from_slice(to_hex(digest).as_bytes());
    to.extend_from_slice(b"  ");
    match escape {
        true => path.iter().for_each(|byte| match byte {
            b'\\' => to.extend_from_slice(b"\\\\"),
            b'\n' => to.extend_from_slice(b"\\n"),
            b'\r' => to.extend_from_slice(b"\\r"),
            _ => to.push(*byte),
        }),
        false => to.extend_from_slice(path),
    }
    to.push(b'\n');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The path that `sha256sum -c` would read from a line.
    fn path_in(line: &[u8]) -> Vec<u8> {
        let line = line.strip_suffix(b"\n").unwrap();
        let Some(line) = line.strip_prefix(b"\\") else {
            return line[66..].to_vec();
        };
        let mut path = Vec::new();
        let mut bytes = line[66..].iter();
        while let Some(byte) = bytes.next() {
            path.push(match byte {
                b'\\' => match bytes.next().unwrap() {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    other => *other,
                },
                _ => *byte,
            });
        }
        path
    }

    proptest! {
        #[test]
        fn every_path_can_be_read_back_from_one_line(
            path in proptest::collection::vec(prop_oneof![Just(b'\\'), Just(b'\n'), Just(b'\r'), Just(b'n'), 1_u8..=255], 1..20)
        ) {
            let mut line = Vec::new();
            append(&mut line, &[0xab; 32], &path);
            prop_assert_eq!(line.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count(), 1);
            prop_assert_eq!(path_in(&line), path);
        }
    }
}
