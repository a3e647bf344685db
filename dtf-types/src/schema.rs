//! The JSON schemas of types that are defined.

use dtf_model::InvalidInput;
use dtf_model::defined_type::DefinedType;
use serde_json::Value;

/// Checks that the schema of a type is one.
///
/// # Errors
/// It is none, or this program was built without schemas.
pub(crate) fn check(definition: &DefinedType) -> Result<(), InvalidInput> {
    match &definition.schema {
        Value::Null => Ok(()),
        _ => validator::of(definition).map(drop),
    }
}

/// Checks the parameters that a task is created with.
///
/// # Errors
/// They do not fit; the error has the path of each field that does not, of the first three.
pub(crate) fn validate(definition: &DefinedType, given: &Value) -> Result<(), InvalidInput> {
    match &definition.schema {
        Value::Null => Ok(()),
        _ => validator::validate(definition, given),
    }
}

#[cfg(feature = "schemas")]
mod validator {
    use std::collections::HashMap;
    use std::sync::{Arc, LazyLock, Mutex, PoisonError};

    use dtf_model::InvalidInput;
    use dtf_model::defined_type::DefinedType;
    use jsonschema::{PatternOptions, Validator};
    use serde_json::Value;

    /// The most schemas that are kept compiled.
    const MOST_COMPILED: usize = 100;
    /// The most errors that are told.
    const MOST: usize = 3;
    /// The longest that an error is, in characters: it may have the value in it.
    const MOST_CHARS: usize = 300;

    /// Patterns are matched in linear time, as they come from users; references to other documents are not followed.
    pub(super) fn of(definition: &DefinedType) -> Result<Validator, InvalidInput> {
        let options = jsonschema::options().with_pattern_options(PatternOptions::regex());
        options.build(&definition.schema).map_err(|error| {
            let (name, path) = (&definition.name, error.instance_path().to_string());
            InvalidInput::TypeParam(format!(
                "the schema of the type {name} is none{}: {}",
                at(&path),
                told(&error)
            ))
        })
    }

    /// A schema, and its validator.
    type Compiled = (Value, Arc<Validator>);

    /// The schemas of types that tasks were created of, compiled, by the types' names: compiling one takes longer than creating a task.
    static COMPILED: LazyLock<Mutex<HashMap<String, Compiled>>> = LazyLock::new(Mutex::default);

    /// The validator of a type, compiled once for as long as its schema stays the same.
    fn compiled(definition: &DefinedType) -> Result<Arc<Validator>, InvalidInput> {
        let all = || COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
        // A type that was deleted and defined anew has its first version again, so the schema itself is compared.
        if let Some((schema, known)) = all().get(&definition.name)
            && *schema == definition.schema
        {
            return Ok(known.clone());
        }
        let validator = Arc::new(of(definition)?);
        let mut all = all();
        if all.len() >= MOST_COMPILED {
            all.clear();
        }
        all.insert(definition.name.clone(), (definition.schema.clone(), validator.clone()));
        Ok(validator)
    }

    pub(super) fn validate(definition: &DefinedType, given: &Value) -> Result<(), InvalidInput> {
        let validator = compiled(definition)?;
        let mut errors = validator.iter_errors(given);
        let first: Vec<_> = errors
            .by_ref()
            .take(MOST)
            .map(|error| format!("{}{}", told(&error), at(&error.instance_path().to_string())))
            .collect();
        if first.is_empty() {
            return Ok(());
        }
        let more = errors.count();
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        let (name, first) = (&definition.name, first.join("; "));
        Err(InvalidInput::TypeParam(format!("the parameters do not fit the type {name}: {first}{more}")))
    }

    fn at(path: &str) -> String {
        if path.is_empty() { String::new() } else { format!(" at {path}") }
    }

    fn told(error: &jsonschema::ValidationError<'_>) -> String {
        let text = error.to_string();
        match text.char_indices().nth(MOST_CHARS) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
    }
}

#[cfg(not(feature = "schemas"))]
mod validator {
    use dtf_model::InvalidInput;
    use dtf_model::defined_type::DefinedType;
    use serde_json::Value;

    pub(super) fn of(definition: &DefinedType) -> Result<(), InvalidInput> {
        Err(InvalidInput::TypeParam(format!(
            "the type {} has a schema, and this program was built without schemas; build it with --features full",
            definition.name
        )))
    }

    pub(super) fn validate(definition: &DefinedType, _: &Value) -> Result<(), InvalidInput> {
        of(definition)
    }
}

#[cfg(all(test, feature = "schemas"))]
mod tests {
    use serde_json::json;

    use super::*;

    fn defined(schema: Value) -> DefinedType {
        DefinedType {
            name: "thumbnails".to_owned(),
            version: 1,
            description: String::new(),
            schema,
            template: json!({}),
            updated_at: 0,
            updated_by: String::new(),
        }
    }

    #[test]
    fn what_does_not_fit_is_said_with_its_path() {
        let definition = defined(json!({
            "type": "object",
            "required": ["files"],
            "additionalProperties": false,
            "properties": {"files": {"type": "string"}, "sizes": {"type": "array", "items": {"type": "integer", "minimum": 1}}}
        }));
        check(&definition).unwrap();
        validate(&definition, &json!({"files": "/a", "sizes": [1, 2]})).unwrap();
        let refused = |given| validate(&definition, &given).unwrap_err().to_string();
        assert_eq!(
            refused(json!({"files": "/a", "sizes": [1, "2"]})),
            "the parameters do not fit the type thumbnails: \"2\" is not of type \"integer\" at /sizes/1"
        );
        assert!(refused(json!({"sizes": []})).contains("\"files\" is a required property"));
        let many = refused(json!({"files": "/a", "sizes": [0, 0, 0, 0, 0]}));
        assert!(many.ends_with("; and 2 more"), "{many}");
        assert!(refused(json!("x".repeat(10_000))).len() < 1000);
    }

    #[test]
    fn a_schema_that_was_replaced_is_not_used_any_more() {
        let of = |schema| DefinedType { name: "replaced".to_owned(), ..defined(schema) };
        let (numbers, texts) = (of(json!({"type": "integer"})), of(json!({"type": "string"})));
        for _ in 0..2 {
            assert!(validate(&numbers, &json!(1)).is_ok() && validate(&numbers, &json!("a")).is_err());
            assert!(validate(&texts, &json!("a")).is_ok() && validate(&texts, &json!(1)).is_err());
        }
        for number in 0..300 {
            let other = DefinedType { name: number.to_string(), ..numbers.clone() };
            assert!(validate(&other, &json!(number)).is_ok());
        }
    }

    #[test]
    fn a_schema_that_is_none_is_refused() {
        let refused = |schema| check(&defined(schema)).unwrap_err().to_string();
        assert!(
            refused(json!({"type": "objekt"})).contains("is none at /type"),
            "{}",
            refused(json!({"type": "objekt"}))
        );
        assert!(refused(json!({"pattern": "("})).contains("is none"));
        assert!(refused(json!({"$ref": "https://example.com/other.json"})).contains("is none"));
    }
}
