//! The pages of types of task, and the form for a task of one whose parameters have a schema.

use std::collections::BTreeMap;

use askama::Template;
use axum::Router;
use axum::routing::{get, post};
use dtf_api::{NewTask, TaskType, TypeQuery};
use serde::Deserialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{Page, render, see};
use crate::app::App;
use crate::auth::Acting;
use crate::extract::{Form, Path};
use crate::problem::Failed;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/types", get(list))
        .route("/types/{name}", get(show))
        .route("/types/{name}/tasks", post(create))
}

#[derive(Template)]
#[template(path = "types.html")]
struct Types {
    here: &'static str,
    types: Vec<TaskType>,
}

async fn list(Acting(app): Acting) -> Page {
    render(&Types { here: "Types", types: app.types(&TypeQuery::default()).await? })
}

/// A field of the form: a property of the parameters.
#[derive(Debug, PartialEq, Eq)]
struct Field {
    name: String,
    about: String,
    kind: Kind,
    required: bool,
    value: String,
}

/// The kind of a field, as its schema says it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Integer,
    Number,
    Boolean,
    /// One of these JSON values.
    Choice(Vec<String>),
    Json,
}

impl Kind {
    fn of(schema: &Value) -> Self {
        if let Some(values) = schema.get("enum").and_then(Value::as_array) {
            return Self::Choice(values.iter().map(Value::to_string).collect());
        }
        match schema.get("type").and_then(Value::as_str) {
            Some("string") => Self::Text,
            Some("integer") => Self::Integer,
            Some("number") => Self::Number,
            Some("boolean") => Self::Boolean,
            _ => Self::Json,
        }
    }

    /// Reads the text of a field; none where it was left empty.
    fn read(&self, name: &str, text: &str) -> Result<Option<Value>, Failed> {
        let wrong = |what| Failed::invalid(format!("{name} is {text:?}; allowed is {what}"));
        let json = |what| serde_json::from_str(text).map(Some).map_err(|_| wrong(what));
        match self {
            Self::Text => Ok(Some(Value::from(text)).filter(|_| !text.is_empty())),
            _ if text.trim().is_empty() => Ok(None),
            Self::Integer => json("a whole number"),
            Self::Number => json("a number"),
            Self::Boolean => json("true or false"),
            Self::Choice(values) if !values.iter().any(|value| value == text) => {
                Err(wrong("a choice of the list"))
            }
            Self::Choice(_) | Self::Json => json("JSON"),
        }
    }

    fn text(&self, value: &Value) -> String {
        match (self, value) {
            (_, Value::Null) => String::new(),
            (Self::Text, Value::String(text)) => text.clone(),
            (_, value) => value.to_string(),
        }
    }
}

/// Returns the fields of a schema that describes an object; none where it describes anything else.
fn fields(schema: Option<&Value>) -> Vec<Field> {
    let Some(schema) = schema else { return Vec::new() };
    let required: Vec<_> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let field = |(name, of): (&String, &Value)| {
        let kind = Kind::of(of);
        let about = of["description"].as_str().or(of["title"].as_str()).unwrap_or_default().to_owned();
        let (value, required) = (kind.text(&of["default"]), required.contains(&name.as_str()));
        Field { name: name.clone(), about, kind, required, value }
    };
    schema["properties"].as_object().into_iter().flatten().map(field).collect()
}

#[derive(Template)]
#[template(path = "type.html")]
struct TypePage {
    here: &'static str,
    known: TaskType,
    fields: Vec<Field>,
    group: String,
    name: String,
    request: Uuid,
    problem: Option<String>,
}

async fn show(Acting(app): Acting, Path(name): Path<String>) -> Page {
    let known = app.task_type(&name).await?;
    let fields = fields(known.schema.as_ref());
    let (group, name) = ("default".to_owned(), String::new());
    render(&TypePage { here: "Types", known, fields, group, name, request: Uuid::new_v4(), problem: None })
}

/// A form as it was sent: the fields of the task, and `param.NAME` for those of its parameters.
#[derive(Deserialize)]
#[serde(transparent)]
struct NewForm(BTreeMap<String, String>);

impl NewForm {
    fn field(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }
}

async fn create(Acting(app): Acting, Path(name): Path<String>, Form(form): Form<NewForm>) -> Page {
    let known = app.task_type(&name).await?;
    let mut fields = fields(known.schema.as_ref());
    for field in &mut fields {
        field.value = form.field(&format!("param.{}", field.name)).to_owned();
    }
    let request = form.field("request").parse().unwrap_or_else(|_| Uuid::new_v4());
    let (group, task_name) = (form.field("group").to_owned(), form.field("name").to_owned());
    let created = match param(&fields) {
        Ok(param) => {
            let task = NewTask { name: task_name.clone(), group: group.clone(), ..NewTask::of(&name, param) };
            app.create(request, task).await
        }
        Err(failed) => Err(failed),
    };
    match created {
        Ok(task) => see(&format!("/tasks/{}", task.id)),
        Err(failed) => {
            let (status, problem) = (failed.status(), Some(failed.0.detail));
            let mut page =
                render(&TypePage { here: "Types", known, fields, group, name: task_name, request, problem })?;
            *page.status_mut() = status;
            Ok(page)
        }
    }
}

/// Returns the parameters that the fields make.
fn param(fields: &[Field]) -> Result<Value, Failed> {
    let mut param = Map::new();
    for field in fields {
        if let Some(value) = field.kind.read(&field.name, &field.value)? {
            param.insert(field.name.clone(), value);
        }
    }
    Ok(Value::Object(param))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_form_is_made_of_a_schema_and_read_back_as_parameters() {
        let schema = json!({
            "required": ["files"],
            "properties": {
                "files": {"type": "string", "description": "a list of files"},
                "width": {"type": "integer", "default": 200},
                "crop": {"type": "boolean"},
                "format": {"enum": ["png", "jpeg"]},
                "extra": {"type": "array"}
            }
        });
        let mut fields = fields(Some(&schema));
        let by_name =
            |fields: &[Field], name: &str| fields.iter().position(|field| field.name == name).unwrap();
        let files = &fields[by_name(&fields, "files")];
        assert_eq!(
            (files.kind.clone(), files.required, files.about.as_str()),
            (Kind::Text, true, "a list of files")
        );
        assert_eq!(fields[by_name(&fields, "width")].value, "200");
        for (name, text) in [("files", "a b"), ("crop", "true"), ("format", "\"png\""), ("extra", "[1]")] {
            let at = by_name(&fields, name);
            fields[at].value = text.to_owned();
        }
        let read = param(&fields).ok().unwrap();
        assert_eq!(read, json!({"files": "a b", "width": 200, "crop": true, "format": "png", "extra": [1]}));
        let width = by_name(&fields, "width");
        fields[width].value = "wide".to_owned();
        let refused = param(&fields).err().unwrap().0.detail;
        assert_eq!(refused, "width is \"wide\"; allowed is a whole number");
        fields[width].value = String::new();
        assert!(param(&fields).ok().unwrap().get("width").is_none(), "what is left empty is left out");
    }

    #[test]
    fn what_has_no_fields_has_no_form() {
        assert!(super::fields(None).is_empty() && super::fields(Some(&json!({"type": "array"}))).is_empty());
    }
}
