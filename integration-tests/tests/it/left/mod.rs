//! The records that processes of format 1 left behind in all stores when they were killed in the middle of two tasks; they
//! had eight shards and two buckets of each kind. They were taken from real servers. Such records are never written again:
//! a later version has to read them.
//!
//! Task 1 has ordered keys, and its description no format, as those had none before there was one. Task 2 has no keys.

use serde::Deserialize;
use test_servers::servers::Redis;

use integration_tests::stage::{Site, Task};

/// The two tasks, and how many subtasks and shard keys they have.
const TASKS: [(u64, &str, u64); 2] = [(1, "executed-two", 120), (2, "executed-one", 400)];
/// The shard keys of task 1.
pub(crate) const KEYS: u64 = 6;

#[derive(Deserialize)]
pub(crate) struct Left {
    /// Commands that make the keys.
    redis: Vec<Vec<Word>>,
    /// Rows.
    sql: Vec<String>,
    /// Keys and values, but for those that end with a session.
    pub(crate) etcd: Vec<(String, String)>,
    /// The executed numbers, by file.
    files: Vec<(String, Hex)>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Word {
    Text(String),
    Bytes { hex: Hex },
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Hex(Vec<u8>);

impl TryFrom<String> for Hex {
    type Error = std::num::ParseIntError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let digits = (0..text.len()).step_by(2);
        digits.map(|at| u8::from_str_radix(&text[at..at + 2], 16)).collect::<Result<_, _>>().map(Self)
    }
}

impl Left {
    pub(crate) fn read() -> Self {
        serde_json::from_str(include_str!("format-1.json")).unwrap()
    }

    /// Puts the rows and the queues where they were. It has only just happened: else the tasks' time would be over.
    pub(crate) fn restore(&self, site: &Site) -> [Task; 2] {
        self.sql.iter().for_each(|row| site.change(row));
        let now = "UNIX_TIMESTAMP() * 1000";
        site.change(&format!("UPDATE tbl_task SET create_time = {now}, start_time = {now}"));
        self.redis.iter().for_each(|words| give(&site.redis, words));
        for (name, Hex(bytes)) in &self.files {
            std::fs::write(site.file(name), bytes).unwrap();
        }
        TASKS.map(|(id, file, count)| Task::left(id, count, site.file(file)))
    }
}

fn give(redis: &Redis, words: &[Word]) {
    let words: Vec<&[u8]> = words
        .iter()
        .map(|word| match word {
            Word::Text(text) => text.as_bytes(),
            Word::Bytes { hex } => &hex.0,
        })
        .collect();
    redis.ask(&words).unwrap();
}
