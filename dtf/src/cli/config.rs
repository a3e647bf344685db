//! `dtf config`.

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use dtf::config::settings;
use serde_json::{Value, json};

use super::args::Output;
use super::settings::Head;
use super::table::Listing;

#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    #[command(flatten)]
    head: Head,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Check the settings and print them as they are in effect, with secrets hidden, and where each comes from
    Check,
    /// List all settings there are, and what they are for
    Keys,
}

pub(crate) fn run(args: &ConfigArgs) -> anyhow::Result<ExitCode> {
    let (rows, head) = match args.what {
        What::Check => {
            let shown = args.head.settings.load()?.shown();
            let row = |(key, value, origin): (&str, Value, dtf::config::Origin)| {
                vec![Value::from(key), value, Value::from(origin.to_string())]
            };
            (shown.into_iter().map(row).collect::<Vec<_>>(), ["key", "value", "from"])
        }
        What::Keys => {
            let row = |setting: settings::Setting| {
                let takes = setting.kind.allowed();
                vec![Value::from(setting.key), Value::from(takes), Value::from(setting.help)]
            };
            (settings::all().into_iter().map(row).collect(), ["key", "takes", "what for"])
        }
    };
    match args.head.output {
        Output::Json => {
            let named = |row: &Vec<Value>| {
                let pairs = head.iter().zip(row).map(|(name, value)| ((*name).to_owned(), value.clone()));
                Value::Object(pairs.collect())
            };
            let rows: Vec<_> = rows.iter().map(named).collect();
            writeln!(std::io::stdout(), "{}", json!(rows))?;
        }
        Output::Text => {
            let mut table = Listing::new(head);
            for row in &rows {
                table.row(row.iter().map(plain));
            }
            writeln!(std::io::stdout(), "{table}")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "(not set)".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}
