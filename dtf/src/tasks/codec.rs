//! A compact form for subtask and result bodies: numbers of varying length, byte strings, and sorted or related paths
//! of which only the end is written.

use std::io::{self, BufRead, Read, Write};

/// No byte string is longer; what says so is damaged. Keeps a damaged length from asking for all memory.
const LONGEST: u64 = 16 * 1024 * 1024;

/// Appends a number: seven bits a byte, the lowest first.
pub(super) fn put_number(to: &mut impl Write, mut number: u64) -> io::Result<()> {
    let mut bytes = [0_u8; 10];
    let mut length = 0;
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        bytes[length] = if number == 0 { low } else { low | 0x80 };
        length += 1;
        if number == 0 {
            return to.write_all(&bytes[..length]);
        }
    }
}

/// Appends a byte string with its length before it.
pub(super) fn put_bytes(to: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    put_number(to, bytes.len() as u64)?;
    to.write_all(bytes)
}

/// Reads a number.
pub(super) fn take_number(from: &mut impl Read) -> io::Result<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let mut byte = [0_u8];
        from.read_exact(&mut byte)?;
        let low = u64::from(byte[0] & 0x7f);
        if low << shift >> shift != low {
            return Err(damaged());
        }
        number |= low << shift;
        if byte[0] & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(damaged())
}

/// Reads a byte string and appends it to `to`.
pub(super) fn take_bytes(from: &mut impl Read, to: &mut Vec<u8>) -> io::Result<()> {
    let length = take_number(from)?;
    if length > LONGEST {
        return Err(damaged());
    }
    match from.take(length).read_to_end(to)? as u64 == length {
        true => Ok(()),
        false => Err(damaged()),
    }
}

/// Returns true if nothing is left.
pub(super) fn at_end(from: &mut impl BufRead) -> io::Result<bool> {
    Ok(from.fill_buf()?.is_empty())
}

/// The error for bytes that are not in the form expected.
pub(super) fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the encoding is damaged")
}

/// Writes paths, of each only what differs from the one before.
#[derive(Default)]
pub(super) struct PathWriter {
    last: Vec<u8>,
}

impl PathWriter {
    pub(super) fn put(&mut self, to: &mut impl Write, path: &[u8]) -> io::Result<()> {
        let shared = self.last.iter().zip(path).take_while(|(before, now)| before == now).count();
        put_number(to, shared as u64)?;
        put_bytes(to, &path[shared..])?;
        self.last.truncate(shared);
        self.last.extend_from_slice(&path[shared..]);
        Ok(())
    }
}

/// Reads what a [`PathWriter`] wrote.
#[derive(Default)]
pub(super) struct PathReader {
    last: Vec<u8>,
}

impl PathReader {
    pub(super) fn take(&mut self, from: &mut impl Read) -> io::Result<&[u8]> {
        let shared = usize::try_from(take_number(from)?).map_err(|_| damaged())?;
        if shared > self.last.len() {
            return Err(damaged());
        }
        self.last.truncate(shared);
        take_bytes(from, &mut self.last)?;
        Ok(&self.last)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(
            numbers in proptest::collection::vec(any::<u64>(), 0..8),
            paths in proptest::collection::vec("[ab/\n\\\\]{0,12}", 0..8),
        ) {
            let mut bytes = Vec::new();
            let mut writer = PathWriter::default();
            numbers.iter().try_for_each(|number| put_number(&mut bytes, *number)).unwrap();
            paths.iter().try_for_each(|path| writer.put(&mut bytes, path.as_bytes())).unwrap();
            let mut rest = bytes.as_slice();
            for number in numbers {
                prop_assert_eq!(take_number(&mut rest).unwrap(), number);
            }
            let mut reader = PathReader::default();
            for path in paths {
                prop_assert_eq!(reader.take(&mut rest).unwrap(), path.as_bytes());
            }
            prop_assert!(at_end(&mut rest).unwrap());
        }

        #[test]
        fn nonsense_is_an_error_and_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut rest = bytes.as_slice();
            let mut reader = PathReader::default();
            while !at_end(&mut rest).unwrap() && reader.take(&mut rest).is_ok() {}
        }
    }
}
