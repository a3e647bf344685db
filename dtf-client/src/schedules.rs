//! Schedules.

use dtf_api as api;
use reqwest::Method;
use uuid::Uuid;

use crate::client::Client;
use crate::error::Error;
use crate::request::{Request, escaped};

impl Client {
    /// Creates a schedule under the creation's own name: asking again with the same one finds the schedule made before.
    ///
    /// # Errors
    /// The schedule was refused, or no answer came: then ask again with the same name.
    pub async fn create_schedule_once(
        &self,
        request: Uuid,
        new: &api::NewSchedule,
    ) -> Result<api::Schedule, Error> {
        self.sender.send(&Request::post("/v1/schedules").key(request).json(new)?).await
    }

    /// Returns a page of schedules, by name.
    ///
    /// # Errors
    /// No answer came.
    pub async fn schedules(&self, query: &api::ScheduleQuery) -> Result<api::SchedulePage, Error> {
        self.sender.send(&Request::get("/v1/schedules").query(query)?).await
    }

    /// Returns a schedule.
    ///
    /// # Errors
    /// There is no such schedule, or no answer came.
    pub async fn schedule(&self, name: &str) -> Result<api::Schedule, Error> {
        self.sender.send(&Request::get(path(name, ""))).await
    }

    /// Pauses a schedule, or lets it go on.
    ///
    /// # Errors
    /// There is no such schedule, or no answer came.
    pub async fn pause_schedule(&self, name: &str, paused: bool) -> Result<api::Schedule, Error> {
        self.sender.send(&Request::post(path(name, if paused { "/pause" } else { "/resume" }))).await
    }

    /// Creates a task of a schedule at once. Asking again under the same name makes no second one.
    ///
    /// # Errors
    /// There is no such schedule, its task was refused, or no answer came: then ask again with the same name.
    pub async fn trigger_schedule(&self, request: Uuid, name: &str) -> Result<api::Task, Error> {
        self.sender.send(&Request::post(path(name, "/trigger")).key(request)).await
    }

    /// Creates the tasks of the due times of a period that have none. Sent once: where no answer came, look at the schedule.
    ///
    /// # Errors
    /// There is no such schedule, the period was refused, or no answer came.
    pub async fn backfill_schedule(
        &self,
        name: &str,
        period: &api::NewBackfill,
    ) -> Result<api::Schedule, Error> {
        self.sender.send_once(&Request::post(path(name, "/backfill")).json(period)?).await
    }

    /// Deletes a schedule. Its tasks stay as they are.
    ///
    /// # Errors
    /// There is no such schedule, or no answer came.
    pub async fn delete_schedule(&self, name: &str) -> Result<(), Error> {
        self.sender.send_only(&Request::new(Method::DELETE, path(name, ""))).await
    }
}

fn path(name: &str, action: &str) -> String {
    format!("/v1/schedules/{}{action}", escaped(name))
}
