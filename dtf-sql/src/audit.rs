//! The port to `tbl_audit`, on either database.

use async_trait::async_trait;
use dtf_model::StoreError;
use dtf_model::audit::{AuditEntry, AuditFilter, AuditOutcome, AuditTable, kept_detail};
use uuid::Uuid;

use crate::call::{Call, kept};
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
        let statement = match &self.database {
            #[cfg(feature = "sqlite")]
            Database::Sqlite(_) => sql::sqlite::ADD_ENTRY,
            #[cfg(feature = "mysql")]
            Database::MySql(_) => sql::mysql::ADD_ENTRY,
        };
        let entry = entry.clone().cut();
        let call = Call::new(statement).with(entry.id.to_string().as_str()).with(kept("the time", entry.at)?);
        let texts = [&entry.actor, &entry.address, &entry.action, &entry.target, &entry.detail];
        let call = texts.into_iter().fold(call, |call, text| call.with(text.as_str()));
        let call = call.with(entry.outcome.code()).with(entry.request.to_string().as_str());
        self.execute(call.repeatable()).await.map(drop)
    }

    async fn close_entry(&self, id: Uuid, outcome: AuditOutcome, detail: &str) -> Result<(), StoreError> {
        let call = Call::new(sql::CLOSE_ENTRY).with(outcome.code()).with(kept_detail(detail));
        self.execute(call.with(id.to_string().as_str()).repeatable()).await.map(drop)
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
        self.execute(Call::new(statement).with(before.to_string().as_str()).with(most)).await
    }
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
