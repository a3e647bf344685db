//! Types that are defined of `map`: a template, and the parameters of a task that are put into it.
//!
//! In a template, `{"$param": "/pointer"}` stands for the value at that JSON pointer (RFC 6901) of the parameters, and
//! `{"$param": "/pointer", "default": …}` for another one where there is none; `{{/pointer}}` in a string stands for the text of a
//! string, number or boolean there.

use std::fmt;

use dtf_model::InvalidInput;
use dtf_model::defined_type::DefinedType;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::param::MapParam;
use crate::schema;

/// The names that a template may have.
const NAMES: [&str; 7] = ["source", "function", "sink", "failed", "key", "attempts", "timeout_ms"];
/// The deepest nesting of a template.
const MAX_DEPTH: usize = 32;

/// The type that a task was created as, and the parameters that it was created with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DefinedAs {
    /// The name of the type.
    pub name: String,
    /// The version of its definition.
    pub version: u32,
    /// The parameters.
    pub param: Value,
}

/// Checks a definition.
///
/// # Errors
/// The first thing that is wrong, and what is allowed.
pub(crate) fn check(definition: &DefinedType) -> Result<(), InvalidInput> {
    definition.check()?;
    let Value::Object(template) = &definition.template else {
        return Err(wrong(definition, "has a template that is no object"));
    };
    if let Some(name) = template.keys().find(|name| !NAMES.contains(&name.as_str())) {
        return Err(wrong(
            definition,
            format!("has {name:?} in its template; allowed are {}", NAMES.join(", ")),
        ));
    }
    for name in ["source", "function"] {
        if !template.contains_key(name) {
            return Err(wrong(definition, format!("has no {name} in its template")));
        }
    }
    schema::check(definition)?;
    match places(&definition.template, 0) {
        Ok(false) => {
            MapParam::from_json(&definition.template).map(drop).map_err(|error| wrong(definition, error))
        }
        // With places, the rest is known with the parameters of a task.
        Ok(true) => Ok(()),
        Err(why) => Err(wrong(definition, why)),
    }
}

fn wrong(definition: &DefinedType, why: impl fmt::Display) -> InvalidInput {
    InvalidInput::TypeParam(format!("the type {} {why}", definition.name))
}

/// Returns whether a template has places for parameters.
fn places(template: &Value, depth: usize) -> Result<bool, String> {
    if depth > MAX_DEPTH {
        return Err(format!("has a template of more than {MAX_DEPTH} levels"));
    }
    match template {
        Value::Object(fields) => {
            if let Some(place) = Place::of(fields)? {
                check_pointer(place.pointer)?;
                return Ok(true);
            }
            fields.values().try_fold(false, |any, value| Ok(places(value, depth + 1)? || any))
        }
        Value::Array(values) => {
            values.iter().try_fold(false, |any, value| Ok(places(value, depth + 1)? || any))
        }
        Value::String(text) => {
            let mut any = false;
            for piece in pieces(text) {
                if let Piece::Place(pointer) = piece {
                    check_pointer(pointer)?;
                    any = true;
                }
            }
            Ok(any)
        }
        _ => Ok(false),
    }
}

fn check_pointer(pointer: &str) -> Result<(), String> {
    if pointer.is_empty() || pointer.starts_with('/') {
        return Ok(());
    }
    Err(format!("has the place {pointer:?}; allowed is a JSON pointer, as in /width"))
}

/// A place for a value.
struct Place<'a> {
    pointer: &'a str,
    default: Option<&'a Value>,
}

impl<'a> Place<'a> {
    fn of(fields: &'a Map<String, Value>) -> Result<Option<Self>, String> {
        let Some(pointer) = fields.get("$param") else { return Ok(None) };
        let default = fields.get("default");
        let (Value::String(pointer), true) = (pointer, fields.len() == 1 + usize::from(default.is_some()))
        else {
            return Err("has a place that is not {\"$param\": \"/pointer\"}, with a \"default\" or without"
                .to_owned());
        };
        Ok(Some(Self { pointer, default }))
    }
}

/// A piece of a string.
enum Piece<'a> {
    Text(&'a str),
    Place(&'a str),
}

fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        // What is between braces and begins otherwise is for somebody else, such as `{{due}}` for a schedule.
        let place = rest.find("{{/").and_then(|begin| Some((begin, begin + rest[begin..].find("}}")?)));
        match place {
            Some((0, end)) => {
                let place = &rest[2..end];
                rest = &rest[end + 2..];
                Some(Piece::Place(place))
            }
            Some((begin, _)) => {
                let (text, after) = rest.split_at(begin);
                rest = after;
                Some(Piece::Text(text))
            }
            None => Some(Piece::Text(std::mem::take(&mut rest))),
        }
    })
}

/// Returns the parameters of a task of this type, for what it is created with.
///
/// # Errors
/// The parameters do not fit the schema, or the template lacks one; the error has the path of each field that is wrong.
pub(crate) fn fill_in(definition: &DefinedType, given: &Value) -> Result<Value, InvalidInput> {
    if !awaits_results(given) {
        schema::validate(definition, given)?;
    }
    let Value::Object(mut filled) =
        fill(&definition.template, given).map_err(|why| wrong(definition, why))?
    else {
        return Err(wrong(definition, "has a template that is no object"));
    };
    let defined =
        DefinedAs { name: definition.name.clone(), version: definition.version, param: given.clone() };
    filled.insert("defined".to_owned(), json!(defined));
    Ok(Value::Object(filled))
}

