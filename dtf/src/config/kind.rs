//! The kinds of settings: the values that each allows, and the parser from text.

use std::ops::RangeInclusive;

use dtf_model::Role;
use lrmf_core::config::text;
use toml::Value;

/// The kind of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Any text.
    Text,
    /// Text that is never shown.
    Secret,
    /// The URL of a server; it may have a password in it.
    Url,
    /// A whole number in this range.
    Number(RangeInclusive<i64>),
    /// Yes or no.
    Flag,
    /// A duration.
    Time,
    /// Several texts.
    List,
    /// Names and values, texts both.
    Labels,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Roles.
    Roles,
}

impl Kind {
    /// Returns a short description of the values that are allowed.
    pub(crate) fn allowed(&self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::Secret => "text, which is never shown".to_owned(),
            Self::Url => "a URL".to_owned(),
            Self::Number(range) => format!("a whole number from {} to {}", range.start(), range.end()),
            Self::Flag => "true or false".to_owned(),
            Self::Time => "a duration: a whole number and ms, s, m or h, as in \"10s\"".to_owned(),
            Self::List => "a list of texts, as in [\"a\", \"b\"]".to_owned(),
            Self::Labels => {
                "names and values, as in { rack = \"r1\" } in the file and rack=r1,row=2 elsewhere".to_owned()
            }
            Self::Word(words) => words.join(" or "),
            Self::Roles => format!("a list of roles: all, {}", Role::ALL.map(Role::name).join(", ")),
        }
    }

    /// Reads it from an environment variable or a flag; a list is separated by commas.
    pub(crate) fn read(&self, text: &str) -> Value {
        let list = || text.split(',').map(str::trim).filter(|item| !item.is_empty());
        let as_text = || Value::String(text.to_owned());
        match self {
            // What is no number stays a text, which the check refuses.
            Self::Number(_) => text.trim().parse().map_or_else(|_| as_text(), Value::Integer),
            Self::Flag => text.trim().parse().map_or_else(|_| as_text(), Value::Boolean),
            Self::List | Self::Roles => {
                Value::Array(list().map(|item| Value::String(item.to_owned())).collect())
            }
            Self::Labels => {
                let pair = |item: &str| {
                    let (name, value) = item.split_once('=')?;
                    Some((name.trim().to_owned(), Value::String(value.trim().to_owned())))
                };
                list().map(pair).collect::<Option<_>>().map_or_else(as_text, Value::Table)
            }
            Self::Text | Self::Secret | Self::Url | Self::Time | Self::Word(_) => as_text(),
        }
    }

    /// Checks a value. The error says why it is refused.
    pub(crate) fn check(&self, value: &Value) -> Result<(), String> {
        let fine = match (self, value) {
            (Self::Text | Self::Secret | Self::Url, Value::String(_)) | (Self::Flag, Value::Boolean(_)) => {
                true
            }
            (Self::Number(range), Value::Integer(number)) => range.contains(number),
            (Self::Time, Value::String(span)) => text::parse(span).is_ok(),
            (Self::List, Value::Array(items)) => items.iter().all(Value::is_str),
            (Self::Labels, Value::Table(labels)) => {
                labels.iter().all(|(name, value)| !name.is_empty() && value.is_str())
            }
            (Self::Word(words), Value::String(word)) => words.contains(&word.as_str()),
            (Self::Roles, Value::Array(items)) => items.iter().all(|item| item.as_str().is_some_and(is_role)),
            _ => false,
        };
        if fine { Ok(()) } else { Err(format!("it takes {}", self.allowed())) }
    }
}

fn is_role(name: &str) -> bool {
    name == "all" || Role::ALL.iter().any(|role| role.name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_allowed_is_refused_with_what_is() {
        let said = |kind: Kind, text: &str| kind.check(&kind.read(text)).err().unwrap_or_default();
        for (kind, text) in [
            (Kind::Text, "x"),
            (Kind::Number(1..=5), "5"),
            (Kind::Flag, "true"),
            (Kind::Time, "10s"),
            (Kind::List, "a,b"),
            (Kind::Word(&["a", "b"]), "b"),
            (Kind::Roles, "manager, executor"),
            (Kind::Roles, "all"),
            (Kind::Labels, "rack=r1, row=2"),
            (Kind::Labels, ""),
        ] {
            assert_eq!(said(kind.clone(), text), "", "{kind:?} {text}");
        }
        assert_eq!(said(Kind::Number(1..=5), "6"), "it takes a whole number from 1 to 5");
        assert_eq!(said(Kind::Number(1..=5), "many"), "it takes a whole number from 1 to 5");
        assert_eq!(said(Kind::Flag, "yes"), "it takes true or false");
        assert!(said(Kind::Time, "10").contains("as in \"10s\""));
        assert_eq!(said(Kind::Word(&["a", "b"]), "c"), "it takes a or b");
        assert!(said(Kind::Labels, "rack").contains("rack=r1"));
        assert!(said(Kind::Roles, "worker").contains("all, manager, generator"));
        assert!(Kind::List.check(&Value::Integer(1)).is_err());
    }
}
