//! The requests of the API.

use dtf_api as api;
use dtf_api::BulkAction;
use reqwest::Method;
use uuid::Uuid;

use crate::connection::Connection;
use crate::error::Error;
use crate::request::{Request, Sender, escaped};

/// Asks a server. Clones share connections.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) sender: Sender,
}

/// Every request fails with [`Error`]: the server refused it, or no answer came in any attempt.
impl Client {
    /// A client of a server. Nothing is sent yet.
    ///
    /// # Errors
    /// The address or the token cannot be used.
    pub fn new(connection: Connection) -> Result<Self, Error> {
        Ok(Self { sender: Sender::new(connection)? })
    }

    /// Creates a task.
    ///
    /// # Errors
    /// The task was refused, or no answer came.
    pub async fn create_task(&self, task: &api::NewTask) -> Result<api::Task, Error> {
        self.create_task_once(Uuid::new_v4(), task).await
    }

    /// Creates a task under the creation's own name: asking again with the same one finds the task made before.
    ///
    /// # Errors
    /// The task was refused, or no answer came: then ask again with the same name.
    pub async fn create_task_once(&self, request: Uuid, task: &api::NewTask) -> Result<api::Task, Error> {
        self.sender.send(&Request::post("/v1/tasks").key(request).json(task)?).await
    }

    /// Returns a task.
    ///
    /// # Errors
    /// There is no such task, or no answer came.
    pub async fn task(&self, id: u64) -> Result<api::Task, Error> {
        self.sender.send(&Request::get(format!("/v1/tasks/{id}"))).await
    }

    /// Returns a page of tasks.
    ///
    /// # Errors
    /// A condition was refused, or no answer came.
    pub async fn tasks(&self, query: &api::TaskQuery) -> Result<api::TaskPage, Error> {
        self.sender.send(&Request::get("/v1/tasks").query(query)?).await
    }

    /// Pauses, resumes, cancels or retries a task, and returns it; of a retry, the new one.
    ///
    /// # Errors
    /// Its state does not allow it, or no answer came.
    pub async fn act(&self, id: u64, action: BulkAction) -> Result<api::Task, Error> {
        self.act_once(Uuid::new_v4(), id, action).await
    }

    /// As [`act`](Self::act), under the action's own name: a retry that is asked for again makes no second task.
    ///
    /// # Errors
    /// Its state does not allow it, or no answer came.
    pub async fn act_once(&self, request: Uuid, id: u64, action: BulkAction) -> Result<api::Task, Error> {
        self.sender.send(&Request::post(format!("/v1/tasks/{id}/{}", action.name())).key(request)).await
    }

    /// Has the message of a settled hook of a task delivered again, and returns the task.
    ///
    /// # Errors
    /// There is no such hook, its delivery is under way, or no answer came.
    pub async fn deliver_again(&self, id: u64, hook: usize) -> Result<api::Task, Error> {
        self.sender.send_once(&Request::post(format!("/v1/tasks/{id}/hooks/{hook}/deliver"))).await
    }

    /// Returns a page of a task's failures.
    ///
    /// # Errors
    /// There is no such task, or no answer came.
    pub async fn failures(&self, id: u64, query: &api::FailureQuery) -> Result<api::FailurePage, Error> {
        self.sender.send(&Request::get(format!("/v1/tasks/{id}/failures")).query(query)?).await
    }

    /// Returns a task's failures, grouped by what went wrong.
    ///
    /// # Errors
    /// There is no such task, or no answer came.
    pub async fn failure_kinds(&self, id: u64) -> Result<Vec<api::FailureKind>, Error> {
        self.sender.send(&Request::get(format!("/v1/tasks/{id}/failures/kinds"))).await
    }

    /// Returns the course of a task's life.
    ///
    /// # Errors
    /// There is no such task, or no answer came.
    pub async fn timeline(&self, id: u64) -> Result<Vec<api::TimelineEntry>, Error> {
        self.sender.send(&Request::get(format!("/v1/tasks/{id}/timeline"))).await
    }

