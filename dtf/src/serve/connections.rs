//! The databases that the items of tasks may be about: a file of names and URLs, which an operator writes.

use std::collections::BTreeMap;
use std::path::Path;

use dtf_sql::NamedConnections;

/// Reads the file. It has to be called on a runtime.
///
/// # Errors
/// The file cannot be used, in one line, without any of its URLs.
pub(crate) fn read(file: &Path) -> Result<NamedConnections, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let shown = |error: toml::de::Error| {
        // Not the line, which has a URL.
        format!("{}: {}; it takes lines of NAME = \"URL\"", file.display(), error.message())
    };
    let urls: BTreeMap<String, String> = toml::from_str(&text).map_err(shown)?;
    if let Some(name) = urls.keys().find(|name| dtf_types::check_function_name(name).is_err()) {
        return Err(format!(
            "{}: {name:?} is no name: letters, digits and . _ - / are allowed",
            file.display()
        ));
    }
    NamedConnections::new(urls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_cannot_be_used_is_said_without_a_url() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("connections.toml");
        for (text, said) in [
            ("shop = 7", "invalid type"),
            (
                "shop = \"postgres://me:secret@a/b\"",
                "the connection shop cannot be used: its URL has to begin",
            ),
            ("\"a b\" = \"sqlite:///a\"", "is no name"),
            ("shop = \"mysql://me:secret", "lines of NAME"),
        ] {
            std::fs::write(&file, text).unwrap();
            let wrong = read(&file).unwrap_err();
            assert!(wrong.contains(said) && !wrong.contains("secret"), "{text}: {wrong}");
        }
        std::fs::write(&file, "shop = \"sqlite:///srv/shop.db\"").unwrap();
        assert_eq!(format!("{:?}", read(&file).unwrap()), "{\"shop\"}");
        assert!(read(&directory.path().join("none")).unwrap_err().contains("No such file"));
    }
}
