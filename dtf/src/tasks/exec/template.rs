//! The command for a line: a template with replacement strings, as GNU parallel has them.
//!
//! | in the template | stands for |
//! |---|---|
//! | `{}` | the line |
//! | `{.}` | the line without its extension |
//! | `{/}` | its last part, as `basename` prints it |
//! | `{//}` | its directory, as `dirname` prints it |
//! | `{/.}` | its last part without the extension |
//! | `{3}`, `{3.}`, `{3/}`, … | the same of its third column; `{-1}` is the last |
//! | `{#}` | the line's number, from 1 |
//! | `{%}` | the number of the slot that it runs in, from 1 to the number of jobs |

use regex::bytes::Regex;

use super::input::Line;

/// The part of a value that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    All,
    WithoutExtension,
    Base,
    Directory,
    BaseWithoutExtension,
}

/// The meaning of a piece of an argument.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Vec<u8>),
    /// The line, or the column with this number; negative ones count from the end.
    Value(Option<i64>, Part),
    Number,
    Slot,
}

/// The source of a line's columns.
#[derive(Clone, Debug)]
pub(super) enum Columns {
    /// It has none: the line is its first.
    None,
    /// Matches of the pattern are between them.
    Separated(Regex),
}

/// The command and its arguments, with replacement strings.
#[derive(Clone, Debug)]
pub(super) struct Template {
    parts: Vec<Vec<Piece>>,
    columns: Columns,
    /// True if the parts are one text for a shell.
    shell: bool,
    /// True if the line is appended: no placeholder stands for it, and the command does not read it.
    append: bool,
}

impl Template {
    /// Reads a template. With `shell`, the parts with spaces between them are what a shell is to run. A command that
    /// `reads` its line is not given it as an argument.
    pub(super) fn new(parts: &[Vec<u8>], columns: Columns, shell: bool, reads: bool) -> Self {
        let parts: Vec<Vec<Piece>> = match shell {
            true => vec![pieces(&parts.join(&b' '))],
            false => parts.iter().map(|part| pieces(part)).collect(),
        };
        let takes = parts.iter().flatten().any(|piece| matches!(piece, Piece::Value(..)));
        Self { parts, columns, shell, append: !takes && !reads }
    }

    /// The command for a line.
    ///
    /// # Errors
    /// The line has not as many columns as the template names.
    pub(super) fn render(&self, line: &Line, slot: usize) -> Result<Vec<Vec<u8>>, String> {
        let columns = self.columns_of(line);
        let mut made = Vec::with_capacity(self.parts.len() + 3);
        for part in &self.parts {
            let mut argument = Vec::new();
            for piece in part {
                match piece {
                    Piece::Text(text) => argument.extend_from_slice(text),
                    Piece::Number => argument.extend_from_slice(line.number.to_string().as_bytes()),
                    Piece::Slot => argument.extend_from_slice(slot.to_string().as_bytes()),
                    Piece::Value(column, part) => {
                        let value = part.of(self.value(line, &columns, *column)?);
                        argument.extend_from_slice(&if self.shell { quoted(&value) } else { value });
                    }
                }
            }
            made.push(argument);
        }
        if self.append {
            self.append_to(&mut made, line, &columns);
        }
        if self.shell {
            made.splice(0..0, [b"/bin/sh".to_vec(), b"-c".to_vec()]);
        }
        Ok(made)
    }

    fn append_to(&self, made: &mut Vec<Vec<u8>>, line: &Line, columns: &[&[u8]]) {
        let whole = [&line.text[..]];
        let values: &[&[u8]] = if line.columns.len() > 1 { columns } else { &whole };
        for value in values {
            match (self.shell, made.last_mut()) {
                (true, Some(script)) => {
                    script.push(b' ');
                    script.extend_from_slice(&quoted(value));
                }
                _ => made.push(value.to_vec()),
            }
        }
    }

