//! Types of task by name: those that are compiled in, and those that are defined.

use dtf_model::defined_type::{DefinedType, check_name};
use dtf_model::{InvalidInput, TaskParam, TaskTypeId};
use serde_json::Value;

use crate::client::Client;
use crate::client_error::ClientError;

/// The number of times that a definition is tried while others define the same type.
const ATTEMPTS: u32 = 10;

/// The definition of a type, as its author says it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TypeDefinition {
    /// The purpose of its tasks, for people.
    pub description: String,
    /// The JSON schema of the parameters that its tasks are created with; `null` where they may be anything.
    pub schema: Value,
    /// The parameters of the type that it is made of, with places for those of a task.
    pub template: Value,
}

/// A type, as its name finds it.
enum Named {
    /// It is compiled in.
    Known(TaskTypeId),
    Defined(DefinedType),
}

impl Client {
    /// Returns what a task of the type with this name is created with: the type's number, and the parameters as its plugin has them.
    ///
    /// # Errors
    /// The type is unknown, its parameters do not fit its schema or its template, or the store failed.
    pub async fn prepare(
        &self,
        name: &str,
        param: TaskParam,
    ) -> Result<(TaskTypeId, TaskParam), ClientError> {
        match self.named(name).await? {
            Named::Known(number) => Ok((number, param)),
            Named::Defined(definition) => {
                let definable = self.types().definable()?;
                let type_param = definable.plugin.fill_in(&definition, &param.type_param)?;
                Ok((definable.task_type, TaskParam { type_param, ..param }))
            }
        }
    }

    /// Returns the number of the type with this name, which tasks of it have.
    ///
    /// # Errors
    /// The type is unknown, or the store failed.
    pub async fn number_of_type(&self, name: &str) -> Result<TaskTypeId, ClientError> {
        match self.named(name).await? {
            Named::Known(number) => Ok(number),
            Named::Defined(definition) => Ok(self.types().number_of_defined(&definition.name)?),
        }
    }

    /// Returns the type with this name. The database is asked only for one that is not compiled in.
    async fn named(&self, name: &str) -> Result<Named, ClientError> {
        let unknown = match self.types().number_named(name) {
            Ok(number) => return Ok(Named::Known(number)),
            Err(unknown) => unknown,
        };
        if check_name(name).is_err() {
            return Err(unknown.into());
        }
        let definition = self.table().defined_type(name).await?;
        Ok(Named::Defined(definition.ok_or(unknown)?))
    }

    /// Returns the types that are defined with names above `after`, by name, at most so many.
    ///
    /// # Errors
    /// The store failed.
    pub async fn defined_types(
        &self,
        after: Option<&str>,
        most: u32,
    ) -> Result<Vec<DefinedType>, ClientError> {
        Ok(self.table().defined_types(after, most).await?)
    }

    /// Returns a type that is defined; none where there is no such one.
    ///
    /// # Errors
    /// The store failed.
    pub async fn defined_type(&self, name: &str) -> Result<Option<DefinedType>, ClientError> {
        Ok(self.table().defined_type(name).await?)
    }

    /// Defines a type, or gives it another definition. Tasks that were created before keep theirs; schedules do, too.
    ///
    /// # Errors
    /// The definition is not allowed or the name is that of a type that is compiled in (and nothing was written), or the store failed.
    pub async fn define_type(
        &self,
        name: &str,
        definition: TypeDefinition,
        by: &str,
    ) -> Result<DefinedType, ClientError> {
        if let Ok(known) = self.types().by_name(name) {
            return Err(InvalidInput::TypeTaken(known.task_type, known.name.clone()).into());
        }
        let TypeDefinition { description, schema, template } = definition;
        let (name, updated_by) = (name.to_owned(), by.to_owned());
        let mut next = DefinedType {
            name,
            version: 1,
            description,
            schema,
            template,
            updated_at: self.now(),
            updated_by,
        };
        self.types().definable()?.plugin.check_definition(&next)?;
        let mut there = None;
        for _ in 0..ATTEMPTS {
            there = self.table().defined_type(&next.name).await?;
            if let Some(there) = there.take_if(|there| there.says_the_same(&next)) {
                return Ok(there);
            }
            next.version = there.as_ref().map_or(0, |there| there.version).saturating_add(1);
            if self.table().define_type(&next).await? {
                return Ok(next);
            }
        }
        let version = there.map_or(0, |there| there.version);
        let why =
            format!("the type {} is being defined by others, version {version} last; try again", next.name);
        Err(InvalidInput::TypeParam(why).into())
    }

    /// Deletes a type that is defined. Tasks and schedules of it go on. Says whether it was there.
    ///
    /// # Errors
    /// The store failed.
    pub async fn delete_type(&self, name: &str) -> Result<bool, ClientError> {
        Ok(self.table().delete_type(name).await?)
    }
}
