//! The version of the schema: made, or compared with what this program needs.
//!
//! The migrations are part of the program, numbered from 1; a program's own version is the number of its last one. sqlx keeps in
//! `dtf_migrations` which of them a database has. A migration that only adds says in `tbl_cluster`, under [`ACCEPTS`], which is
//! the oldest program that works with the schema behind it. So programs of that version and later ones go on beside newer ones.

use dtf_model::StoreError;
use sqlx::migrate::{Migrate, MigrateError, Migration, MigrationType, Migrator};
use sqlx::{Error, SqlSafeStr};

use crate::call::Call;
use crate::error::{Verdict, calling};
use crate::pool::Driver;
use crate::row::{Applied, Note};
use crate::sql::{APPLIED, NOTE};

/// The table in which sqlx notes the migrations that were applied; a name of our own, so that a database can be shared.
const TABLE: &str = "dtf_migrations";

/// The name in `tbl_cluster` of the oldest version of a program that works with the schema.
pub(crate) const ACCEPTS: &str = "schema.accepts";

/// The permission to leave a schema with which programs that worked with the former one do not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Programs of the version that the database has go on.
    Compatible,
    /// None of them runs any more, so any step is taken.
    Any,
}

/// The migrations of one kind of database.
pub(crate) struct Schema {
    store: &'static str,
    migrator: Migrator,
    /// The oldest version of a program that works with the schema.
    accepts: i64,
}

/// A reason not to work with a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mismatch {
    Interrupted(i64),
    Newer(i64),
    Differs(i64),
    Missing(i64),
    TooFar(i64),
}

/// A comparison that was not made, or what it found.
enum Unfit {
    Failed(StoreError),
    Mismatch(Mismatch),
}

impl From<Mismatch> for Unfit {
    fn from(mismatch: Mismatch) -> Self {
        Self::Mismatch(mismatch)
    }
}

