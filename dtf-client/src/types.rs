//! Types of task.

use dtf_api as api;
use reqwest::Method;

use crate::client::Client;
use crate::error::Error;
use crate::request::{Request, escaped};

impl Client {
    /// Returns the types of task that the server knows, and of those that are defined the first thousand.
    ///
    /// # Errors
    /// No answer came.
    pub async fn types(&self) -> Result<Vec<api::TaskType>, Error> {
        self.types_after(&api::TypeQuery::default()).await
    }

    /// Returns the types that are defined with names above one.
    ///
    /// # Errors
    /// No answer came.
    pub async fn types_after(&self, query: &api::TypeQuery) -> Result<Vec<api::TaskType>, Error> {
        self.sender.send(&Request::get("/v1/types").query(query)?).await
    }

    /// Returns a type of task, with its schema and its definition.
    ///
    /// # Errors
    /// There is no such type, or no answer came.
    pub async fn task_type(&self, name: &str) -> Result<api::TaskType, Error> {
        self.sender.send(&Request::get(path(name))).await
    }

    /// Defines a type of task, or gives it another definition.
    ///
    /// # Errors
    /// The definition was refused, or no answer came.
    pub async fn define_type(&self, name: &str, define: &api::DefineType) -> Result<api::TaskType, Error> {
        self.sender.send(&Request::new(Method::PUT, path(name)).json(define)?).await
    }

    /// Deletes a type that is defined. Tasks and schedules of it go on.
    ///
    /// # Errors
    /// There is no such type, or no answer came.
    pub async fn delete_type(&self, name: &str) -> Result<(), Error> {
        self.sender.send_only(&Request::new(Method::DELETE, path(name))).await
    }
}

fn path(name: &str) -> String {
    format!("/v1/types/{}", escaped(name))
}
