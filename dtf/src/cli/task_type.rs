//! `dtf type`: the types of task that data defines.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use dtf::model::plugin::TaskPluginRegistration;
use dtf_api as api;
use dtf_control::{TypeDefinition, utc};
use dtf_http::view;
use serde_json::{Value, json};

use super::args::Output;
use super::oneshot::refused;
use super::remote::{self, Remote, Way};
use super::settings::Head;
use super::table::Listing;
use super::{Usage, document, say};

/// The number of types of a page.
const PAGE: u32 = 1000;

#[derive(Debug, Args)]
pub(crate) struct TypeArgs {
    #[command(flatten)]
    head: Head,
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List the types that are compiled in and those that are defined
    List,
    /// Print the definition of a type, as `define` reads it
    Get(Named),
    /// Define a type, or give it another definition: a template of `map` with places for the parameters of a task
    Define {
        #[command(flatten)]
        of: Named,
        /// The definition, in YAML, JSON or TOML: {description, schema, template}; - is standard input
        file: PathBuf,
    },
    /// Delete a type that is defined; its tasks and schedules go on
    Delete(Named),
}

#[derive(Debug, Args)]
struct Named {
    /// The name of the type
    name: String,
}

pub(crate) fn run(args: TypeArgs, types: Vec<TaskPluginRegistration>) -> anyhow::Result<ExitCode> {
    // What is wrong with a file is said before any server is asked.
    let definition: Option<api::DefineType> = match &args.what {
        What::Define { file, .. } => Some(document::read(file, "definition of a type")?),
        _ => None,
    };
    remote::on_way(&args.remote, &args.head.settings, types, async |way| {
        perform(way, args.what, definition, args.head.output).await.map(|()| ExitCode::SUCCESS)
    })
}

async fn perform(
    way: &Way,
    what: What,
    definition: Option<api::DefineType>,
    output: Output,
) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    match what {
        What::List => {
            let types = all(way).await?;
            match output {
                Output::Json => writeln!(out, "{}", json!(types))?,
                Output::Text => writeln!(out, "{}", table(&types))?,
            }
        }
        What::Get(Named { name }) => {
            let known = get(way, &name).await?;
            let Some(definition) = &known.definition else { return Err(undefined(&name)) };
            let file = json!({
                "description": known.description, "schema": known.schema, "template": definition.template,
            });
            match output {
                Output::Json => writeln!(out, "{}", document_of(&known))?,
                Output::Text => writeln!(out, "{file:#}")?,
            }
        }
        What::Define { of: Named { name }, .. } => {
            let Some(definition) = definition else { return Ok(()) };
            let defined = define(way, &name, definition).await?;
            match output {
                Output::Json => writeln!(out, "{}", document_of(&defined))?,
                Output::Text => say(&format!("type {name} is defined, version {}", defined.version)),
            }
        }
        What::Delete(Named { name }) => {
            delete(way, &name).await?;
            match output {
                Output::Json => writeln!(out, "{}", json!({ "deleted": name }))?,
                Output::Text => say(&format!("type {name} is deleted")),
            }
        }
    }
    Ok(())
}

fn undefined(name: &str) -> anyhow::Error {
    Usage(format!("no type {name:?} is defined; `dtf type list` has those that are")).into()
}

async fn get(way: &Way, name: &str) -> anyhow::Result<api::TaskType> {
    match way {
        Way::Stores(client) => {
            let known = client.defined_type(name).await.map_err(refused)?;
            let known = known.ok_or_else(|| undefined(name))?;
            view::defined_type(client.types(), known).map_err(|failed| Usage(failed.0.detail).into())
        }
        Way::Server(client) => match client.task_type(name).await {
            Err(error) if error.code() == Some(api::Code::NotFound) => Err(undefined(name)),
            known => known.map_err(remote::refused),
        },
    }
}

async fn define(way: &Way, name: &str, define: api::DefineType) -> anyhow::Result<api::TaskType> {
    match way {
        Way::Stores(client) => {
            let by = std::env::var("USER").unwrap_or_else(|_| "dtf type".to_owned());
            let api::DefineType { description, schema, template } = define;
            let definition = TypeDefinition { description, schema, template };
            let defined = client.define_type(name, definition, &by).await.map_err(refused)?;
            view::defined_type(client.types(), defined).map_err(|failed| Usage(failed.0.detail).into())
        }
        Way::Server(client) => client.define_type(name, &define).await.map_err(remote::refused),
    }
}

async fn delete(way: &Way, name: &str) -> anyhow::Result<()> {
    match way {
        Way::Stores(client) => match client.delete_type(name).await.map_err(refused)? {
            true => Ok(()),
            false => Err(undefined(name)),
        },
        Way::Server(client) => match client.delete_type(name).await {
            Err(error) if error.code() == Some(api::Code::NotFound) => Err(undefined(name)),
            deleted => deleted.map_err(remote::refused),
        },
    }
}

/// A type, as the list shows it.
#[derive(serde::Serialize)]
struct Listed {
    name: String,
    version: u32,
    defined: bool,
    description: String,
}

async fn all(way: &Way) -> anyhow::Result<Vec<Listed>> {
    let mut types: Vec<Listed> = Vec::new();
    let listed = |known: api::TaskType| Listed {
        name: known.name,
        version: known.version,
        defined: known.defined,
        description: known.description,
    };
    if let Way::Stores(client) = way {
        let known = client.types();
        let conf = |task_type| known.conf(task_type).ok();
        let known = known.iter().filter_map(|of| Some(view::task_type(of, conf(of.task_type)?)));
        types.extend(known.map(listed));
    }
    let mut after: Option<String> = None;
    loop {
        let page: Vec<Listed> = match way {
            Way::Stores(client) => {
                let page = client.defined_types(after.as_deref(), PAGE).await.map_err(refused)?;
                let known =
                    page.into_iter().filter_map(|known| view::defined_type(client.types(), known).ok());
                known.map(listed).collect()
            }
            Way::Server(client) => {
                let page = client.types_after(&api::TypeQuery { after: after.take() }).await;
                page.map_err(remote::refused)?.into_iter().map(listed).collect()
            }
        };
        after = page.last().filter(|last| last.defined).map(|last| last.name.clone());
        types.extend(page);
        if after.is_none() {
            return Ok(types);
        }
    }
}

fn table(types: &[Listed]) -> String {
    let mut table = Listing::new(["type", "version", "defined", "description"]);
    for known in types {
        let defined = if known.defined { "yes" } else { "" };
        table.row([
            known.name.clone(),
            known.version.to_string(),
            defined.to_owned(),
            known.description.clone(),
        ]);
    }
    table.align_right(&[1]);
    table.to_string()
}

fn document_of(known: &api::TaskType) -> Value {
    let definition = known.definition.as_ref();
    json!({
        "name": known.name,
        "version": known.version,
        "description": known.description,
        "schema": known.schema,
        "template": definition.map(|definition| &definition.template),
        "updated_at": definition.map(|definition| definition.updated_at),
        "updated": definition.map(|definition| utc(definition.updated_at)),
        "updated_by": definition.map(|definition| &definition.updated_by),
    })
}
