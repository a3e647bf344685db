//! Types of task: those that are compiled in, and those that are defined.

use dtf_api as api;
use dtf_control::TypeDefinition;
use uuid::Uuid;

use super::audit::Change;
use super::{App, MAX_PAGE};
use crate::convert;
use crate::problem::Failed;

impl App {
    /// Returns the types of task: those that this process knows, by number, and those that are defined, by name.
    ///
    /// # Errors
    /// The store failed.
    pub async fn types(&self, query: &api::TypeQuery) -> Result<Vec<api::TaskType>, Failed> {
        let after = query.after.as_deref();
        let known = self.registry().iter().filter(|_| after.is_none());
        let mut types: Vec<_> = known
            .filter_map(|known| Some(convert::task_type(known, self.registry().conf(known.task_type).ok()?)))
            .collect();
        for defined in self.client().defined_types(after, MAX_PAGE).await? {
            let brief = api::TaskType {
                schema: None,
                definition: None,
                ..convert::defined_type(self.registry(), defined)?
            };
            types.push(brief);
        }
        Ok(types)
    }

    /// Returns a type of task.
    ///
    /// # Errors
    /// It is unknown, or the store failed.
    pub async fn task_type(&self, name: &str) -> Result<api::TaskType, Failed> {
        if let Ok(known) = self.registry().by_name(name) {
            return Ok(convert::task_type(known, self.registry().conf(known.task_type)?));
        }
        match self.client().defined_type(name).await? {
            Some(defined) => convert::defined_type(self.registry(), defined),
            None => {
                Err(Failed::not_found(format!("there is no type {name:?}; GET /v1/types has those that are")))
            }
        }
    }

    /// Defines a type of task, or gives it another definition. Tasks that were created before keep theirs.
    ///
    /// # Errors
    /// The definition is not allowed, the name is that of a type that is compiled in, or a store failed.
    pub async fn define_type(&self, name: &str, define: api::DefineType) -> Result<api::TaskType, Failed> {
        self.caller().check_unlimited()?;
        let api::DefineType { description, schema, template } = define;
        let definition = TypeDefinition { description, schema, template };
        let (target, request) = (format!("type {name}"), Uuid::new_v4());
        let by = self.caller().name.clone();
        self.noted(
            Change { action: "type.define", target, detail: String::new(), request },
            |client| async move {
                let defined = client.define_type(name, definition, &by).await?;
                convert::defined_type(self.registry(), defined)
            },
        )
        .await
    }

    /// Deletes a type that is defined. Tasks of it go on.
    ///
    /// # Errors
    /// There is no such one, or a store failed.
    pub async fn delete_type(&self, name: &str) -> Result<(), Failed> {
        self.caller().check_unlimited()?;
        let (target, request) = (format!("type {name}"), Uuid::new_v4());
        self.noted(
            Change { action: "type.delete", target, detail: String::new(), request },
            |client| async move {
                match client.delete_type(name).await? {
                    true => Ok(()),
                    false => Err(Failed::not_found(format!("no type {name:?} is defined"))),
                }
            },
        )
        .await
    }
}
