//! The version of the schema: made, or compared with what this program needs.
//!
//! The migrations are part of the program. sqlx keeps in `dtf_migrations` which of them a database has.

use dtf_model::StoreError;
use sqlx::SqlSafeStr;
#[cfg(any(test, feature = "mysql"))]
use sqlx::migrate::AppliedMigration;
use sqlx::migrate::{Migrate, MigrateError, Migration, MigrationType, Migrator};

use crate::error::{Verdict, calling};

/// Where sqlx notes the migrations that were applied; a name of our own, so that a database can be shared.
const TABLE: &str = "dtf_migrations";

/// The migrations of one kind of database, numbered from 1.
pub(crate) struct Schema {
    store: &'static str,
    migrator: Migrator,
}

impl Schema {
    pub(crate) fn new(store: &'static str, files: &[&'static str]) -> Self {
        let numbered = (1..).zip(files);
        let migration = |(version, sql): (i64, &&'static str)| {
            let name = format!("{version:04}").into();
            Migration::new(version, name, MigrationType::Simple, (*sql).into_sql_str(), false)
        };
        let mut migrator = Migrator::with_migrations(numbered.map(migration).collect());
        migrator.dangerous_set_table_name(TABLE);
        // Where a database is shared, its own module keeps other migrations away.
        migrator.set_locking(false);
        Self { store, migrator }
    }

    /// Applies what is missing. No other process may do so meanwhile.
    pub(crate) async fn migrate<C: Migrate>(&self, connection: &mut C) -> Result<(), StoreError> {
        let migrated = self.migrator.run_direct(None, connection, false).await;
        migrated.map_err(|error| self.refusal(&error))
    }

    /// Refuses a database whose schema is not exactly the one needed.
    #[cfg(feature = "mysql")]
    pub(crate) async fn check<C: Migrate>(&self, connection: &mut C) -> Result<(), MigrateError> {
        if let Some(version) = connection.dirty_version(TABLE).await? {
            return Err(MigrateError::Dirty(version));
        }
        self.compare(&connection.list_applied_migrations(TABLE).await?)
    }

    #[cfg(any(test, feature = "mysql"))]
    fn compare(&self, applied: &[AppliedMigration]) -> Result<(), MigrateError> {
        for have in applied {
            let Some(known) = self.migrator.iter().find(|known| known.version == have.version) else {
                return Err(MigrateError::VersionMissing(have.version));
            };
            if known.checksum != have.checksum {
                return Err(MigrateError::VersionMismatch(have.version));
            }
        }
        let missing =
            self.migrator.iter().find(|known| applied.iter().all(|have| have.version != known.version));
        missing.map_or(Ok(()), |missing| Err(MigrateError::VersionNotPresent(missing.version)))
    }

    /// One line that says what is wrong and what to do.
    pub(crate) fn refusal(&self, error: &MigrateError) -> StoreError {
        if let MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _) = error
            && cause.as_database_error().is_none()
        {
            return calling(self.store, cause, Verdict::No); // the connection broke: nothing is wrong with the schema
        }
        let ours = self.migrator.iter().map(|known| known.version).max().unwrap_or(0);
        let cause = match error {
            MigrateError::VersionMissing(theirs) => format!(
                "the schema of tbl_task has version {theirs}, this program knows up to {ours}; use a newer program"
            ),
            MigrateError::VersionMismatch(version) => {
                format!("version {version} of the schema of tbl_task is another one than this program's")
            }
            MigrateError::VersionNotPresent(version) => format!(
                "the database lacks version {version} of the schema of tbl_task; run `dtf migrate` on it first"
            ),
            MigrateError::Dirty(version) => format!(
                "migration {version} was interrupted; delete its row from {TABLE}, then run `dtf migrate` again"
            ),
            other => other.to_string().replace(['\n', '\r'], " "),
        };
        StoreError::Refused { store: self.store, cause }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(schema: &Schema) -> Vec<AppliedMigration> {
        let of =
            |known: &Migration| AppliedMigration { version: known.version, checksum: known.checksum.clone() };
        schema.migrator.iter().map(of).collect()
    }

    #[test]
    fn only_the_schema_needed_is_accepted() {
        let schema = Schema::new("test", &["one", "two"]);
        assert!(schema.compare(&applied(&schema)).is_ok());
        let newer = Schema::new("test", &["one", "two", "three"]);
        let error = schema.compare(&applied(&newer)).unwrap_err();
        assert_eq!(
            schema.refusal(&error).to_string(),
            "test refused: the schema of tbl_task has version 3, this program knows up to 2; use a newer program"
        );
        let error = newer.compare(&applied(&schema)).unwrap_err();
        assert!(newer.refusal(&error).to_string().contains("lacks version 3"), "{error}");
        let other = Schema::new("test", &["one", "another two"]);
        assert!(matches!(schema.compare(&applied(&other)), Err(MigrateError::VersionMismatch(2))));
    }
}
