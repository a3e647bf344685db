//! Reads the settings from all places and puts them together.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::{Table, Value};

use super::check::ConfigError;
use super::kind::Kind;
use super::settings::{self, Setting};
use super::{Config, Origin, ServerUrl};

/// The variables of our own that are no settings.
const OTHER_VARIABLES: [&str; 3] = ["DTF_CONFIG", "DTF_SERVER", "DTF_TOKEN"];

/// The sources of settings.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file, if there is one.
    pub file: Option<PathBuf>,
    /// The environment: names and values.
    pub environment: Vec<(String, String)>,
    /// Keys and values from the command line.
    pub flags: Vec<(String, String)>,
}

/// The settings, and where each comes from.
#[derive(Clone, Debug)]
pub struct Effective {
    /// The settings.
    pub config: Config,
    /// By key; what is not in it has its default.
    pub origins: BTreeMap<&'static str, Origin>,
}

impl Effective {
    /// All settings in their order: key, value with secrets hidden, where it comes from.
    pub fn shown(&self) -> Vec<(&'static str, serde_json::Value, Origin)> {
        let whole = serde_json::to_value(&self.config).unwrap_or_default();
        let row = |setting: Setting| {
            let pointer = format!("/{}", setting.key.replace('.', "/"));
            let value = whole.pointer(&pointer).cloned().unwrap_or_default();
            (setting.key, value, self.origins.get(setting.key).cloned().unwrap_or_default())
        };
        settings::all().into_iter().map(row).collect()
    }
}

/// Reads the settings: the file, then the environment over it, then the flags.
///
/// # Errors
/// The first thing that cannot be read, is unknown, of the wrong type or out of range, in one line.
pub fn read(sources: &Sources) -> Result<Effective, ConfigError> {
    let mut found = Found::default();
    if let Some(path) = &sources.file {
        found.take_table("", file(path)?, path)?;
    }
    found.take_environment(&sources.environment)?;
    for (key, text) in &sources.flags {
        let Some(setting) = settings::find(key) else { continue };
        let name = setting.flag().unwrap_or_default();
        if setting.kind == Kind::Url && ServerUrl::new(text).has_password() {
            let why = format!(
                "has a password, which everybody on this machine can read there; put that into {}_PASSWORD or the file",
                setting.variable().trim_end_matches("_URL")
            );
            return Err(ConfigError::new(&setting, &Origin::Flag(name), &why));
        }
        found.take(&setting, setting.kind.read(text), Origin::Flag(name))?;
    }
    let Found { table, origins } = found;
    let config = Config::deserialize(Value::Table(table))
        .map_err(|error| ConfigError::plain(error.message().replace('\n', " ")))?;
    let mut effective = Effective { config, origins };
    if effective.config.instance.is_empty() {
        effective.config.instance = Config::default().instance;
    }
    super::check::check(&effective)?;
    Ok(effective)
}

fn file(path: &Path) -> Result<Table, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        ConfigError::plain(format!("the configuration file {} cannot be read: {error}", path.display()))
    })?;
    text.parse().map_err(|error: toml::de::Error| {
        let at = error.span().map_or(0, |span| span.start);
        let line = 1 + text.get(..at).unwrap_or_default().matches('\n').count();
        let why = error.message().replace('\n', " ");
        ConfigError::plain(format!("{} line {line} is no valid TOML: {why}", path.display()))
    })
}

#[derive(Default)]
struct Found {
    table: Table,
    origins: BTreeMap<&'static str, Origin>,
}

impl Found {
    /// Takes what a file says below a prefix.
    fn take_table(&mut self, prefix: &str, table: Table, path: &Path) -> Result<(), ConfigError> {
        for (name, value) in table {
            let key = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
            match (settings::find(&key), value) {
                (Some(setting), value) => self.take(&setting, value, Origin::File(path.to_owned()))?,
                (None, Value::Table(below)) if is_section(&key) => self.take_table(&key, below, path)?,
                (None, _) if is_section(&key) => {
                    let why = format!("{}: {key} is a table; {}", path.display(), known_in(&key));
                    return Err(ConfigError::plain(why));
                }
                (None, _) => return Err(unknown(&key, path)),
            }
        }
        Ok(())
    }

    /// Takes what the environment says. Variables that are like one of ours and are none are refused; others of our
    /// prefix are left alone, as container platforms set some.
    fn take_environment(&mut self, environment: &[(String, String)]) -> Result<(), ConfigError> {
        let all: Vec<_> = settings::all().into_iter().map(|setting| (setting.variable(), setting)).collect();
        for (name, text) in environment.iter().filter(|(name, _)| name.starts_with("DTF_")) {
            if let Some((_, setting)) = all.iter().find(|(variable, _)| variable == name) {
                self.take(setting, setting.kind.read(text), Origin::Variable(name.clone()))?;
                continue;
            }
            let like = all.iter().find(|(variable, _)| strsim::damerau_levenshtein(variable, name) <= 2);
            if let Some((variable, _)) = like.filter(|_| !OTHER_VARIABLES.contains(&name.as_str())) {
                let why = format!("the environment variable {name} is unknown; did you mean {variable}?");
                return Err(ConfigError::plain(why));
            }
        }
        Ok(())
    }

    fn take(&mut self, setting: &Setting, value: Value, origin: Origin) -> Result<(), ConfigError> {
        setting.kind.check(&value).map_err(|why| {
            let shown = match (&setting.kind, &value) {
                (Kind::Secret | Kind::Url, _) => String::new(),
                (_, Value::String(text)) => format!(" is {text:?};"),
                (_, value) => format!(" is {value};"),
            };
            ConfigError::new(setting, &origin, format!("{shown} {why}").trim_start())
        })?;
        let (mut table, mut name) = (&mut self.table, setting.key);
        if let Some((section, rest)) = setting.key.split_once('.') {
            let below = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
            // Keys have one dot at most, so a section is never a value.
            let Value::Table(below) = below else { return Ok(()) };
            (table, name) = (below, rest);
        }
        table.insert(name.to_owned(), value);
        self.origins.insert(setting.key, origin);
        Ok(())
    }
}

fn is_section(name: &str) -> bool {
    settings::all()
        .iter()
        .any(|setting| setting.key.split_once('.').is_some_and(|(section, _)| section == name))
}

fn unknown(key: &str, path: &Path) -> ConfigError {
    let all = settings::all();
    let sections = all.iter().filter_map(|setting| setting.key.split_once('.').map(|(section, _)| section));
    let known = all.iter().map(|setting| setting.key).chain(sections);
    let (inside, place) = (key.split_once('.'), path.display());
    let like = settings::nearest(known, key);
    let hint = match (like, inside) {
        (Some(like), _) => format!("did you mean {like}?"),
        (None, Some((section, _))) => known_in(section),
        (None, None) => "`dtf config keys` lists what is known".to_owned(),
    };
    ConfigError::plain(format!("{place}: the key {key} is unknown; {hint}"))
}

fn known_in(section: &str) -> String {
    let all = settings::all();
    let within = format!("{section}.");
    let names = all.iter().filter_map(|setting| setting.key.strip_prefix(&within));
    format!("known in {section} are: {}", names.collect::<Vec<_>>().join(", "))
}
