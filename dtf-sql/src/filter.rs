//! The conditions of a list.

use dtf_model::table::TaskFilter;

use crate::call::{Call, Value, bound};
use crate::sql;

/// Where the conditions go in `list.sql`.
const MARKER: &str = "/* conditions */";

/// The statement that lists what fits. Texts have to agree in length too, as MySQL does not see trailing spaces.
pub(crate) fn list(filter: &TaskFilter, before: Option<u64>, most: u32) -> Call {
    let TaskFilter { status, task_type, group, creator, name, name_prefix, starts_after } = filter;
    let mut conditions = String::new();
    let mut arguments: Vec<Value> = vec![before.map_or(i64::MAX, bound).into()];
    if let Some(status) = status {
        conditions.push_str(" AND task_status = ?");
        arguments.push(status.code().into());
    }
    if let Some(task_type) = task_type {
        conditions.push_str(" AND task_type = ?");
        arguments.push(task_type.0.into());
    }
    let texts = [
        (group, " AND resource_group = ? AND LENGTH(resource_group) = LENGTH(?)"),
        (creator, " AND creator = ? AND LENGTH(creator) = LENGTH(?)"),
        (name, " AND name = ? AND LENGTH(name) = LENGTH(?)"),
    ];
    for (text, condition) in texts {
        if let Some(text) = text {
            conditions.push_str(condition);
            arguments.extend([text.as_str().into(), text.as_str().into()]);
        }
    }
    if let Some(prefix) = name_prefix {
        // No LIKE: that one is blind for case in SQLite, and has characters of its own.
        conditions.push_str(" AND SUBSTR(name, 1, ?) = ? AND LENGTH(SUBSTR(name, 1, ?)) = LENGTH(?)");
        let chars = u32::try_from(prefix.chars().count()).unwrap_or(u32::MAX);
        arguments.extend([chars.into(), prefix.as_str().into(), chars.into(), prefix.as_str().into()]);
    }
    if let Some(after) = starts_after {
        conditions.push_str(" AND next_check_time > ?");
        arguments.push(bound(*after).into());
    }
    arguments.push(most.into());
    let call = Call::assembled(sql::LIST.replacen(MARKER, &conditions, 1));
    arguments.into_iter().fold(call, Call::with)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marker_is_there_once() {
        assert_eq!(sql::LIST.matches(MARKER).count(), 1);
    }
}