    fn columns_of<'a>(&self, line: &'a Line) -> Vec<&'a [u8]> {
        match &self.columns {
            _ if !line.columns.is_empty() => line.columns.iter().map(Vec::as_slice).collect(),
            Columns::Separated(separator) => separator.split(&line.text).collect(),
            Columns::None => vec![&line.text],
        }
    }

    fn value<'a>(
        &self,
        line: &'a Line,
        columns: &[&'a [u8]],
        column: Option<i64>,
    ) -> Result<&'a [u8], String> {
        let Some(column) = column else { return Ok(&line.text) };
        let count = i64::try_from(columns.len()).unwrap_or(i64::MAX);
        let at = if column < 0 { count + column } else { column - 1 };
        let value = usize::try_from(at).ok().and_then(|at| columns.get(at));
        value.copied().ok_or_else(|| format!("has {count} columns and no column {column}"))
    }
}

impl Part {
    fn of(self, value: &[u8]) -> Vec<u8> {
        match self {
            Part::All => value,
            Part::WithoutExtension => without_extension(value),
            Part::Base => base(value),
            Part::Directory => directory(value),
            Part::BaseWithoutExtension => without_extension(base(value)),
        }
        .to_vec()
    }
}

fn base(value: &[u8]) -> &[u8] {
    value.iter().rposition(|byte| *byte == b'/').map_or(value, |at| &value[at + 1..])
}

/// Without the last dot and what is behind it, unless that is in a directory's name or nothing.
fn without_extension(value: &[u8]) -> &[u8] {
    match value.iter().rposition(|byte| matches!(byte, b'.' | b'/')) {
        Some(at) if value[at] == b'.' && at + 1 < value.len() => &value[..at],
        _ => value,
    }
}

fn directory(value: &[u8]) -> &[u8] {
    let trimmed = |value: &[u8]| value.iter().rposition(|byte| *byte != b'/').map_or(0, |at| at + 1);
    match value.iter().rposition(|byte| *byte == b'/') {
        None => b".",
        Some(at) => match trimmed(&value[..at]) {
            0 => b"/",
            end => &value[..end],
        },
    }
}

/// In single quotes, so that a shell takes it as it is.
pub(super) fn quoted(value: &[u8]) -> Vec<u8> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-./:=@%+,".contains(byte);
    if !value.is_empty() && value.iter().all(plain) {
        return value.to_vec();
    }
    let mut made = vec![b'\''];
    for byte in value {
        match byte {
            b'\'' => made.extend_from_slice(b"'\\''"),
            _ => made.push(*byte),
        }
    }
    made.push(b'\'');
    made
}

fn pieces(part: &[u8]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut text = Vec::new();
    let mut rest = part;
    while let Some((first, behind)) = rest.split_first() {
        let close = if *first == b'{' { behind.iter().position(|byte| *byte == b'}') } else { None };
        match close.and_then(|close| Some((piece(&behind[..close])?, close))) {
            Some((piece, close)) => {
                if !text.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut text)));
                }
                pieces.push(piece);
                rest = &behind[close + 1..];
            }
            None => {
                text.push(*first);
                rest = behind;
            }
        }
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    pieces
}

