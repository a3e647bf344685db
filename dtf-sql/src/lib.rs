//! `tbl_task`, the truth about tasks, on SQLite (feature `sqlite`, the default) and on MySQL 8 or MariaDB 10.6 and later
//! (feature `mysql`).
//!
//! [`SqlTable`] is the port [`TaskTable`](dtf_model::table::TaskTable) on either, and with it those to the resource groups and to the
//! failures that are kept. Which one, the URL of its
//! [`SqlConfig`] says.
//!
//! - A SQLite file belongs to one process at a time; a second one is refused. Its schema is brought up to date when it
//!   is opened.
//! - A MySQL database is shared. Its schema is made by [`SqlTable::migrate`], once. A program works with its own schema and
//!   with newer ones that only add to it, so that programs of two versions work together during an upgrade; it refuses others.
//!
//! Every change is one conditional statement, so no isolation level is relied upon. Calls that arrive while others are under
//! way share the next statement; a transaction spans that statement alone.
//!
//! ```
//! use dtf_model::table::{NewTask, TaskTable};
//! use dtf_model::{TaskParam, TaskTypeId};
//! use dtf_sql::SqlTable;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), dtf_model::StoreError> {
//! let table = SqlTable::in_memory().await?;
//! let task = NewTask {
//!     request: uuid::Uuid::new_v4(),
//!     task_type: TaskTypeId(1),
//!     param: TaskParam::default(),
//!     now: 1_800_000_000_000,
//! };
//! let id = table.insert(&task).await?;
//! assert!(table.get(id).await?.is_some());
//! # Ok(())
//! # }
//! ```

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(any(feature = "sqlite", feature = "mysql")))]
compile_error!("dtf-sql needs the feature `sqlite` or `mysql`");

mod audit;
mod batches;
mod bulk;
mod call;
mod cluster;
mod config;
mod connections;
mod defined_type;
mod error;
mod failure;
mod filter;
mod flow;
mod gateway;
mod group;
mod history;
mod hook;
#[cfg(feature = "mysql")]
mod inspect;
mod items;
#[cfg(feature = "sqlite")]
mod lock;
#[cfg(feature = "mysql")]
mod mysql;
mod pool;
mod result;
mod row;
mod schedule;
mod schema;
mod sql;
#[cfg(feature = "sqlite")]
mod sqlite;
mod table;
mod token;
mod unique;

pub use config::SqlConfig;
pub use connections::NamedConnections;
#[cfg(feature = "mysql")]
pub use inspect::Inspection;
pub use schema::Reach;
pub use table::SqlTable;