impl Schema {
    /// A schema of these migrations, numbered from 1. An empty one is a number that none has.
    pub(crate) fn new(store: &'static str, files: &[&'static str], accepts: i64) -> Self {
        let numbered = (1..).zip(files).filter(|(_, sql)| !sql.is_empty());
        let migration = |(version, sql): (i64, &&'static str)| {
            let name = format!("{version:04}").into();
            Migration::new(version, name, MigrationType::Simple, (*sql).into_sql_str(), false)
        };
        let mut migrator = Migrator::with_migrations(numbered.map(migration).collect());
        migrator.dangerous_set_table_name(TABLE);
        // Where a database is shared, its own module keeps other migrations away.
        migrator.set_locking(false);
        // Those of a newer program are looked at here.
        migrator.set_ignore_missing(true);
        Self { store, migrator, accepts }
    }

    /// Applies what is missing. No other process may do so meanwhile.
    pub(crate) async fn migrate<C>(&self, connection: &mut C, reach: Reach) -> Result<(), StoreError>
    where
        C: Driver + Migrate,
    {
        // A database that takes no writes for a while may have everything already.
        match self.compare_with(connection).await {
            Ok(()) => Ok(()),
            Err(Unfit::Mismatch(Mismatch::Missing(missing))) => {
                self.reach(missing - 1, reach).map_err(|mismatch| self.refusal(mismatch))?;
                let migrated = async {
                    connection.ensure_migrations_table(TABLE).await?;
                    self.migrator.run_direct(None, connection, false).await
                };
                migrated.await.map_err(|error| self.failed::<C>(&error))
            }
            Err(Unfit::Mismatch(mismatch)) => Err(self.refusal(mismatch)),
            Err(Unfit::Failed(error)) => Err(error),
        }
    }

    /// Refuses a database with whose schema this program does not work.
    #[cfg(feature = "mysql")]
    pub(crate) async fn check<C: Driver>(&self, connection: &mut C) -> Result<(), StoreError> {
        self.compare_with(connection).await.map_err(|unfit| match unfit {
            Unfit::Failed(error) => error,
            Unfit::Mismatch(mismatch) => self.refusal(mismatch),
        })
    }

    async fn compare_with<C: Driver>(&self, connection: &mut C) -> Result<(), Unfit> {
        let failed = |error: Error| Unfit::Failed(calling(C::STORE, &error, C::verdict(&error)));
        let applied = match connection.fetch::<Applied>(Call::new(APPLIED)).await {
            Err(error) if C::is_missing_table(&error) => return Err(Mismatch::Missing(1).into()),
            applied => applied.map_err(failed)?,
        };
        let newer = applied.iter().any(|have| have.version > self.version());
        let accepts = match newer {
            false => None,
            true => {
                let call = Call::new(NOTE).with(ACCEPTS).with(ACCEPTS);
                let note = connection.fetch::<Note>(call).await.map_err(failed)?.pop();
                note.and_then(|note| note.0.parse().ok())
            }
        };
        Ok(self.compare(&applied, accepts)?)
    }

    /// The number of the last migration.
    fn version(&self) -> i64 {
        self.migrator.iter().map(|known| known.version).max().unwrap_or(0)
    }

    /// Compares what a database has, which accepts programs from a version on, where it says so.
    fn compare(&self, applied: &[Applied], accepts: Option<i64>) -> Result<(), Mismatch> {
        if let Some(have) = applied.iter().find(|have| !have.success) {
            return Err(Mismatch::Interrupted(have.version));
        }
        for have in applied {
            match self.migrator.iter().find(|known| known.version == have.version) {
                Some(known) if known.checksum[..] != have.checksum[..] => {
                    return Err(Mismatch::Differs(have.version));
                }
                None if accepts.is_none_or(|accepts| accepts > self.version()) => {
                    let theirs = applied.iter().map(|have| have.version).max();
                    return Err(Mismatch::Newer(theirs.unwrap_or(have.version)));
                }
                _ => {}
            }
        }
        let missing =
            self.migrator.iter().find(|known| applied.iter().all(|have| have.version != known.version));
        missing.map_or(Ok(()), |missing| Err(Mismatch::Missing(missing.version)))
    }

    /// Checks that a database may be brought up to date from this version, 0 for one without a schema.
    fn reach(&self, from: i64, reach: Reach) -> Result<(), Mismatch> {
        let lets_them_go_on = from == 0 || from >= self.accepts;
        if lets_them_go_on || reach == Reach::Any { Ok(()) } else { Err(Mismatch::TooFar(from)) }
    }

    /// One line that says what is wrong and what to do.
    fn refusal(&self, mismatch: Mismatch) -> StoreError {
        let ours = self.version();
        let cause = match mismatch {
            Mismatch::Newer(theirs) => format!(
                "the schema of tbl_task has version {theirs}, this program works with versions up to {ours} and what only \
                 adds to them; use a newer program"
            ),
            Mismatch::Differs(version) => {
                format!("version {version} of the schema of tbl_task is another one than this program's")
            }
            Mismatch::Missing(version) => format!(
                "the database lacks version {version} of the schema of tbl_task; run `dtf migrate` on it first"
            ),
            Mismatch::Interrupted(version) => format!(
                "migration {version} was interrupted; delete its row from {TABLE}, then run `dtf migrate` again"
            ),
            Mismatch::TooFar(from) => format!(
                "the schema of tbl_task has version {from}; version {ours} works with programs of version {} and later \
                 only: update to one of those first, or end all processes and run `dtf migrate --allow-incompatible`",
                self.accepts
            ),
        };
        StoreError::Refused { store: self.store, cause }
    }

    fn failed<C: Driver>(&self, error: &MigrateError) -> StoreError {
        if let MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _) = error {
            let verdict = C::verdict(cause);
            // The connection broke, or the server takes no writes for now: nothing is wrong with the schema.
            if cause.as_database_error().is_none() || verdict != Verdict::No {
                return calling(self.store, cause, verdict);
            }
        }
        StoreError::Refused { store: self.store, cause: error.to_string().replace(['\n', '\r'], " ") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(schema: &Schema) -> Vec<Applied> {
        let of = |known: &Migration| Applied {
            version: known.version,
            checksum: known.checksum.to_vec(),
            success: true,
        };
        schema.migrator.iter().map(of).collect()
    }

    #[test]
    fn the_schema_needed_is_accepted_and_no_other() {
        let schema = Schema::new("test", &["one", "two"], 1);
        assert_eq!(schema.compare(&applied(&schema), None), Ok(()));
        let newer = Schema::new("test", &["one", "two", "three"], 3);
        assert_eq!(newer.compare(&applied(&schema), None), Err(Mismatch::Missing(3)));
        let other = Schema::new("test", &["one", "another two"], 1);
        assert_eq!(schema.compare(&applied(&other), None), Err(Mismatch::Differs(2)));
        let mut interrupted = applied(&schema);
        interrupted[1].success = false;
        assert_eq!(schema.compare(&interrupted, None), Err(Mismatch::Interrupted(2)));
    }

    #[test]
    fn a_newer_schema_is_accepted_as_far_as_it_says() {
        let schema = Schema::new("test", &["one", "two"], 1);
        let newer = applied(&Schema::new("test", &["one", "two", "three", "four"], 2));
        for accepts in [Some(1), Some(2)] {
            assert_eq!(schema.compare(&newer, accepts), Ok(()));
        }
        for accepts in [None, Some(3), Some(4)] {
            assert_eq!(schema.compare(&newer, accepts), Err(Mismatch::Newer(4)));
        }
        assert_eq!(
            schema.refusal(Mismatch::Newer(4)).to_string(),
            "test refused: the schema of tbl_task has version 4, this program works with versions up to 2 and what only \
             adds to them; use a newer program"
        );
    }

    #[test]
    fn a_migration_shuts_no_running_program_out_unless_told_to() {
        let schema = Schema::new("test", &["one", "two", "three"], 2);
        for from in [0, 2, 3] {
            assert_eq!(schema.reach(from, Reach::Compatible), Ok(()));
        }
        assert_eq!(schema.reach(1, Reach::Compatible), Err(Mismatch::TooFar(1)));
        assert_eq!(schema.reach(1, Reach::Any), Ok(()));
        let said = schema.refusal(Mismatch::TooFar(1)).to_string();
        assert!(said.contains("programs of version 2 and later only"), "{said}");
    }
}