    /// Returns the resource groups.
    ///
    /// # Errors
    /// No answer came.
    pub async fn groups(&self) -> Result<Vec<api::Group>, Error> {
        self.sender.send(&Request::get("/v1/groups")).await
    }

    /// Makes or changes a resource group, and returns it.
    ///
    /// # Errors
    /// A value was refused, or no answer came.
    pub async fn set_group(&self, name: &str, set: &api::SetGroup) -> Result<api::Group, Error> {
        self.sender.send(&Request::new(Method::PUT, format!("/v1/groups/{}", escaped(name))).json(set)?).await
    }

    /// Returns the processes of the cluster.
    ///
    /// # Errors
    /// No answer came.
    pub async fn workers(&self) -> Result<Vec<api::Worker>, Error> {
        self.sender.send(&Request::get("/v1/workers")).await
    }

    /// Empties a process, or lets it have parts again.
    ///
    /// # Errors
    /// There is no such process, or no answer came.
    pub async fn drain(&self, name: &str, drain: &api::Drain) -> Result<api::Worker, Error> {
        let path = format!("/v1/workers/{}/drain", escaped(name));
        self.sender.send(&Request::new(Method::PUT, path).json(drain)?).await
    }

    /// Returns the holder of each part of a role's work.
    ///
    /// # Errors
    /// No answer came.
    pub async fn placement(&self, role: api::Role) -> Result<api::Placement, Error> {
        self.sender.send(&Request::get(format!("/v1/placement/{}", role.name()))).await
    }

    /// Returns the division of the cluster's work.
    ///
    /// # Errors
    /// No answer came.
    pub async fn cluster(&self) -> Result<api::Cluster, Error> {
        self.sender.send(&Request::get("/v1/cluster")).await
    }

    /// Returns the findings about the cluster's servers.
    ///
    /// # Errors
    /// The token is for some groups only, or no answer came.
    pub async fn examine(&self) -> Result<Vec<api::Finding>, Error> {
        self.sender.send(&Request::get("/v1/doctor")).await
    }

    /// Returns the tokens, without their secrets.
    ///
    /// # Errors
    /// The token is no admin's, or no answer came.
    pub async fn tokens(&self) -> Result<Vec<api::Token>, Error> {
        self.sender.send(&Request::get("/v1/tokens")).await
    }

    /// Makes a token, whose secret is in the answer and nowhere else. Sent once: where no answer came, a token may be there that nobody has.
    ///
    /// # Errors
    /// The token was refused, or no answer came.
    pub async fn create_token(&self, new: &api::NewToken) -> Result<api::CreatedToken, Error> {
        self.sender.send_once(&Request::post("/v1/tokens").json(new)?).await
    }

    /// Returns the secret that messages for a resource group are signed with.
    ///
    /// # Errors
    /// There is no such group, or no answer came.
    pub async fn signing_secret(&self, group: &str) -> Result<api::SigningSecret, Error> {
        self.sender.send(&Request::get(secret_of(group))).await
    }

    /// Replaces the secret that messages for a resource group are signed with. Sent once: where no answer came, it may have been replaced.
    ///
    /// # Errors
    /// There is no such group, or no answer came.
    pub async fn replace_signing_secret(&self, group: &str) -> Result<api::SigningSecret, Error> {
        self.sender.send_once(&Request::post(secret_of(group))).await
    }

    /// Revokes a token.
    ///
    /// # Errors
    /// There is no such token, or no answer came.
    pub async fn revoke_token(&self, id: &str) -> Result<(), Error> {
        self.sender.send_only(&Request::new(Method::DELETE, format!("/v1/tokens/{}", escaped(id)))).await
    }

    /// Returns a page of the audit.
    ///
    /// # Errors
    /// The token is no admin's, or no answer came.
    pub async fn audit(&self, query: &api::AuditQuery) -> Result<api::AuditPage, Error> {
        self.sender.send(&Request::get("/v1/audit").query(query)?).await
    }
}

fn secret_of(group: &str) -> String {
    format!("/v1/groups/{}/signing-secret", escaped(group))
}
