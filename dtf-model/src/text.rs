//! Limits of the texts that users give.

use crate::error::InvalidInput;

/// The longest task name, group name and creator name, in characters.
pub const MAX_NAME_CHARS: usize = 128;
/// The longest description, in characters.
pub const MAX_DESCRIPTION_CHARS: usize = 1024;

/// Checks the length of a text, in characters.
pub(crate) fn check_length(what: &'static str, text: &str, most: usize) -> Result<(), InvalidInput> {
    let chars = text.chars().count();
    if chars > most { Err(InvalidInput::TooLong { what, chars, most }) } else { Ok(()) }
}
