//! Results of predecessors in the parameter of a task: `{"$result": "/pointer", "of": "name"}`.

use serde_json::{Map, Value};

use crate::error::InvalidInput;

/// The key of a reference.
pub const RESULT: &str = "$result";
/// The key that names the predecessor, where there are several.
const OF: &str = "of";
/// The largest part of a result that a reference takes, as JSON text, in bytes.
pub const MAX_RESULT_BYTES: usize = 64 * 1024;

/// Returns true if a parameter has references in it.
pub fn takes_results(param: &Value) -> bool {
    match param {
        Value::Object(fields) => fields.contains_key(RESULT) || fields.values().any(takes_results),
        Value::Array(items) => items.iter().any(takes_results),
        _ => false,
    }
}

/// A reference: a JSON pointer into the data of a result, and the predecessor.
struct Reference<'a> {
    pointer: &'a str,
    of: Option<&'a str>,
}

fn reference(fields: &Map<String, Value>) -> Result<Option<Reference<'_>>, String> {
    let Some(pointer) = fields.get(RESULT) else { return Ok(None) };
    let form = || {
        format!(
            "a reference to a result is written as {{\"{RESULT}\": \"/pointer\"}} or with \"{OF}\": \"task\" beside it"
        )
    };
    let pointer =
        pointer.as_str().filter(|pointer| pointer.is_empty() || pointer.starts_with('/')).ok_or_else(form)?;
    let of = match fields.get(OF) {
        None => None,
        Some(of) => Some(of.as_str().ok_or_else(form)?),
    };
    match fields.len() == 1 + usize::from(of.is_some()) {
        true => Ok(Some(Reference { pointer, of })),
        false => Err(form()),
    }
}

/// Returns a parameter with results in place of its references. `result` has the data of the result of the predecessor that is
/// named, or of the only one.
///
/// # Errors
/// One line: the reference cannot be read, the predecessor or the part is not there, or the part is too large.
pub fn substituted<'a>(
    param: &Value,
    result: &impl Fn(Option<&str>) -> Result<&'a Value, String>,
) -> Result<Value, String> {
    match param {
        Value::Object(fields) => match reference(fields)? {
            Some(Reference { pointer, of }) => {
                let data = result(of)?;
                let part = data.pointer(pointer).ok_or_else(|| format!("the result has no {pointer:?}"))?;
                let bytes = part.to_string().len();
                match bytes > MAX_RESULT_BYTES {
                    true => Err(format!(
                        "{pointer:?} of the result has {bytes} bytes; at most {MAX_RESULT_BYTES} are taken"
                    )),
                    false => Ok(part.clone()),
                }
            }
            None => {
                let fields =
                    fields.iter().map(|(name, field)| Ok((name.clone(), substituted(field, result)?)));
                Ok(Value::Object(fields.collect::<Result<_, String>>()?))
            }
        },
        Value::Array(items) => {
            Ok(Value::Array(items.iter().map(|item| substituted(item, result)).collect::<Result<_, _>>()?))
        }
        other => Ok(other.clone()),
    }
}

/// Checks that the references of a parameter can be read and name predecessors.
///
/// # Errors
/// [`InvalidInput::Flow`] in one line.
pub fn check_references(param: &Value, predecessors: &[&str]) -> Result<(), InvalidInput> {
    let wrong = |why: String| InvalidInput::Flow(format!("the parameter cannot be filled: {why}"));
    match param {
        Value::Object(fields) => match reference(fields).map_err(wrong)? {
            Some(Reference { of: Some(of), .. }) if !predecessors.contains(&of) => Err(wrong(format!(
                "{of:?} is none of the tasks that it waits for ({})",
                predecessors.join(", ")
            ))),
            Some(Reference { of: None, .. }) if predecessors.len() != 1 => Err(wrong(format!(
                "it waits for {} tasks; name the one whose result is meant with \"{OF}\"",
                predecessors.len()
            ))),
            Some(_) => Ok(()),
            None => fields.values().try_for_each(|field| check_references(field, predecessors)),
        },
        Value::Array(items) => items.iter().try_for_each(|item| check_references(item, predecessors)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn references_are_replaced_wherever_they_are() {
        let (one, other) = (json!({"sum": [1, {"x": "deep"}]}), json!(7));
        let result = |of: Option<&str>| match of {
            None | Some("a") => Ok(&one),
            Some("b") => Ok(&other),
            Some(of) => Err(format!("no {of}")),
        };
        let param = json!({"n": {"$result": "/sum/0"}, "list": ["$result", {"$result": "/sum/1/x", "of": "a"}, {"$result": "", "of": "b"}]});
        let filled = substituted(&param, &result).unwrap();
        assert_eq!(filled, json!({"n": 1, "list": ["$result", "deep", 7]}));
        assert!(takes_results(&param) && !takes_results(&filled));
        for (wrong, said) in [
            (json!({"$result": "/none"}), "has no \"/none\""),
            (json!({"$result": "sum"}), "is written as"),
            (json!({"$result": 5}), "is written as"),
            (json!({"$result": "/sum", "off": "a"}), "is written as"),
            (json!([{"$result": "", "of": "c"}]), "no c"),
        ] {
            let line = substituted(&wrong, &result).unwrap_err();
            assert!(line.contains(said), "{line}");
        }
        let large = json!("x".repeat(MAX_RESULT_BYTES));
        assert!(substituted(&json!({"$result": ""}), &|_| Ok(&large)).unwrap_err().contains("at most 65536"));
    }

    #[test]
    fn a_reference_names_a_predecessor_unless_there_is_only_one() {
        let plain = json!({"x": [{"$result": "/a"}]});
        assert!(check_references(&plain, &["one"]).is_ok());
        for predecessors in [&[][..], &["one", "two"]] {
            assert!(check_references(&plain, predecessors).unwrap_err().to_string().contains("name the one"));
        }
        let named = json!({"$result": "/a", "of": "two"});
        assert!(check_references(&named, &["one", "two"]).is_ok());
        assert!(check_references(&named, &["one"]).unwrap_err().to_string().contains("none of the tasks"));
    }
}
