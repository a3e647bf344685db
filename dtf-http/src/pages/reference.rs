//! The page that describes the API: its OpenAPI description, for people.

use std::sync::LazyLock;

use askama::Template;
use axum::Router;
use axum::routing::get;
use serde_json::Value;

use super::{Page, render};
use crate::app::App;

pub(super) fn routes() -> Router<App> {
    Router::new().route("/docs", get(show))
}

/// The tags that people look for first; others follow.
const ORDER: [&str; 7] = ["tasks", "flows", "schedules", "groups", "types", "workers", "work"];

/// The page, which is the same for as long as the program is.
static REFERENCE: LazyLock<Reference> = LazyLock::new(|| {
    let description = crate::routes::api().into_openapi();
    Reference::of(&serde_json::to_value(description).unwrap_or_default())
});

async fn show() -> Page {
    render(&Show { here: "API", reference: &REFERENCE })
}

#[derive(Template)]
#[template(path = "reference.html")]
struct Show {
    here: &'static str,
    reference: &'static Reference,
}

/// The description, in the order in which it is shown.
struct Reference {
    about: String,
    tags: Vec<Tag>,
    schemas: Vec<Schema>,
}

/// Operations on the same things.
struct Tag {
    name: String,
    operations: Vec<Operation>,
}

struct Operation {
    id: String,
    method: String,
    path: String,
    summary: String,
    parameters: Vec<Field>,
    body: Option<Kind>,
    responses: Vec<Response>,
}

struct Response {
    status: String,
    about: String,
    kind: Option<Kind>,
}

struct Schema {
    name: String,
    about: String,
    kind: Kind,
    fields: Vec<Field>,
}

/// A field of a schema, or a parameter of an operation.
struct Field {
    name: String,
    /// The part of a request that a parameter is in.
    place: String,
    is_required: bool,
    kind: Kind,
    about: String,
}

/// The kind of a value, in words, with the schemas that it names.
#[derive(Debug, PartialEq, Eq)]
struct Kind(Vec<Word>);

#[derive(Debug, PartialEq, Eq)]
struct Word {
    text: String,
    is_schema: bool,
}

impl Reference {
    fn of(description: &Value) -> Self {
        let mut tags: Vec<Tag> = Vec::new();
        for (path, methods) in entries(&description["paths"]) {
            for (method, operation) in entries(methods) {
                let name = text(&operation["tags"][0]);
                let operation = Operation::of(method, path, operation);
                match tags.iter_mut().find(|tag| tag.name == name) {
                    Some(tag) => tag.operations.push(operation),
                    None => tags.push(Tag { name, operations: vec![operation] }),
                }
            }
        }
        tags.sort_by_key(|tag| ORDER.iter().position(|name| *name == tag.name).unwrap_or(ORDER.len()));
        let schemas = entries(&description["components"]["schemas"]);
        let schemas = schemas.map(|(name, schema)| Schema::of(name, schema)).collect();
        Self { about: text(&description["info"]["description"]), tags, schemas }
    }
}

impl Operation {
    fn of(method: &str, path: &str, operation: &Value) -> Self {
        let parameters = operation["parameters"].as_array().into_iter().flatten().map(|parameter| Field {
            name: text(&parameter["name"]),
            place: text(&parameter["in"]),
            is_required: parameter["required"] == true,
            kind: Kind::of(&parameter["schema"]),
            about: text(&parameter["description"]),
        });
        let responses = entries(&operation["responses"]).map(|(status, response)| Response {
            status: status.clone(),
            about: text(&response["description"]),
            kind: content(response),
        });
        Self {
            id: text(&operation["operationId"]),
            method: method.to_uppercase(),
            path: path.to_owned(),
            summary: text(&operation["summary"]),
            parameters: parameters.collect(),
            body: content(&operation["requestBody"]),
            responses: responses.collect(),
        }
    }
}

impl Schema {
    fn of(name: &str, schema: &Value) -> Self {
        // What is flattened into it comes first.
        let parts = schema["allOf"].as_array().into_iter().flatten();
        let fields = parts.chain([schema]).flat_map(|part| {
            let required = part["required"].as_array().cloned().unwrap_or_default();
            entries(&part["properties"]).map(move |(name, field)| Field {
                name: name.clone(),
                place: String::new(),
                is_required: required.iter().any(|one| one == name),
                kind: Kind::of(field),
                about: text(&field["description"]),
            })
        });
        let fields = fields.collect();
        Self { name: name.to_owned(), about: text(&schema["description"]), kind: Kind::of(schema), fields }
    }
}

impl Kind {
    fn of(schema: &Value) -> Self {
        let mut kind = Self(Vec::new());
        kind.describe(schema);
        kind
    }

