//! Types of task that data defines, and no program. The port to `tbl_task_type`.
//!
//! A definition has a template: the parameters of a type that is compiled in, with places for those that a task is created with. It is
//! filled in when a task is created, so a running task never changes with its type.

use async_trait::async_trait;
use serde_json::Value;

use crate::error::{InvalidInput, StoreError};
use crate::text::{MAX_DESCRIPTION_CHARS, MAX_NAME_CHARS, check_length};

/// The largest template or schema, in bytes of JSON.
pub const MAX_DEFINITION_BYTES: usize = 64 * 1024;

/// A type of task, as it is defined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefinedType {
    /// Its name: letters and digits of any script, `.`, `_` and `-`.
    pub name: String,
    /// The number of times that it was defined.
    pub version: u32,
    /// Its purpose, for people.
    pub description: String,
    /// The JSON schema of the parameters that its tasks are created with; `null` where they may be anything.
    pub schema: Value,
    /// The parameters of the type that it is made of, with places for those of a task.
    pub template: Value,
    /// The time of its last definition, in milliseconds since the Unix epoch.
    pub updated_at: u64,
    /// The definer.
    pub updated_by: String,
}

impl DefinedType {
    /// Checks that it can be kept.
    ///
    /// # Errors
    /// The first thing that is wrong, and what is allowed.
    pub fn check(&self) -> Result<(), InvalidInput> {
        check_name(&self.name)?;
        check_length("the description of the type", &self.description, MAX_DESCRIPTION_CHARS)?;
        check_length("the definer of the type", &self.updated_by, MAX_NAME_CHARS)?;
        if self.version == 0 {
            let (got, allowed) = ("0".to_owned(), "1 and above".to_owned());
            return Err(InvalidInput::OutOfRange { what: "the version of the type", got, allowed });
        }
        for (what, json) in
            [("the schema of the type", &self.schema), ("the template of the type", &self.template)]
        {
            let bytes = json.to_string().len();
            if bytes > MAX_DEFINITION_BYTES {
                let (got, allowed) =
                    (format!("{bytes} bytes long"), format!("at most {MAX_DEFINITION_BYTES} bytes"));
                return Err(InvalidInput::OutOfRange { what, got, allowed });
            }
        }
        Ok(())
    }

    /// Returns true if both say the same of tasks, whenever they were written and by whom.
    pub fn says_the_same(&self, other: &Self) -> bool {
        let said = |one: &Self| (one.description.clone(), one.schema.clone(), one.template.clone());
        said(self) == said(other)
    }
}

/// Checks the name of a type that is defined.
///
/// # Errors
/// It is empty, too long, or has a character that is not allowed.
pub fn check_name(name: &str) -> Result<(), InvalidInput> {
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !name.is_empty() && name.chars().count() <= MAX_NAME_CHARS && name.chars().all(allowed) {
        return Ok(());
    }
    Err(InvalidInput::OutOfRange {
        what: "the name of the type",
        got: format!("{name:?}"),
        allowed: format!("1 to {MAX_NAME_CHARS} letters, digits and . _ -"),
    })
}

/// The table of types that are defined.
///
/// # What an implementor guarantees
/// - A call that returned `Ok` is durable, and the next read sees it.
/// - A definition is written only where the version before it is the one that is there: nobody's definition is lost to another's.
/// - Definitions are ordered by the bytes of their names; names are compared exactly.
/// - What does not fit is refused with [`StoreError::InvalidInput`] and nothing is written.
///
/// ```
/// use dtf_memory::MemoryTable;
/// use dtf_model::defined_type::{DefinedType, DefinedTypeTable};
/// use serde_json::{Value, json};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> anyhow::Result<()> {
/// let table = MemoryTable::new();
/// let first = DefinedType {
///     name: "thumbnails".into(),
///     version: 1,
///     description: String::new(),
///     schema: Value::Null,
///     template: json!({"source": {"lines": {"$param": "/list"}}, "function": {"worker": "thumbnail"}}),
///     updated_at: 1_800_000_000_000,
///     updated_by: "ada".into(),
/// };
/// assert!(table.define_type(&first).await?);
/// assert!(!table.define_type(&first).await?, "version 1 is there already");
/// assert!(table.define_type(&DefinedType { version: 2, ..first }).await?);
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait DefinedTypeTable: Send + Sync + 'static {
    /// Writes a version of a type where the version before it is there: for version 1, none. Says whether it was written.
    async fn define_type(&self, definition: &DefinedType) -> Result<bool, StoreError>;

    /// One type.
    async fn defined_type(&self, name: &str) -> Result<Option<DefinedType>, StoreError>;

    /// The types with names above `after`, by name, at most so many.
    async fn defined_types(&self, after: Option<&str>, most: u32) -> Result<Vec<DefinedType>, StoreError>;

    /// Deletes a type. Says whether it was there.
    async fn delete_type(&self, name: &str) -> Result<bool, StoreError>;
}
