//! Texts with placeholders, filled from an item: `{}` stands for the item, `{name}` for its field of that name.

use serde_json::Value;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Item,
    Field(String),
}

/// A text with placeholders. What is between braces and no name is text.
///
/// ```
/// use dtf_types::Template;
///
/// let template = Template::parse("{name} is {\"n\": {n}}");
/// let filled = template.fill(&serde_json::json!({"name": "ada", "n": 7}), str::to_owned);
/// assert_eq!(filled.as_deref(), Ok("ada is {\"n\": 7}"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

impl Template {
    /// Reads a text.
    pub fn parse(text: &str) -> Self {
        let is_name = |name: &str| name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'));
        let mut pieces = Vec::new();
        let (mut before, mut rest) = (String::new(), text);
        while let Some((literal, after)) = rest.split_once('{') {
            before.push_str(literal);
            match after.split_once('}').filter(|(name, _)| is_name(name)) {
                Some((name, after)) => {
                    if !before.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut before)));
                    }
                    pieces.push(if name.is_empty() { Piece::Item } else { Piece::Field(name.to_owned()) });
                    rest = after;
                }
                None => {
                    before.push('{');
                    rest = after;
                }
            }
        }
        before.push_str(rest);
        if !before.is_empty() {
            pieces.push(Piece::Text(before));
        }
        Self(pieces)
    }

    /// Returns true if it has a placeholder.
    pub fn varies(&self) -> bool {
        self.0.iter().any(|piece| !matches!(piece, Piece::Text(_)))
    }

    /// Returns true if it begins with a placeholder.
    pub fn begins_with_value(&self) -> bool {
        self.0.first().is_some_and(|piece| !matches!(piece, Piece::Text(_)))
    }

    /// Returns the text with an `x` for each placeholder.
    pub(crate) fn example(&self) -> String {
        let text = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Item | Piece::Field(_) => "x".to_owned(),
        };
        self.0.iter().map(text).collect()
    }

    /// Fills the placeholders: with strings as they are, with other values as JSON, both encoded.
    ///
    /// # Errors
    /// The item lacks a field.
    pub fn fill(&self, item: &Value, encode: impl Fn(&str) -> String) -> Result<String, String> {
        let mut filled = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::Item => filled.push_str(&encode(&text_of(item))),
                Piece::Field(name) => {
                    let field = item.get(name).ok_or_else(|| format!("the item has no field {name:?}"))?;
                    filled.push_str(&encode(&text_of(field)));
                }
            }
        }
        Ok(filled)
    }
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
