//! The end of what a command writes: as much as is to be kept.

use std::collections::VecDeque;
use std::io;

use super::command::Listener;
use super::show::Stream;

/// The last bytes of an output.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tail {
    bytes: VecDeque<u8>,
    /// The number of bytes before them.
    cut: u64,
}

impl Tail {
    fn push(&mut self, bytes: &[u8], most: usize) {
        let kept = &bytes[bytes.len().saturating_sub(most)..];
        let over = (self.bytes.len() + kept.len()).saturating_sub(most);
        self.bytes.drain(..over);
        self.cut += (over + bytes.len() - kept.len()) as u64;
        self.bytes.extend(kept);
    }

    /// Returns the number of bytes that were not kept.
    pub(super) fn cut(&self) -> u64 {
        self.cut
    }

    /// Returns the bytes as text; what is no UTF-8 is replaced.
    pub(super) fn text(&self) -> String {
        let (front, back) = self.bytes.as_slices();
        String::from_utf8_lossy(&[front, back].concat()).into_owned()
    }
}

/// The ends of both outputs of a command.
#[derive(Debug, Default)]
pub(super) struct Tails {
    pub(super) out: Tail,
    pub(super) err: Tail,
    /// The number of bytes that are kept of each.
    pub(super) most: usize,
}

impl Listener for &mut Tails {
    async fn take(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        let most = self.most;
        match stream {
            Stream::Out => self.out.push(bytes, most),
            Stream::Err => self.err.push(bytes, most),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_kept_however_it_is_written() {
        for chunk in 1..12 {
            let mut tail = Tail::default();
            "0123456789".as_bytes().chunks(chunk).for_each(|bytes| tail.push(bytes, 4));
            assert_eq!((tail.text().as_str(), tail.cut()), ("6789", 6), "{chunk}");
        }
        let mut short = Tail::default();
        short.push(b"a\xff", 4);
        assert_eq!((short.text().as_str(), short.cut()), ("a\u{fffd}", 0));
    }
}
