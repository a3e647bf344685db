//! The statement of a list: its conditions, its order, and the index that has both.
//!
//! # The problem
//! A page is to cost what it shows, however many tasks there are. Left to itself an optimizer may walk the whole table by id, in the
//! hope to meet enough rows that fit. So every filter names the indexes that it may use, and each order is that of an index.

#[cfg(feature = "mysql")]
use dtf_model::param::MAX_NAME_CHARS;
use dtf_model::table::{ListOrder, TaskFilter};

use crate::call::{Call, Value, bound};
use crate::sql;

const INDEX: &str = "/* index */";
const CONDITIONS: &str = "/* conditions */";
const ORDER: &str = "/* order */";

/// The database that a statement is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    #[cfg(feature = "sqlite")]
    Sqlite,
    #[cfg(feature = "mysql")]
    MySql,
}

/// The place of the last task of a page.
#[derive(Clone, Debug)]
pub(crate) struct Last {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) start_at: Option<u64>,
}

/// Conditions with their arguments.
#[derive(Default)]
struct Conditions {
    sql: String,
    arguments: Vec<Value>,
}

impl Conditions {
    fn and<const N: usize>(&mut self, condition: &str, arguments: [Value; N]) {
        self.sql.push_str(" AND ");
        self.sql.push_str(condition);
        self.arguments.extend(arguments);
    }
}

/// Returns the name of the index of types. In SQLite an index and a table cannot have the same one, and `tbl_task_type` is a table.
fn index_of_types(dialect: Dialect) -> &'static str {
    match dialect {
        #[cfg(feature = "sqlite")]
        Dialect::Sqlite => "tbl_task_by_type",
        #[cfg(feature = "mysql")]
        Dialect::MySql => "tbl_task_type",
    }
}

/// The statement that lists what fits, behind `last`. Texts have to agree in length too, as MySQL does not see trailing spaces.
pub(crate) fn list(filter: &TaskFilter, last: Option<&Last>, most: u32, dialect: Dialect) -> Call {
    let TaskFilter { status, task_type, group, creator, name, name_prefix, starts_after } = filter;
    let (mut conditions, mut indexes) = (Conditions::default(), Vec::new());
    let texts = [
        (name, "tbl_task_name", "name = ? AND LENGTH(name) = LENGTH(?)"),
        (creator, "tbl_task_creator", "creator = ? AND LENGTH(creator) = LENGTH(?)"),
        (group, "tbl_task_group", "resource_group = ? AND LENGTH(resource_group) = LENGTH(?)"),
    ];
    for (text, index, condition) in texts {
        if let Some(text) = text {
            conditions.and(condition, [text.as_str().into(), text.as_str().into()]);
            indexes.push(index);
        }
    }
    if let Some(task_type) = task_type {
        conditions.and("task_type = ?", [task_type.0.into()]);
        indexes.push(index_of_types(dialect));
    }
    if let Some(status) = status {
        conditions.and("task_status = ?", [status.code().into()]);
        indexes.push("tbl_task_status");
    }
    if let Some(prefix) = name_prefix {
        // No LIKE: that one is blind for case in SQLite, and has characters of its own.
        let chars = u32::try_from(prefix.chars().count()).unwrap_or(u32::MAX);
        let arguments = [chars.into(), prefix.as_str().into(), chars.into(), prefix.as_str().into()];
        conditions.and("SUBSTR(name, 1, ?) = ? AND LENGTH(SUBSTR(name, 1, ?)) = LENGTH(?)", arguments);
    }
    if let Some(after) = starts_after {
        conditions.and("+next_check_time > ?", [bound(*after).into()]);
    }
    let order = match filter.order() {
        ListOrder::NewestFirst => {
            let before = last.map_or(i64::MAX, |last| bound(last.id));
            conditions.and("id < ?", [before.into()]);
            "id DESC"
        }
        ListOrder::ByName => {
            let prefix = name_prefix.as_deref().unwrap_or_default();
            match last {
                Some(last) => behind(&mut conditions, "name", last.name.as_str().into(), last.id, dialect),
                None => conditions.and("name >= ?", [lowest_name(prefix, dialect).as_str().into()]),
            }
            if let Some(end) = behind_all(prefix) {
                conditions.and("name < ?", [end.as_str().into()]);
            }
            indexes = vec!["tbl_task_name"];
            "name, id"
        }
        ListOrder::ByStart => {
            match last {
                Some(last) => {
                    let start_at = last.start_at.map_or(i64::MIN, bound);
                    behind(&mut conditions, "next_check_time", start_at.into(), last.id, dialect);
                }
                None => {
                    let after = bound(starts_after.unwrap_or_default());
                    conditions.and("next_check_time > ?", [after.into()]);
                }
            }
            indexes = vec!["tbl_task_start"];
            "next_check_time, id"
        }
    };
    let sql = sql::LIST
        .replacen(INDEX, &by(&indexes, dialect), 1)
        .replacen(CONDITIONS, &conditions.sql, 1)
        .replacen(ORDER, order, 1);
    conditions.arguments.into_iter().fold(Call::assembled(sql), Call::with).with(most)
}

