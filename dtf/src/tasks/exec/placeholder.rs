//! Placeholders of an argument, filled from an item: `{}` stands for the item, `{name}` for its field of that name.
//!
//! A string is filled in as it is, another value as JSON. A value never becomes more than one argument, and none that begins with `-`
//! begins an argument, unless `--` stands before it: it could be taken for an option.

use serde_json::Value;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Item,
    Field(String),
}

/// An argument vector with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Vector {
    arguments: Vec<Vec<Piece>>,
}

impl Vector {
    pub(super) fn parse(arguments: &[String]) -> Self {
        Self { arguments: arguments.iter().map(|argument| pieces(argument)).collect() }
    }

    /// Returns whether it has a placeholder.
    pub(super) fn takes_items(&self) -> bool {
        self.arguments.iter().flatten().any(|piece| !matches!(piece, Piece::Text(_)))
    }

    /// Returns whether the program has a placeholder.
    pub(super) fn program_varies(&self) -> bool {
        self.arguments
            .first()
            .is_some_and(|program| program.iter().any(|piece| !matches!(piece, Piece::Text(_))))
    }

    /// Fills the placeholders.
    ///
    /// # Errors
    /// The reason why the item does not fit.
    pub(super) fn fill(&self, item: &Value) -> Result<Vec<String>, String> {
        let mut filled: Vec<String> = Vec::with_capacity(self.arguments.len());
        let mut options_have_ended = false;
        for pieces in &self.arguments {
            let mut argument = String::new();
            for piece in pieces {
                match piece {
                    Piece::Text(text) => argument.push_str(text),
                    Piece::Item => argument.push_str(&text_of(item)),
                    Piece::Field(name) => {
                        let field =
                            item.get(name).ok_or_else(|| format!("the item has no field {name:?}"))?;
                        argument.push_str(&text_of(field));
                    }
                }
            }
            let begins_with_value = !matches!(pieces.first(), None | Some(Piece::Text(_)));
            if begins_with_value && argument.starts_with('-') && !options_have_ended {
                return Err("a value that begins with - could be taken for an option; put -- before it in the command".to_owned());
            }
            if argument.contains('\0') {
                return Err("a value has a zero byte, which no argument can have".to_owned());
            }
            options_have_ended |= matches!(&pieces[..], [Piece::Text(text)] if text == "--");
            filled.push(argument);
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

/// Reads an argument. What is between braces and no name is text.
fn pieces(argument: &str) -> Vec<Piece> {
    let is_name = |name: &str| name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'));
    let mut pieces = Vec::new();
    let (mut text, mut rest) = (String::new(), argument);
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        match after.split_once('}').filter(|(name, _)| is_name(name)) {
            Some((name, after)) => {
                if !text.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut text)));
                }
                pieces.push(if name.is_empty() { Piece::Item } else { Piece::Field(name.to_owned()) });
                rest = after;
            }
            None => {
                text.push('{');
                rest = after;
            }
        }
    }
    text.push_str(rest);
    if !text.is_empty() || pieces.is_empty() {
        pieces.push(Piece::Text(text));
    }
    pieces
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn filled(arguments: &[&str], item: &Value) -> Result<Vec<String>, String> {
        Vector::parse(&arguments.iter().map(|argument| (*argument).to_owned()).collect::<Vec<_>>()).fill(item)
    }

    #[test]
    fn a_value_fills_a_part_of_one_argument() {
        let item = json!({"in": "a b; $(c)", "n": 3, "deep": {"x": [1]}});
        let arguments = ["/bin/x", "{in}", "--n={n}", "{deep}", "{\"a\": 1}", "{ in }", "{", "", "{in}{n}"];
        let expected =
            ["/bin/x", "a b; $(c)", "--n=3", r#"{"x":[1]}"#, "{\"a\": 1}", "{ in }", "{", "", "a b; $(c)3"];
        assert_eq!(filled(&arguments, &item).unwrap(), expected);
        assert_eq!(filled(&["x", "{}", "-{}"], &json!("é")).unwrap(), ["x", "é", "-é"]);
        assert_eq!(filled(&["x", "{}"], &json!([1, "a"])).unwrap(), ["x", r#"[1,"a"]"#]);
    }

    #[test]
    fn what_could_be_an_option_or_is_not_there_is_refused() {
        assert!(filled(&["x", "{}"], &json!("-rf")).unwrap_err().contains("option"));
        assert!(filled(&["x", "{}"], &json!(-1)).unwrap_err().contains("option"));
        assert!(filled(&["x", "{a}{b}"], &json!({"a": "", "b": "--output=/etc/x"})).is_err());
        assert_eq!(filled(&["x", "--", "{}"], &json!("-rf")).unwrap(), ["x", "--", "-rf"]);
        assert_eq!(filled(&["x", "./{}"], &json!("-rf")).unwrap(), ["x", "./-rf"]);
        assert!(
            filled(&["x", "{a}", "{b}"], &json!({"a": "--", "b": "-x"})).is_err(),
            "no item ends the options"
        );
        assert!(filled(&["x", "{a}"], &json!({"b": 1})).unwrap_err().contains("no field \"a\""));
        assert!(filled(&["x", "{a}"], &json!("a")).is_err());
        assert!(filled(&["x", "{}"], &json!("a\0b")).unwrap_err().contains("zero byte"));
    }
}
