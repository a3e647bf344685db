//! Text from users, made fit for terminals and logs: the one place that knows what must not reach them as it is.
//!
//! A name, a key or a reason may contain anything. Written to a terminal as it is, a control sequence in it moves the cursor,
//! changes the title or pretends to be other output; a newline makes two lines of a table or a log of one; a mark of
//! direction shows text in another order than it has. So all of these are shown as escapes.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Returns whether a character must not reach a terminal as it is: controls (C0, DEL and C1), separators of lines and
/// paragraphs, and marks of direction.
fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Appends an escape: `\n`, `\r`, `\t`, `\x1b`, `\u{202e}`.
fn escape(to: &mut String, character: char) {
    match character {
        '\n' => to.push_str("\\n"),
        '\r' => to.push_str("\\r"),
        '\t' => to.push_str("\\t"),
        // Writing to a string cannot fail.
        _ if character.is_ascii() => write!(to, "\\x{:02x}", u32::from(character)).unwrap_or_default(),
        _ => write!(to, "\\u{{{:x}}}", u32::from(character)).unwrap_or_default(),
    }
}

/// Text on one line of a terminal or a log.
///
/// ```
/// use lrmf_core::text::one_line;
/// assert_eq!(one_line("plain ä"), "plain ä");
/// assert_eq!(one_line("a\nb\u{1b}[2J\u{202e}"), r"a\nb\x1b[2J\u{202e}");
/// ```
pub fn one_line(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match is_unsafe(character) {
            true => escape(&mut shown, character),
            false => shown.push(character),
        }
    }
    Cow::Owned(shown)
}

/// Bytes on one line, so that they can be told again: what is no UTF-8, and backslashes, are escaped, too.
///
/// ```
/// use lrmf_core::text::bytes_on_one_line;
/// assert_eq!(bytes_on_one_line(b"a\\b\n\xff"), r"a\\b\n\xff");
/// ```
pub fn bytes_on_one_line(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => shown.push_str("\\\\"),
                _ if is_unsafe(character) => escape(&mut shown, character),
                _ => shown.push(character),
            }
        }
        for byte in chunk.invalid() {
            write!(shown, "\\x{byte:02x}").unwrap_or_default();
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_steers_a_terminal_is_left() {
        let all: String = (0..0x3000).filter_map(char::from_u32).collect();
        let shown = one_line(&all);
        assert!(!shown.contains(is_unsafe));
        assert!(!bytes_on_one_line(all.as_bytes()).contains(is_unsafe));
        let all: Vec<u8> = (0..=255).collect();
        assert!(!bytes_on_one_line(&all).contains(is_unsafe));
        assert_eq!(one_line("\u{9b}31m\u{7f}\t\\"), "\\u{9b}31m\\x7f\\t\\");
    }
}
