//! The format of a collector's saved status: the plugin's own status, and the failures of the outbox.
//!
//! Each commit saves both, so a collector may take results off before their failures are in the table. Its successor loads the
//! outbox with the status. It may write failures that are in the table already, which changes nothing.

use anyhow::Context;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use dtf_model::failure::{Failure, FailureKey};
use dtf_model::{EmitEpoch, Seq};

/// The first bytes of a status with an outbox. The last byte is the number of the format.
const MARK: &[u8] = b"\0dtf-owed\0\x01";

/// Encodes a status. With an empty outbox it is the plugin's own status.
pub(crate) fn encode(status: Option<Bytes>, outbox: &[Failure]) -> Option<Bytes> {
    let ambiguous = status.as_ref().is_some_and(|status| status.starts_with(MARK));
    if outbox.is_empty() && !ambiguous {
        return status;
    }
    let mut text = BytesMut::from(MARK);
    put_optional(&mut text, status.as_deref());
    for failure in outbox {
        text.put_u32(failure.key.epoch.0);
        text.put_u64(failure.key.seq.0);
        text.put_u8(u8::from(failure.timed_out));
        put_optional(&mut text, Some(failure.error.as_bytes()));
        put_optional(&mut text, failure.body.as_deref());
    }
    Some(text.freeze())
}

/// Decodes the plugin's own status and the outbox.
///
/// # Errors
/// The format is unknown, or the status is cut off.
pub(crate) fn decode(saved: Option<Bytes>) -> anyhow::Result<(Option<Bytes>, Vec<Failure>)> {
    let Some(mut text) = saved.clone().filter(|saved| saved.starts_with(MARK)) else {
        return Ok((saved, Vec::new()));
    };
    text.advance(MARK.len());
    let unreadable = "the collector's saved status cannot be read";
    let status = get_optional(&mut text).context(unreadable)?;
    let mut outbox = Vec::new();
    while text.has_remaining() {
        outbox.push(failure(&mut text).context(unreadable)?);
    }
    Ok((status, outbox))
}

fn failure(text: &mut Bytes) -> anyhow::Result<Failure> {
    let key = FailureKey { epoch: EmitEpoch(text.try_get_u32()?), seq: Seq(text.try_get_u64()?) };
    let timed_out = text.try_get_u8()? != 0;
    let error = get_optional(text)?.unwrap_or_default();
    let error = String::from_utf8(error.to_vec())?;
    Ok(Failure { key, timed_out, error, body: get_optional(text)? })
}

/// Returns the number of bytes that a failure takes in a saved status.
pub(crate) fn bytes_of(failure: &Failure) -> usize {
    32 + failure.error.len() + failure.body.as_ref().map_or(0, Bytes::len)
}

fn put_optional(text: &mut BytesMut, part: Option<&[u8]>) {
    // Parts are below 4 GiB: a status and a failure have limits.
    text.put_u32(part.map_or(u32::MAX, |part| u32::try_from(part.len()).unwrap_or(u32::MAX - 1)));
    text.put_slice(part.unwrap_or_default());
}

fn get_optional(text: &mut Bytes) -> anyhow::Result<Option<Bytes>> {
    let length = match text.try_get_u32()? {
        u32::MAX => return Ok(None),
        length => length as usize,
    };
    anyhow::ensure!(length <= text.len(), "it is cut off");
    Ok(Some(text.split_to(length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failures() -> Vec<Failure> {
        let failure = |seq: u64, body: Option<&'static [u8]>| Failure {
            key: FailureKey { epoch: EmitEpoch(1 << 30), seq: Seq(seq) },
            timed_out: seq == 1,
            error: "böse".repeat(seq as usize),
            body: body.map(Bytes::from_static),
        };
        vec![failure(0, None), failure(1, Some(b"")), failure(2, Some(b"\xff\0"))]
    }

    #[test]
    fn a_status_and_its_outbox_survive_a_round_trip() {
        let nasty = Bytes::from([MARK, b"plugin's own"].concat());
        for status in [None, Some(Bytes::new()), Some(Bytes::from_static(b"status")), Some(nasty)] {
            for outbox in [vec![], failures()] {
                let saved = encode(status.clone(), &outbox);
                assert_eq!(decode(saved).unwrap(), (status.clone(), outbox));
            }
        }
    }

    #[test]
    fn with_an_empty_outbox_the_status_is_the_plugins_own() {
        let status = Some(Bytes::from_static(b"status"));
        assert_eq!(encode(status.clone(), &[]), status);
        assert_eq!(encode(None, &[]), None);
    }

    #[test]
    fn a_truncated_status_is_refused() {
        let saved = encode(Some(Bytes::from_static(b"status")), &failures()[2..]).unwrap();
        for end in MARK.len()..saved.len() {
            let is_whole = end == MARK.len() + 4 + b"status".len();
            assert_eq!(decode(Some(saved.slice(..end))).is_ok(), is_whole, "{end}");
        }
    }
}