/// Behind a value and an id, in a form in which the database finds the place in its index.
fn behind(conditions: &mut Conditions, column: &str, value: Value, id: u64, dialect: Dialect) {
    let id = Value::from(bound(id));
    match dialect {
        #[cfg(feature = "sqlite")]
        Dialect::Sqlite => conditions.and(&format!("({column}, id) > (?, ?)"), [value, id]),
        #[cfg(feature = "mysql")]
        Dialect::MySql => {
            let condition = format!("({column} > ? OR ({column} = ? AND id > ?))");
            conditions.and(&condition, [value.clone(), value, id]);
        }
    }
}

/// The words that name the indexes to be used. MySQL chooses among several; SQLite takes one, the most selective as a rule.
pub(crate) fn by(indexes: &[&str], dialect: Dialect) -> String {
    match (dialect, indexes) {
        (_, []) => String::new(),
        #[cfg(feature = "sqlite")]
        (Dialect::Sqlite, [first, ..]) => format!("INDEXED BY {first}"),
        #[cfg(feature = "mysql")]
        (Dialect::MySql, _) => format!("FORCE INDEX ({})", indexes.join(", ")),
    }
}

/// The lowest name that begins with a prefix. MySQL compares as if the shorter one ended in spaces, below which there is more.
fn lowest_name(prefix: &str, dialect: Dialect) -> String {
    match dialect {
        #[cfg(feature = "sqlite")]
        Dialect::Sqlite => prefix.to_owned(),
        #[cfg(feature = "mysql")]
        Dialect::MySql => {
            let rest = MAX_NAME_CHARS.saturating_sub(prefix.chars().count());
            prefix.chars().chain(std::iter::repeat_n('\0', rest)).collect()
        }
    }
}

/// The lowest text behind all that begin with a prefix; none where there is none.
fn behind_all(prefix: &str) -> Option<String> {
    let mut chars: Vec<_> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        // There are no characters between these two.
        let next = if last == '\u{d7ff}' { Some('\u{e000}') } else { char::from_u32(u32::from(last) + 1) };
        if let Some(next) = next {
            chars.push(next);
            return Some(chars.into_iter().collect());
        }
    }
    None
}

#[cfg(test)]
pub(crate) mod tests {
    use dtf_model::{TaskStatus, TaskTypeId};

    use super::*;

    #[test]
    fn each_marker_is_there_once() {
        for marker in [INDEX, CONDITIONS, ORDER] {
            assert_eq!(sql::LIST.matches(marker).count(), 1);
        }
    }

    #[test]
    fn texts_with_a_prefix_are_below_the_next_text() {
        let cases = [
            ("a", Some("b")),
            ("a\u{10ffff}", Some("b")),
            ("\u{d7ff}", Some("\u{e000}")),
            ("\u{10ffff}", None),
        ];
        for (prefix, end) in cases {
            assert_eq!(behind_all(prefix).as_deref(), end, "{prefix:?}");
        }
    }

    /// Each filter with the index that it has to be answered by, at its beginning and behind a task.
    pub(crate) fn cases(dialect: Dialect) -> Vec<(String, &'static str, Call)> {
        let none = TaskFilter::default;
        let text = || Some("a1".to_owned());
        let filters = [
            (none(), "PRIMARY"),
            (TaskFilter { status: Some(TaskStatus::Completed), ..none() }, "tbl_task_status"),
            (TaskFilter { task_type: Some(TaskTypeId(1)), ..none() }, index_of_types(dialect)),
            (TaskFilter { group: text(), ..none() }, "tbl_task_group"),
            (TaskFilter { creator: text(), ..none() }, "tbl_task_creator"),
            (TaskFilter { name: text(), ..none() }, "tbl_task_name"),
            (TaskFilter { name_prefix: Some("a".to_owned()), ..none() }, "tbl_task_name"),
            (TaskFilter { name_prefix: Some("a".to_owned()), group: text(), ..none() }, "tbl_task_name"),
            (TaskFilter { starts_after: Some(500), ..none() }, "tbl_task_start"),
            (TaskFilter { starts_after: Some(500), name_prefix: text(), ..none() }, "tbl_task_start"),
        ];
        let last = Last { id: 500, name: "a1".to_owned(), start_at: Some(700) };
        let both = filters.into_iter().flat_map(|(filter, index)| {
            [None, Some(&last)].map(|last| {
                let call = list(&filter, last, 10, dialect);
                (format!("{filter:?} behind {last:?}"), index, call)
            })
        });
        both.collect()
    }
}
