//! Creations: many rows in one statement.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use super::batcher::BatchWork;
use async_trait::async_trait;
use dtf_model::audit::Note;
use dtf_model::{InvalidInput, StoreError, TaskId};

use super::{parts, with_rows};
use crate::audit::{NumberOf, addition_of};
use crate::call::{Call, Value};
use crate::row::{Created, GroupName};
use crate::sql;
use crate::table::Database;

/// A task to be inserted, as the statement takes it.
pub(crate) struct Insertion {
    /// The creation's own name.
    pub(crate) request: String,
    /// The resource group.
    pub(crate) group: String,
    /// The values of the row, in the order of the statement's columns.
    pub(crate) row: Vec<Value>,
    /// The entry of the audit that is written with it.
    pub(crate) note: Option<Note>,
}

/// Inserts tasks.
pub(crate) struct Inserts {
    database: Database,
    /// Resource groups that are there. Groups are never deleted.
    groups: Mutex<HashSet<String>>,
}

impl Inserts {
    pub(crate) fn new(database: Database) -> Self {
        Self { database, groups: Mutex::default() }
    }

    /// The groups among these that do not exist.
    async fn unknown_groups(&self, calls: &[Insertion]) -> Result<HashSet<String>, StoreError> {
        let mut asked: HashSet<&str> = calls.iter().map(|call| call.group.as_str()).collect();
        asked.retain(|group| !self.known_groups().contains(*group));
        let mut unknown = HashSet::new();
        for part in parts(asked.into_iter().collect::<Vec<_>>()) {
            let rows = part.iter().map(|group| vec![Value::from(*group)]).collect();
            let found: Vec<GroupName> =
                self.database.fetch(with_rows(sql::GROUPS_NAMED, "?", ", ", rows)).await?;
            // MySQL does not see trailing spaces; the names themselves say which they are.
            self.known_groups().extend(found.into_iter().map(|group| group.0));
            unknown.extend(
                part.into_iter().filter(|group| !self.known_groups().contains(*group)).map(String::from),
            );
        }
        Ok(unknown)
    }

    fn known_groups(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        // A panic while it is held can only come from an allocation failure.
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Inserts the rows of a part, and returns the ids by the names of the creations.
    async fn insert(&self, part: &[&Insertion]) -> Result<HashMap<String, TaskId>, StoreError> {
        let rows: Vec<_> = part.iter().map(|call| call.row.clone()).collect();
        let row = format!("({}1, '')", "?, ".repeat(part[0].row.len()));
        if part.iter().any(|call| call.note.is_some()) {
            return self.insert_noting(part, &row, rows).await;
        }
        let created: Vec<Created> = match &self.database {
            #[cfg(feature = "sqlite")]
            Database::Sqlite(_) => {
                self.database.fetch(with_rows(sql::sqlite::INSERT, &row, ", ", rows)).await?
            }
            #[cfg(feature = "mysql")]
            Database::MySql(_) => {
                // Each row has a name of its own, so that the statement can be sent again.
                self.database.execute(with_rows(sql::mysql::INSERT, &row, ", ", rows).repeatable()).await?;
                self.database.fetch(of_requests(part)).await?
            }
        };
        Ok(by_request(created))
    }

    /// Inserts the rows of a part together with the entries of the audit that belong to them, in one transaction.
    async fn insert_noting(
        &self,
        part: &[&Insertion],
        row: &str,
        rows: Vec<Vec<Value>>,
    ) -> Result<HashMap<String, TaskId>, StoreError> {
        let insert = match &self.database {
            #[cfg(feature = "sqlite")]
            Database::Sqlite(_) => sql::sqlite::INSERT,
            #[cfg(feature = "mysql")]
            Database::MySql(_) => sql::mysql::INSERT,
        };
        let mut calls = vec![with_rows(insert, row, ", ", rows)];
        let noted = || part.iter().filter_map(|call| Some((call.note.as_ref()?, call.request.as_str())));
        for names_created in [true, false] {
            let alike = noted().filter(|(note, _)| note.names_created() == names_created);
            for alike in parts(alike.collect()) {
                let added =
                    alike.into_iter().map(|(note, request)| addition_of(note, NumberOf::Task(request)));
                calls.push(self.database.adding(&added.collect::<Vec<_>>())?);
            }
        }
        // Each row and each entry has a name of its own, so that the transaction can be sent again.
        self.database.transaction(calls).await?;
        noted().for_each(|(note, _)| note.set_written());
        Ok(by_request(self.database.fetch(of_requests(part)).await?))
    }

    async fn insert_each(&self, part: Vec<&Insertion>) -> Vec<Result<TaskId, StoreError>> {
        let id_of = |ids: &HashMap<String, TaskId>, call: &Insertion| {
            let lost =
                || StoreError::Unknown { store: "SQL", cause: "the task inserted was not found".to_owned() };
            ids.get(&call.request).copied().ok_or_else(lost)
        };
        match self.insert(&part).await {
            Ok(ids) => part.into_iter().map(|call| id_of(&ids, call)).collect(),
            // What is wrong with one row failed the statement.
            Err(StoreError::Refused { .. }) if part.len() > 1 => {
                let mut answers = Vec::with_capacity(part.len());
                for call in part {
                    answers.push(self.insert(&[call]).await.and_then(|ids| id_of(&ids, call)));
                }
                answers
            }
            Err(error) => part.iter().map(|_| Err(error.clone())).collect(),
        }
    }
}

/// The statement that finds what the requests of a part made.
fn of_requests(part: &[&Insertion]) -> Call {
    let requests = part.iter().map(|call| vec![Value::from(call.request.as_str())]).collect();
    with_rows(sql::CREATED, "?", ", ", requests)
}

fn by_request(created: Vec<Created>) -> HashMap<String, TaskId> {
    created.into_iter().map(|created| (created.request, created.id)).collect()
}

#[async_trait]
impl BatchWork for Inserts {
    type Call = Insertion;
    type Answer = Result<TaskId, StoreError>;

    fn weight(&self, call: &Insertion) -> usize {
        call.row.iter().map(Value::bytes).sum()
    }

    async fn perform(&self, calls: Vec<Insertion>) -> Vec<Self::Answer> {
        let unknown = match self.unknown_groups(&calls).await {
            Ok(unknown) => unknown,
            Err(error) => return calls.iter().map(|_| Err(error.clone())).collect(),
        };
        let (refused, fine): (Vec<_>, Vec<_>) =
            calls.iter().enumerate().partition(|(_, call)| unknown.contains(&call.group));
        let mut answers: Vec<_> = refused
            .into_iter()
            .map(|(at, call)| (at, Err(InvalidInput::UnknownGroup(call.group.clone()).into())))
            .collect();
        for part in parts(fine) {
            let (places, part): (Vec<_>, Vec<_>) = part.into_iter().unzip();
            answers.extend(places.into_iter().zip(self.insert_each(part).await));
        }
        answers.sort_unstable_by_key(|(at, _)| *at);
        answers.into_iter().map(|(_, answer)| answer).collect()
    }
}
