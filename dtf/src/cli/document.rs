//! Files that people write: YAML, JSON or TOML, as their names say.

use std::io::Read;
use std::path::Path;

use serde::de::DeserializeOwned;

use super::Usage;

/// Reads a file, or standard input where it is `-`. `what` is what it should hold, with its article.
///
/// # Errors
/// It cannot be read, or is something else.
pub(super) fn read<T: DeserializeOwned>(file: &Path, what: &str) -> Result<T, Usage> {
    let shown = file.display();
    let text = match file.as_os_str() == "-" {
        true => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map(|_| text)
        }
        false => std::fs::read_to_string(file),
    };
    let text = text.map_err(|error| Usage(format!("{shown} cannot be read: {error}")))?;
    let wrong = |error: String| Usage(format!("{shown} is no {what}: {}", error.replace('\n', " ")));
    match file.extension().and_then(|end| end.to_str()).unwrap_or_default() {
        "toml" => toml::from_str(&text).map_err(|error| wrong(error.message().to_owned())),
        "json" => serde_json::from_str(&text).map_err(|error| wrong(error.to_string())),
        "yaml" | "yml" | "" => serde_saphyr::from_str(&text).map_err(|error| wrong(error.to_string())),
        other => Err(Usage(format!("{shown} ends in .{other}; allowed are .yaml, .yml, .json and .toml"))),
    }
}
