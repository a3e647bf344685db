//! The record of a line's command.

use super::command::Ended;

/// The end of a line's command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// The line's number.
    pub(super) number: u64,
    /// The line, or the beginning of it.
    pub(super) text: Vec<u8>,
    /// The start of its command, in milliseconds since the Unix epoch.
    pub(super) started_ms: u64,
    /// The time that it ran, in milliseconds.
    pub(super) ran_ms: u64,
    pub(super) ended: Ended,
    /// True if it was ended because the run was.
    pub(super) killed: bool,
}

impl Record {
    /// In a few words, for people.
    pub(super) fn reason(&self) -> String {
        match (&self.ended.why[..], self.ended.signal) {
            _ if self.killed => "ended with the run".to_owned(),
            ("", 0) => format!("exit code {}", self.ended.code),
            ("", signal) => format!("ended by signal {signal}"),
            (why, _) => why.to_owned(),
        }
    }

    /// The line's number and beginning, for people.
    pub(super) fn name(&self) -> Vec<u8> {
        const SHOWN: usize = 200;
        let mut name = format!("line {} (", self.number).into_bytes();
        name.extend_from_slice(&self.text[..self.text.len().min(SHOWN)]);
        name.push(b')');
        name
    }
}