/// Returns whether values are still to be taken from a predecessor's result: only then is it known what they are.
fn awaits_results(given: &Value) -> bool {
    match given {
        Value::Object(fields) => fields.contains_key("$result") || fields.values().any(awaits_results),
        Value::Array(values) => values.iter().any(awaits_results),
        _ => false,
    }
}

fn fill(template: &Value, given: &Value) -> Result<Value, String> {
    Ok(match template {
        Value::Object(fields) => match Place::of(fields)? {
            Some(place) => match given.pointer(place.pointer).or(place.default) {
                Some(value) => value.clone(),
                None => return Err(lacking(place.pointer)),
            },
            None => {
                let fields = fields.iter().map(|(name, value)| Ok((name.clone(), fill(value, given)?)));
                Value::Object(fields.collect::<Result<_, String>>()?)
            }
        },
        Value::Array(values) => {
            Value::Array(values.iter().map(|value| fill(value, given)).collect::<Result<_, _>>()?)
        }
        Value::String(text) => Value::String(fill_text(text, given)?),
        other => other.clone(),
    })
}

fn fill_text(text: &str, given: &Value) -> Result<String, String> {
    let mut filled = String::new();
    for piece in pieces(text) {
        match piece {
            Piece::Text(text) => filled.push_str(text),
            Piece::Place(pointer) => match given.pointer(pointer) {
                Some(Value::String(text)) => filled.push_str(text),
                Some(value @ (Value::Number(_) | Value::Bool(_))) => filled.push_str(&value.to_string()),
                Some(_) => return Err(format!("takes a string, a number or a boolean at {pointer}")),
                None => return Err(lacking(pointer)),
            },
        }
    }
    Ok(filled)
}

fn lacking(pointer: &str) -> String {
    format!("takes a parameter at {pointer}, which is missing")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defined(template: Value) -> DefinedType {
        DefinedType {
            name: "thumbnails".to_owned(),
            version: 3,
            description: String::new(),
            schema: Value::Null,
            template,
            updated_at: 0,
            updated_by: String::new(),
        }
    }

    #[test]
    fn places_are_filled_with_what_a_task_is_created_with() {
        let definition = defined(json!({
            "source": {"lines": {"$param": "/files"}},
            "function": {"http": {"url": "https://{{/host}}/{{/width}}/{}"}},
            "sink": {"$param": "/sink", "default": "keep"},
            "timeout_ms": {"$param": "/limits/ms"}
        }));
        check(&definition).unwrap();
        let given = json!({"files": "/a/b", "host": "images.example", "width": 200, "limits": {"ms": 7}});
        let filled = fill_in(&definition, &given).unwrap();
        assert_eq!(
            filled,
            json!({
                "source": {"lines": "/a/b"},
                "function": {"http": {"url": "https://images.example/200/{}"}},
                "sink": "keep",
                "timeout_ms": 7,
                "defined": {"name": "thumbnails", "version": 3, "param": given}
            })
        );
        let param = MapParam::from_json(&filled).unwrap();
        assert_eq!(param.defined.unwrap().version, 3);
    }

    #[test]
    fn what_is_missing_is_named_by_its_path() {
        let definition = defined(json!({
            "source": {"list": [{"$param": "/a/b"}]}, "function": {"worker": "{{/f}}"}
        }));
        let refused = |given| fill_in(&definition, &given).unwrap_err().to_string();
        assert_eq!(
            refused(json!({"f": "g"})),
            "the type thumbnails takes a parameter at /a/b, which is missing"
        );
        assert_eq!(
            refused(json!({"a": {"b": 1}})),
            "the type thumbnails takes a parameter at /f, which is missing"
        );
        assert!(refused(json!({"a": {"b": 1}, "f": []})).contains("a string, a number or a boolean at /f"));
        // What a predecessor's result will say is passed on.
        let later = fill_in(&definition, &json!({"a": {"b": {"$result": "/n"}}, "f": "g"})).unwrap();
        assert_eq!(later["source"], json!({"list": [{"$result": "/n"}]}));
    }

    #[test]
    fn a_definition_that_cannot_be_is_refused() {
        let mut deep = json!(1);
        for _ in 0..MAX_DEPTH + 2 {
            deep = json!([deep]);
        }
        for (template, said) in [
            (json!([]), "a template that is no object"),
            (json!({"source": {"list": []}}), "has no function in its template"),
            (
                json!({"source": {"list": []}, "function": {"worker": "f"}, "defined": 1}),
                "has \"defined\" in its template",
            ),
            (json!({"source": {"list": []}, "function": {"wrker": "f"}}), "unknown variant `wrker`"),
            (
                json!({"source": {"list": {"$param": "a"}}, "function": {"worker": "f"}}),
                "has the place \"a\"",
            ),
            (
                json!({"source": {"list": {"$param": 1}}, "function": {"worker": "f"}}),
                "has a place that is not",
            ),
            (
                json!({"source": {"list": {"$param": "/a", "b": 1}}, "function": {"worker": "f"}}),
                "has a place that is not",
            ),
            (json!({"source": {"list": deep}, "function": {"worker": "f"}}), "more than 32 levels"),
        ] {
            let refused = check(&defined(template.clone())).unwrap_err().to_string();
            assert!(refused.contains(said), "{template}: {refused}");
        }
    }

    #[test]
    fn braces_of_others_are_text() {
        let filled = |text| fill_text(text, &json!({"a": true})).unwrap();
        assert_eq!(filled("{{due}} {{/a}}{{/a}} {x} {{/a"), "{{due}} truetrue {x} {{/a");
    }
}
