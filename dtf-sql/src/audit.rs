//! The port to `tbl_audit`, on either database.

use async_trait::async_trait;
use dtf_model::StoreError;
use dtf_model::audit::{AuditEntry, AuditFilter, AuditOutcome, AuditTable, Note, kept_detail};
use uuid::Uuid;

use crate::batches::with_rows;
use crate::call::{Call, Value, kept};
use crate::filter::{Dialect, by};
use crate::sql;
use crate::table::{Database, SqlTable};

/// The place of the conditions in `entries.sql`.
const MARKER: &str = "/* conditions */";
/// The place of the indexes.
const INDEX: &str = "/* index */";

#[async_trait]
impl AuditTable for SqlTable {
    async fn add_entry(&self, entry: &AuditEntry) -> Result<(), StoreError> {
        let call = self.database.adding(&[Addition { entry: &entry.clone().cut(), number: None }])?;
        self.database.execute(call).await.map(drop)
    }

    async fn close_entry(&self, id: Uuid, outcome: AuditOutcome, detail: &str) -> Result<(), StoreError> {
        let call = Call::new(sql::CLOSE_ENTRY).with(outcome.code()).with(kept_detail(detail));
        self.database.execute(call.with(id.to_string().as_str()).repeatable()).await.map(drop)
    }

    async fn entries(
        &self,
        filter: &AuditFilter,
        before: Option<Uuid>,
        most: u32,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        self.fetch(entries(filter, before, most, self.dialect())).await
    }

    async fn forget_entries(&self, before: Uuid, most: u32) -> Result<bool, StoreError> {
        let statement = match &self.database {
            #[cfg(feature = "sqlite")]
            Database::Sqlite(_) => sql::sqlite::FORGET_ENTRIES,
            #[cfg(feature = "mysql")]
            Database::MySql(_) => sql::mysql::FORGET_ENTRIES,
        };
        self.database.execute(Call::new(statement).with(before.to_string().as_str()).with(most)).await
    }
}

/// The way to the number that is put behind the target of an entry.
#[derive(Clone, Copy, Debug)]
pub(crate) enum NumberOf<'a> {
    /// The task that a request made.
    Task(&'a str),
    /// The task that a request made, or else the one that has a key.
    UniqueTask(&'a str, &'a str),
    /// The flow that a request made.
    Flow(&'a str),
}

/// An entry that is to be added.
pub(crate) struct Addition<'a> {
    pub(crate) entry: &'a AuditEntry,
    pub(crate) number: Option<NumberOf<'a>>,
}

/// The addition of the entry of a note about a thing that is known.
pub(crate) fn addition(note: &Note) -> Addition<'_> {
    Addition { entry: note.entry(), number: None }
}

/// The addition of the entry of a note about a creation, or about a known thing.
pub(crate) fn addition_of<'a>(note: &'a Note, created: NumberOf<'a>) -> Addition<'a> {
    Addition { entry: note.entry(), number: Some(created).filter(|_| note.names_created()) }
}

impl Database {
    /// The statement that adds entries; those of one call have their numbers in the same way.
    pub(crate) fn adding(&self, additions: &[Addition<'_>]) -> Result<Call, StoreError> {
        let by = additions.first().and_then(|addition| addition.number.as_ref());
        let (statement, target) = match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => (sql::sqlite::ADD_ENTRIES, sqlite_target(by)),
            #[cfg(feature = "mysql")]
            Self::MySql(_) => (sql::mysql::ADD_ENTRIES, mysql_target(by)),
        };
        let row = format!("(?, ?, ?, ?, ?, {target}, ?, ?, ?)");
        let rows = additions.iter().map(Addition::row).collect::<Result<_, _>>()?;
        Ok(with_rows(statement, &row, ", ", rows).repeatable())
    }

    /// The statement that adds an entry if a request made a schedule.
    pub(crate) fn adding_of_schedule(&self, entry: &AuditEntry, request: &str) -> Result<Call, StoreError> {
        let statement = match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => sql::sqlite::ADD_ENTRY_OF_SCHEDULE,
            #[cfg(feature = "mysql")]
            Self::MySql(_) => sql::mysql::ADD_ENTRY_OF_SCHEDULE,
        };
        let row = Addition { entry, number: None }.row()?;
        Ok(row.into_iter().fold(Call::new(statement), Call::with).with(request))
    }
}

