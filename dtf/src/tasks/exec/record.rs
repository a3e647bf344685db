//! What travels between the parts of an exec task: lines, and how their commands ended.

use std::io;

use super::super::codec::{damaged, put_bytes, put_number, take_bytes, take_number};
use super::command::Ended;
use super::input::Line;

/// The body of a subtask.
pub(super) fn encode_line(line: &Line) -> io::Result<Vec<u8>> {
    let mut body = Vec::with_capacity(line.text.len() + 12);
    put_line(&mut body, line)?;
    Ok(body)
}

fn put_line(to: &mut Vec<u8>, line: &Line) -> io::Result<()> {
    put_number(to, line.number)?;
    put_number(to, u64::from(line.too_long))?;
    put_bytes(to, &line.text)
}

/// Reads what [`encode_line`] wrote, and takes it off `body`.
pub(super) fn take_line(body: &mut &[u8]) -> io::Result<Line> {
    let number = take_number(body)?;
    let too_long = take_number(body)? != 0;
    let mut text = Vec::new();
    take_bytes(body, &mut text)?;
    Ok(Line { number, text, too_long })
}

/// How the command of a line ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) line: Line,
    /// When it was started, in milliseconds since the Unix epoch.
    pub(super) started_ms: u64,
    /// How long it ran.
    pub(super) ran_ms: u64,
    pub(super) ended: Ended,
}

impl Record {
    /// The body of a result.
    pub(super) fn encode(&self) -> io::Result<Vec<u8>> {
        let mut body = encode_line(&self.line)?;
        for number in [self.started_ms, self.ran_ms, self.ended.code.into(), self.ended.signal.into()] {
            put_number(&mut body, number)?;
        }
        put_bytes(&mut body, self.ended.why.as_bytes())?;
        Ok(body)
    }

    pub(super) fn decode(mut body: &[u8]) -> io::Result<Self> {
        let body = &mut body;
        let line = take_line(body)?;
        let (started_ms, ran_ms) = (take_number(body)?, take_number(body)?);
        let mut small = || u32::try_from(take_number(body)?).map_err(|_| damaged());
        let (code, signal) = (small()?, small()?);
        let mut why = Vec::new();
        take_bytes(body, &mut why)?;
        let why = String::from_utf8(why).map_err(|_| damaged())?;
        Ok(Self { line, started_ms, ran_ms, ended: Ended { code, signal, why } })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn records_survive(
            (number, too_long, text) in (any::<u64>(), any::<bool>(), proptest::collection::vec(any::<u8>(), 0..40)),
            (started_ms, ran_ms) in any::<(u64, u64)>(),
            (code, signal, why) in any::<(u32, u32, String)>(),
        ) {
            let line = Line { number, text, too_long };
            let record = Record { line, started_ms, ran_ms, ended: Ended { code, signal, why } };
            let body = record.encode().unwrap();
            prop_assert_eq!(Record::decode(&body).unwrap(), record);
            prop_assert!(Record::decode(&body[..body.len() - 1]).is_err());
        }
    }
}
