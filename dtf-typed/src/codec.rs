//! The stored form of typed values, and errors that name the value and its type.

use std::any::type_name;
use std::fmt::Display;

use anyhow::Context;
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Encodes a value. `what` names it in the error.
pub(crate) fn encode<T: Serialize>(what: impl Display, value: &T) -> anyhow::Result<Bytes> {
    let text = serde_json::to_vec(value)
        .with_context(|| format!("{what} of type {} cannot be written as JSON", type_name::<T>()))?;
    Ok(text.into())
}

/// Decodes a value. `what` names it in the error.
pub(crate) fn decode<T: DeserializeOwned>(what: impl Display, text: &[u8]) -> anyhow::Result<T> {
    serde_json::from_slice(text).with_context(|| format!("{what} is no {}", type_name::<T>()))
}

/// Decodes the parameter of a task of this type.
pub(crate) fn decode_param<P: DeserializeOwned>(name: &str, param: &serde_json::Value) -> anyhow::Result<P> {
    P::deserialize(param).with_context(|| format!("the parameter of {name} is no {}", type_name::<P>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_value_and_its_type() {
        let wrong = decode::<u64>("the body", b"\"seven\"").unwrap_err();
        assert_eq!(
            format!("{wrong:#}"),
            "the body is no u64: invalid type: string \"seven\", expected u64 at line 1 column 7"
        );
        let wrong = decode_param::<Vec<u8>>("sums", &serde_json::json!({"a": 1})).unwrap_err();
        assert_eq!(
            format!("{wrong:#}"),
            "the parameter of sums is no alloc::vec::Vec<u8>: invalid type: map, expected a sequence"
        );
        let wrong = encode("the item", &std::collections::BTreeMap::from([((1, 2), 3)])).unwrap_err();
        assert!(format!("{wrong:#}").starts_with("the item of type"), "{wrong:#}");
    }

    #[test]
    fn floating_point_numbers_survive_exactly() {
        for number in
            [0.1 + 0.2, 1.0 / 3.0, 5e-324, f64::MAX, 2.225_073_858_507_201e-308, 123_456_789.123_456_79]
        {
            let text = encode("a number", &number).unwrap();
            assert_eq!(decode::<f64>("a number", &text).unwrap().to_bits(), number.to_bits(), "{number:e}");
        }
    }
}