impl Addition<'_> {
    fn row(&self) -> Result<Vec<Value>, StoreError> {
        let entry = self.entry;
        let mut row: Vec<Value> =
            vec![entry.id.to_string().as_str().into(), kept("the time", entry.at)?.into()];
        let texts = [&entry.actor, &entry.address, &entry.action, &entry.target];
        row.extend(texts.map(|text| Value::from(text.as_str())));
        match self.number {
            None => {}
            Some(NumberOf::Task(request) | NumberOf::Flow(request)) => row.push(request.into()),
            Some(NumberOf::UniqueTask(request, key)) => row.extend([request, key, request].map(Value::from)),
        }
        row.push(entry.detail.as_str().into());
        row.extend([entry.outcome.code().into(), entry.request.to_string().as_str().into()]);
        Ok(row)
    }
}

/// The query for a number, which is there when it is made.
fn number(by: &NumberOf<'_>) -> &'static str {
    match by {
        NumberOf::Task(_) => "SELECT id FROM tbl_task WHERE request_id = ?",
        NumberOf::Flow(_) => "SELECT id FROM tbl_flow WHERE request_id = ?",
        NumberOf::UniqueTask(..) => {
            "SELECT id FROM tbl_task WHERE request_id = ? OR unique_key = ? \
             ORDER BY CASE WHEN request_id = ? THEN 0 ELSE 1 END LIMIT 1"
        }
    }
}

#[cfg(feature = "mysql")]
fn mysql_target(by: Option<&NumberOf<'_>>) -> String {
    by.map_or_else(|| "?".to_owned(), |by| format!("CONCAT(?, ' ', ({}))", number(by)))
}

#[cfg(feature = "sqlite")]
fn sqlite_target(by: Option<&NumberOf<'_>>) -> String {
    by.map_or_else(|| "?".to_owned(), |by| format!("? || ' ' || ({})", number(by)))
}

/// The statement that lists entries. It names the indexes that it may use: an optimizer that hopes to meet enough entries that fit would walk
/// through all of them.
fn entries(filter: &AuditFilter, before: Option<Uuid>, most: u32, dialect: Dialect) -> Call {
    // The lengths, as MySQL does not see trailing spaces.
    let conditions = [
        (&filter.target, "tbl_audit_target", " AND target = ? AND LENGTH(target) = LENGTH(?)"),
        (&filter.actor, "tbl_audit_actor", " AND actor = ? AND LENGTH(actor) = LENGTH(?)"),
    ];
    let given = || conditions.iter().filter_map(|(text, index, sql)| Some((text.as_deref()?, *index, *sql)));
    let text: String = given().map(|(_, _, sql)| sql).collect();
    let indexes: Vec<_> = given().map(|(_, index, _)| index).collect();
    let sql = sql::ENTRIES.replacen(INDEX, &by(&indexes, dialect), 1).replacen(MARKER, &text, 1);
    let call = Call::assembled(sql);
    let call = call.with(before.unwrap_or(Uuid::max()).to_string().as_str());
    let call = given().fold(call, |call, (text, _, _)| call.with(text).with(text));
    call.with(most)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Each kind of list of the audit, with the index that it has to walk along.
    pub(crate) fn cases(dialect: Dialect) -> Vec<(&'static str, &'static str, Call)> {
        let of = |target: Option<&str>, actor: Option<&str>| {
            let filter = AuditFilter { target: target.map(str::to_owned), actor: actor.map(str::to_owned) };
            entries(&filter, Some(Uuid::now_v7()), 50, dialect)
        };
        vec![
            ("all", "PRIMARY", of(None, None)),
            ("of a target", "tbl_audit_target", of(Some("task 7"), None)),
            ("of an actor", "tbl_audit_actor", of(None, Some("ada"))),
            ("of a target and an actor", "tbl_audit_", of(Some("task 7"), Some("ada"))),
        ]
    }

    #[test]
    fn the_markers_are_there_once() {
        for marker in [MARKER, INDEX] {
            assert_eq!(sql::ENTRIES.matches(marker).count(), 1);
        }
    }
}
