//! Argument vectors with [placeholders](Template), which are filled from an item.
//!
//! A value never becomes more than one argument, and none that begins with `-` begins an argument, unless `--` stands before it: it could be
//! taken for an option.

use dtf_types::Template;
use serde_json::Value;

/// An argument vector with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Vector(Vec<(String, Template)>);

impl Vector {
    pub(super) fn parse(arguments: &[String]) -> Self {
        Self(arguments.iter().map(|argument| (argument.clone(), Template::parse(argument))).collect())
    }

    /// Returns whether it has a placeholder.
    pub(super) fn takes_items(&self) -> bool {
        self.0.iter().any(|(_, template)| template.varies())
    }

    /// Returns whether the program has a placeholder.
    pub(super) fn program_varies(&self) -> bool {
        self.0.first().is_some_and(|(_, program)| program.varies())
    }

    /// Fills the placeholders.
    ///
    /// # Errors
    /// The reason why the item does not fit.
    pub(super) fn fill(&self, item: &Value) -> Result<Vec<String>, String> {
        let mut filled: Vec<String> = Vec::with_capacity(self.0.len());
        let mut options_have_ended = false;
        for (text, template) in &self.0 {
            let argument = template.fill(item, str::to_owned)?;
            if template.begins_with_value() && argument.starts_with('-') && !options_have_ended {
                return Err("a value that begins with - could be taken for an option; put -- before it in the command"
                    .to_owned());
            }
            if argument.contains('\0') {
                return Err("a value has a zero byte, which no argument can have".to_owned());
            }
            options_have_ended |= text == "--";
            filled.push(argument);
        }
        Ok(filled)
    }
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
