//! `dtf type`: the types of task that data defines.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use dtf::Client;
use dtf::model::defined_type::DefinedType;
use dtf::model::plugin::TaskPluginRegistration;
use dtf_control::{TypeDefinition, utc};
use serde_json::{Value, json};

use super::args::Output;
use super::oneshot::refused;
use super::settings::Head;
use super::table::Listing;
use super::{Usage, document, say, task};

/// The number of types of a page.
const PAGE: u32 = 1000;

#[derive(Debug, Args)]
pub(crate) struct TypeArgs {
    #[command(flatten)]
    head: Head,
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
    let definition = match &args.what {
        What::Define { file, .. } => Some(definition(document::read(file, "definition of a type")?)),
        _ => None,
    };
    task::with_client(&args.head.settings, types, async |client| {
        perform(&client, args.what, definition, args.head.output).await.map(|()| ExitCode::SUCCESS)
    })
}

fn definition(file: dtf_api::DefineType) -> TypeDefinition {
    let dtf_api::DefineType { description, schema, template } = file;
    TypeDefinition { description, schema, template }
}

async fn perform(
    client: &Client,
    what: What,
    definition: Option<TypeDefinition>,
    output: Output,
) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    match what {
        What::List => {
            let types = all(client).await?;
            match output {
                Output::Json => writeln!(out, "{}", json!(types))?,
                Output::Text => writeln!(out, "{}", table(&types))?,
            }
        }
        What::Get(Named { name }) => {
            let known = client.defined_type(&name).await.map_err(refused)?;
            let known = known.ok_or_else(|| {
                Usage(format!("no type {name:?} is defined; `dtf type list` has those that are"))
            })?;
            let file =
                json!({"description": known.description, "schema": known.schema, "template": known.template});
            match output {
                Output::Json => writeln!(out, "{}", document_of(&known))?,
                Output::Text => writeln!(out, "{file:#}")?,
            }
        }
        What::Define { of: Named { name }, .. } => {
            let by = std::env::var("USER").unwrap_or_else(|_| "dtf type".to_owned());
            let defined =
                client.define_type(&name, definition.unwrap_or_default(), &by).await.map_err(refused)?;
            match output {
                Output::Json => writeln!(out, "{}", document_of(&defined))?,
                Output::Text => say(&format!("type {name} is defined, version {}", defined.version)),
            }
        }
        What::Delete(Named { name }) => {
            if !client.delete_type(&name).await.map_err(refused)? {
                return Err(Usage(format!(
                    "no type {name:?} is defined; `dtf type list` has those that are"
                ))
                .into());
            }
            match output {
                Output::Json => writeln!(out, "{}", json!({ "deleted": name }))?,
                Output::Text => say(&format!("type {name} is deleted")),
            }
        }
    }
    Ok(())
}

/// A type, as the list shows it.
#[derive(serde::Serialize)]
struct Listed {
    name: String,
    version: u32,
    defined: bool,
    description: String,
}

async fn all(client: &Client) -> anyhow::Result<Vec<Listed>> {
    let known = client.types().iter().map(|known| Listed {
        name: known.name.clone(),
        version: client.types().conf(known.task_type).map_or(0, |conf| conf.version),
        defined: false,
        description: known.description.clone(),
    });
    let mut types: Vec<_> = known.collect();
    let mut after: Option<String> = None;
    loop {
        let page = client.defined_types(after.as_deref(), PAGE).await.map_err(refused)?;
        let Some(last) = page.last() else { return Ok(types) };
        after = Some(last.name.clone());
        types.extend(page.into_iter().map(|DefinedType { name, version, description, .. }| Listed {
            name,
            version,
            defined: true,
            description,
        }));
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

fn document_of(defined: &DefinedType) -> Value {
    json!({
        "name": defined.name,
        "version": defined.version,
        "description": defined.description,
        "schema": defined.schema,
        "template": defined.template,
        "updated_at": defined.updated_at,
        "updated": utc(defined.updated_at),
        "updated_by": defined.updated_by,
    })
}
