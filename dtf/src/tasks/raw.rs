//! Bytes in JSON: paths and arguments need not be UTF-8.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use serde::{Deserialize, Serialize};

/// Bytes, in JSON a plain string where they are UTF-8, else `{"hex": "…"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Form", into = "Form")]
pub(crate) struct Raw(pub(crate) Vec<u8>);

#[derive(Serialize, Deserialize)]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "expected a string, or {\"hex\": …} for what is not UTF-8"
)]
enum Form {
    Text(String),
    Hex { hex: String },
}

impl Raw {
    pub(crate) fn new(text: impl AsRef<OsStr>) -> Self {
        Self(text.as_ref().as_bytes().to_vec())
    }

    pub(crate) fn to_os(&self) -> OsString {
        OsString::from_vec(self.0.clone())
    }
}

impl From<Raw> for Form {
    fn from(raw: Raw) -> Self {
        String::from_utf8(raw.0).map_or_else(|error| Form::Hex { hex: to_hex(error.as_bytes()) }, Form::Text)
    }
}

impl TryFrom<Form> for Raw {
    type Error = &'static str;

    fn try_from(form: Form) -> Result<Self, Self::Error> {
        let bytes = match form {
            Form::Text(text) => text.into_bytes(),
            Form::Hex { hex } => from_hex(&hex).ok_or("hex must be pairs of hexadecimal digits")?,
        };
        match bytes.contains(&0) {
            true => Err("a path or argument cannot contain a zero byte"),
            false => Ok(Raw(bytes)),
        }
    }
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The hexadecimal digits of these bytes, lower case.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from(DIGITS[usize::from(half)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// The bytes of these hexadecimal digits; none where there are others, or an odd number.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let half = |digit: u8| char::from(digit).to_digit(16);
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| match pair {
            [high, low] => u8::try_from(half(*high)? << 4 | half(*low)?).ok(),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_byte_survives_json(bytes in proptest::collection::vec(1_u8..=255, 0..40)) {
            let json = serde_json::to_string(&Raw(bytes.clone())).unwrap();
            let back: Raw = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(back.0, bytes);
        }
    }

    #[test]
    fn text_stays_text_and_nonsense_is_refused() {
        assert_eq!(serde_json::to_string(&Raw::new("ä")).unwrap(), "\"ä\"");
        assert_eq!(serde_json::to_string(&Raw(vec![0xff])).unwrap(), r#"{"hex":"ff"}"#);
        for wrong in ["3", "null", r#"{"hex":"f"}"#, r#"{"hex":"zz"}"#, r#"{"heX":"ff"}"#, r#""a\u0000""#] {
            let error = serde_json::from_str::<Raw>(wrong).unwrap_err().to_string();
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