    fn say(&mut self, text: &str) {
        self.0.push(Word { text: text.to_owned(), is_schema: false });
    }

    fn describe(&mut self, schema: &Value) {
        if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
            return self.0.push(Word { text: name.to_owned(), is_schema: true });
        }
        if let Some(values) = schema["enum"].as_array() {
            return self.say(&values.iter().map(text).collect::<Vec<_>>().join(" | "));
        }
        for (all, between) in [("oneOf", " or "), ("anyOf", " or "), ("allOf", " with ")] {
            if let Some(parts) = schema[all].as_array() {
                for (number, part) in parts.iter().enumerate() {
                    if number > 0 {
                        self.say(between);
                    }
                    self.describe(part);
                }
                return;
            }
        }
        match &schema["type"] {
            Value::Array(kinds) => {
                for (number, kind) in kinds.iter().enumerate() {
                    if number > 0 {
                        self.say(" or ");
                    }
                    let mut one = schema.clone();
                    one["type"] = kind.clone();
                    self.describe(&one);
                }
                return;
            }
            kind if kind == "null" => return self.say("null"),
            kind if kind == "array" => {
                self.say("list of ");
                self.describe(&schema["items"]);
            }
            kind if kind == "object" && schema["additionalProperties"].is_object() => {
                self.say("by name: ");
                self.describe(&schema["additionalProperties"]);
            }
            kind if kind == "object" && schema["properties"].is_object() => {
                let names: Vec<_> = entries(&schema["properties"]).map(|(name, _)| name.as_str()).collect();
                self.say(&format!("{{{}}}", names.join(", ")));
            }
            Value::String(kind) if schema["format"] == "uuid" => self.say(&format!("{kind} (UUID)")),
            Value::String(kind) => self.say(kind),
            _ => self.say("any"),
        }
        self.bounds(schema);
    }

    fn bounds(&mut self, schema: &Value) {
        // A lowest of 0 goes without saying.
        let least = schema["minimum"].as_f64().filter(|least| *least > 0.0).or(schema["minLength"].as_f64());
        let most = schema["maximum"].as_f64().or(schema["maxLength"].as_f64());
        match (least, most) {
            (Some(least), Some(most)) => self.say(&format!(", {least} to {most}")),
            (Some(least), None) => self.say(&format!(", {least} at least")),
            (None, Some(most)) => self.say(&format!(", {most} at most")),
            (None, None) => {}
        }
    }
}

/// The kind of a body; none where there is no body.
fn content(of: &Value) -> Option<Kind> {
    let (_, content) = entries(&of["content"]).next()?;
    Some(Kind::of(&content["schema"]))
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn words(schema: &Value) -> String {
        Kind::of(schema).0.into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn kinds_are_told_in_words() {
        for (schema, wanted) in [
            (json!({"$ref": "#/components/schemas/Task"}), "Task"),
            (json!({"type": "array", "items": {"$ref": "#/components/schemas/Task"}}), "list of Task"),
            (json!({"type": ["integer", "null"], "minimum": 1, "maximum": 9}), "integer, 1 to 9 or null"),
            (json!({"enum": ["one", "two"], "type": "string"}), "one | two"),
            (json!({"oneOf": [{"type": "null"}, {"$ref": "#/components/schemas/Task"}]}), "null or Task"),
            (json!({"type": "object", "additionalProperties": {"type": "string"}}), "by name: string"),
            (json!({"type": "string", "format": "uuid"}), "string (UUID)"),
            (json!({"type": "object", "properties": {"a": {}, "b": {}}}), "{a, b}"),
            (json!({}), "any"),
        ] {
            assert_eq!(words(&schema), wanted, "{schema}");
        }
    }

    #[test]
    fn everything_that_is_named_is_there() {
        let reference = &*REFERENCE;
        let known = |kind: &Kind| {
            for word in kind.0.iter().filter(|word| word.is_schema) {
                assert!(reference.schemas.iter().any(|schema| schema.name == word.text), "{}", word.text);
            }
        };
        let operations = || reference.tags.iter().flat_map(|tag| &tag.operations);
        assert!(operations().count() >= 44 && reference.tags.iter().all(|tag| !tag.name.is_empty()));
        for operation in operations() {
            operation.body.iter().for_each(known);
            operation.responses.iter().filter_map(|response| response.kind.as_ref()).for_each(known);
            operation.parameters.iter().for_each(|parameter| known(&parameter.kind));
        }
        for schema in &reference.schemas {
            known(&schema.kind);
            schema.fields.iter().for_each(|field| known(&field.kind));
        }
    }
}
