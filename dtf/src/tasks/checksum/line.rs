//! A line of a manifest, byte for byte as `sha256sum` of GNU coreutils (9.1) prints it; read, in the forms that
//! `sha256sum -c` reads.

use super::super::raw::{from_hex, to_hex};
use super::digest::Digest;

/// Appends the line of a file: digest, two spaces, path. A path with a backslash, newline or carriage return is
/// escaped, and a backslash before the line says so.
pub(super) fn append(to: &mut Vec<u8>, digest: &[u8], path: &[u8]) {
    let special = |byte: &u8| matches!(byte, b'\\' | b'\n' | b'\r');
    if path.iter().any(special) {
        to.push(b'\\');
    }
    to.extend_from_slice(to_hex(digest).as_bytes());
    to.extend_from_slice(b"  ");
    append_path(to, path);
    to.push(b'\n');
}

/// Appends a path, escaped where it has to be.
pub(super) fn append_path(to: &mut Vec<u8>, path: &[u8]) {
    for byte in path {
        match byte {
            b'\\' => to.extend_from_slice(b"\\\\"),
            b'\n' => to.extend_from_slice(b"\\n"),
            b'\r' => to.extend_from_slice(b"\\r"),
            _ => to.push(*byte),
        }
    }
}

/// The expectation of a line about a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) kind: Digest,
    pub(super) digest: Vec<u8>,
    pub(super) path: Vec<u8>,
}

/// Reads a line, without its newline: `digest  path` or `digest *path`, or `NAME (path) = digest`. In the first form the
/// length of the digest tells its kind; `usual` is taken where several have that length.
pub(super) fn read(line: &[u8], usual: Digest) -> Option<Expected> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let (escaped, line) = match line.strip_prefix(b"\\") {
        Some(line) => (true, line),
        None => (false, line),
    };
    let (kind, digest, path) = tagged(line).or_else(|| plain(line, usual))?;
    let path = if escaped { unescaped(path)? } else { path.to_vec() };
    (digest.len() == kind.len() && !path.is_empty() && !path.contains(&0)).then_some(Expected {
        kind,
        digest,
        path,
    })
}

fn plain(line: &[u8], usual: Digest) -> Option<(Digest, Vec<u8>, &[u8])> {
    let end = line.iter().position(|byte| *byte == b' ')?;
    let (digest, path) = line.split_at(end);
    let digest = from_hex(std::str::from_utf8(digest).ok()?)?;
    let mut kinds = std::iter::once(usual).chain(Digest::ALL);
    let kind = kinds.find(|kind| kind.len() == digest.len())?;
    Some((kind, digest, path.strip_prefix(b"  ").or_else(|| path.strip_prefix(b" *"))?))
}

fn tagged(line: &[u8]) -> Option<(Digest, Vec<u8>, &[u8])> {
    let kind = Digest::ALL
        .into_iter()
        .find(|kind| line.strip_prefix(kind.tag().as_bytes()).is_some_and(|rest| rest.starts_with(b" (")))?;
    let rest = &line[kind.tag().len() + 2..];
    let end = rest.windows(4).rposition(|part| part == b") = ")?;
    let digest = from_hex(std::str::from_utf8(&rest[end + 4..]).ok()?)?;
    Some((kind, digest, &rest[..end]))
}

fn unescaped(path: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(path.len());
    let mut bytes = path.iter();
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'\\' => match bytes.next()? {
                b'n' => b'\n',
                b'r' => b'\r',
                b'\\' => b'\\',
                _ => return None,
            },
            _ => *byte,
        });
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_path_can_be_read_back_from_one_line(
            path in proptest::collection::vec(prop_oneof![Just(b'\\'), Just(b'\n'), Just(b'\r'), Just(b'n'), 1_u8..=255], 1..20)
        ) {
            let mut line = Vec::new();
            append(&mut line, &[0xab; 32], &path);
            prop_assert_eq!(line.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count(), 1);
            let read = read(line.strip_suffix(b"\n").unwrap(), Digest::Sha256);
            prop_assert_eq!(read, Some(Expected { kind: Digest::Sha256, digest: vec![0xab; 32], path }));
        }

        #[test]
        fn nonsense_is_no_line_and_no_panic(line in proptest::collection::vec(any::<u8>(), 0..80)) {
            prop_assert_eq!(read(&line, Digest::Sha256), None);
        }
    }

    #[test]
    fn lines_of_other_tools_are_read() {
        let hex = |length: usize| "Ab".repeat(length);
        for (line, usual, expected) in [
            (format!("{} *a b", hex(32)), Digest::Sha256, Some((Digest::Sha256, "a b"))),
            (format!("{}  a", hex(32)), Digest::Blake3, Some((Digest::Blake3, "a"))),
            (format!("{}  a\r", hex(64)), Digest::Sha256, Some((Digest::Sha512, "a"))),
            (format!("{}  a", hex(16)), Digest::Blake3, Some((Digest::Md5, "a"))),
            (format!("SHA512 (a) = b) = {}", hex(64)), Digest::Md5, Some((Digest::Sha512, "a) = b"))),
            (format!("MD5 (a) = {}", hex(32)), Digest::Md5, None),
            (format!("{} a", hex(32)), Digest::Sha256, None),
            (format!("{}  ", hex(32)), Digest::Sha256, None),
            (format!("{}  a", hex(20)), Digest::Sha256, None),
            (format!("\\{}  a\\x", hex(32)), Digest::Sha256, None),
            (String::new(), Digest::Sha256, None),
        ] {
            let read =
                read(line.as_bytes(), usual).map(|read| (read.kind, String::from_utf8(read.path).unwrap()));
            assert_eq!(read, expected.map(|(kind, path)| (kind, path.to_owned())), "{line}");
        }
    }
}