/// Returns the meaning of the text between braces; `None` if it is no replacement string, and stays as it is.
fn piece(inner: &[u8]) -> Option<Piece> {
    match inner {
        b"#" => return Some(Piece::Number),
        b"%" => return Some(Piece::Slot),
        _ => {}
    }
    let digits = inner.iter().position(|byte| !byte.is_ascii_digit() && *byte != b'-').unwrap_or(inner.len());
    let (column, part) = inner.split_at(digits);
    let column = match column {
        b"" => None,
        _ => Some(std::str::from_utf8(column).ok()?.parse::<i64>().ok().filter(|column| *column != 0)?),
    };
    let part = match part {
        b"" => Part::All,
        b"." => Part::WithoutExtension,
        b"/" => Part::Base,
        b"//" => Part::Directory,
        b"/." => Part::BaseWithoutExtension,
        _ => return None,
    };
    Some(Piece::Value(column, part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &[u8]) -> Line {
        Line { number: 7, text: text.to_vec(), ..Line::default() }
    }

    fn template(parts: &[&str], columns: Columns, shell: bool) -> Template {
        let parts: Vec<_> = parts.iter().map(|part| part.as_bytes().to_vec()).collect();
        Template::new(&parts, columns, shell, false)
    }

    fn made(parts: &[&str], text: &[u8]) -> Vec<Vec<u8>> {
        template(parts, Columns::None, false).render(&line(text), 3).unwrap()
    }

    #[test]
    fn the_line_replaces_every_place_or_is_the_last_argument() {
        assert_eq!(made(&["cp", "{}", "{}.bak"], b"a b"), [&b"cp"[..], b"a b", b"a b.bak"]);
        assert_eq!(made(&["echo", "-n"], b"a b"), [&b"echo"[..], b"-n", b"a b"]);
        assert_eq!(made(&["{}"], b"date"), [b"date"]);
        assert_eq!(made(&["x{}{}y{"], b"{}"), [b"x{}{}y{"]);
        assert_eq!(made(&["echo"], b""), [&b"echo"[..], b""]);
        assert_eq!(made(&["echo", "{}"], b"\xff"), [&b"echo"[..], b"\xff"]);
        assert_eq!(made(&["awk", "{print $1}{0}{a}"], b"f"), [&b"awk"[..], b"{print $1}{0}{a}", b"f"]);
    }

    #[test]
    fn parts_of_the_line_are_those_of_gnu_parallel() {
        let all = ["{} {.} {/} {//} {/.} {#} {%}"];
        for (text, expected) in [
            ("a b/c d.tar.gz", "a b/c d.tar.gz a b/c d.tar c d.tar.gz a b c d.tar 7 3"),
            ("plain", "plain plain plain . plain 7 3"),
            ("/top", "/top /top top / top 7 3"),
            ("d.d/x", "d.d/x d.d/x x d.d x 7 3"),
            ("end.", "end. end. end. . end. 7 3"),
            ("a//b", "a//b a//b b a b 7 3"),
        ] {
            let made = made(&all, text.as_bytes());
            assert_eq!(String::from_utf8_lossy(&made[0]), expected);
        }
    }

    #[test]
    fn columns_are_counted_from_either_end_and_must_be_there() {
        let comma = || Columns::Separated(Regex::new(",").unwrap());
        let columns = template(&["{2}-{1/}-{-1.}"], comma(), false);
        assert_eq!(columns.render(&line(b"x/a,b,c.d"), 1).unwrap(), [b"b-a-c"]);
        let missing = template(&["rm", "{3}"], comma(), false).render(&line(b"a,b"), 1).unwrap_err();
        assert_eq!(missing, "has 2 columns and no column 3");
        let given = Line { columns: vec![b"p".to_vec(), b"q".to_vec()], ..line(b"p q") };
        assert_eq!(template(&["{2}{1}"], Columns::None, false).render(&given, 1).unwrap(), [b"qp"]);
        assert_eq!(
            template(&["echo"], Columns::None, false).render(&given, 1).unwrap(),
            [&b"echo"[..], b"p", b"q"]
        );
    }

    #[test]
    fn a_shell_is_given_one_text_in_which_lines_are_quoted() {
        let shell = template(&["gzip -c {} > {.}.gz; echo {#}"], Columns::None, true);
        let made = shell.render(&line(b"it's $x.txt"), 1).unwrap();
        assert_eq!(made[..2], [b"/bin/sh".to_vec(), b"-c".to_vec()]);
        assert_eq!(made[2], b"gzip -c 'it'\\''s $x.txt' > 'it'\\''s $x'.gz; echo 7");
        let appended = template(&["echo", "-n"], Columns::None, true).render(&line(b"a b"), 1).unwrap();
        assert_eq!(appended[2], b"echo -n 'a b'");
    }
}
