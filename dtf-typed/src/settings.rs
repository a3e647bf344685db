//! The settings of a task type, one method each.

use std::time::Duration;

use dtf_model::TaskTypeId;
use dtf_model::plugin::{Backoff, OnFailure, TaskConf};

use crate::builder::TaskTypeBuilder;

/// The settings can be given at any stage. A value that is out of range is refused when the type is registered.
///
/// ```
/// use std::time::Duration;
/// use dtf_model::plugin::OnFailure;
/// use dtf_typed::TaskType;
///
/// let fetches = TaskType::named("fetches")
///     .description("downloads pages")
///     .version(2)
///     .timeout(Duration::from_secs(20))
///     .max_attempts(5)
///     .backoff(Duration::from_secs(1), Duration::from_secs(30))
///     .max_running(50)
///     .max_per_second(200)
///     .on_failure(OnFailure::StopAbove(0.2))
///     .input(|urls: Vec<String>| urls)
///     .execute(|url: String, _ctx| async move { Ok(url.len()) })
///     .build();
/// ```
impl<S> TaskTypeBuilder<S> {
    /// Sets the description, for people.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.about.description = description.into();
        self
    }

    /// Sets the JSON schema of the parameter, for people: the dashboard makes a form of it. What is allowed is decided by the parameter's
    /// type and by [`check`](TaskTypeBuilder::check). Default: none.
    ///
    /// ```
    /// # use dtf_typed::TaskType;
    /// let fetches = TaskType::named("fetches").schema(serde_json::json!({
    ///     "type": "object",
    ///     "properties": { "depth": { "type": "integer", "description": "how far links are followed" } }
    /// }));
    /// ```
    pub fn schema(mut self, schema: serde_json::Value) -> Self {
        self.about.schema = Some(schema);
        self
    }

    /// Sets the number that is stored as `task_type`, instead of the one [derived](crate::number_of) from the name. Use it to
    /// rename a type, or where two names have the same number.
    pub fn number(mut self, number: u32) -> Self {
        self.about.number = Some(TaskTypeId(number));
        self
    }

    /// Sets the [version](TaskConf::version). Raise it when programs of before could not work on the tasks that are
    /// created now. Default 0.
    pub fn version(self, version: u32) -> Self {
        self.conf(|conf| conf.version = version)
    }

    /// Sets the longest time that one execution of a subtask may take. Default 300 s, at most 30 minutes unless
    /// `plugins.max_subtask_timeout` allows more.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.conf(|conf| conf.subtask_timeout = timeout)
    }

    /// Sets the longest time that a task of this type may run, pauses left out. Default one day.
    pub fn task_timeout(self, timeout: Duration) -> Self {
        self.conf(|conf| conf.task_type_timeout = timeout)
    }

    /// Sets the longest time that a task of this type may wait for its turn. Default: no limit.
    pub fn queue_timeout(self, timeout: Duration) -> Self {
        self.conf(|conf| conf.queue_timeout = Some(timeout))
    }

    /// Sets the number of executions of a subtask, the first included, before it has failed for good. Default 3.
    pub fn max_attempts(self, attempts: u32) -> Self {
        self.conf(|conf| conf.max_attempts = attempts)
    }

    /// Sets the wait between attempts: `first`, doubled with each attempt, up to `most`. Default 1 s to 60 s.
    pub fn backoff(self, first: Duration, most: Duration) -> Self {
        self.conf(|conf| conf.backoff = Backoff { first, most })
    }

    /// Sets the consequence of failed subtasks for their task. Default: the task goes on.
    pub fn on_failure(self, on_failure: OnFailure) -> Self {
        self.conf(|conf| conf.on_failure = on_failure)
    }

    /// Limits the number of subtasks of one task that run at the same time. Default: no limit.
    pub fn max_running(self, running: u32) -> Self {
        self.conf(|conf| conf.limits.running = Some(running))
    }

    /// Limits the number of subtasks of one task that are started a second, on average. Default: no limit.
    pub fn max_per_second(self, rate: u32) -> Self {
        self.conf(|conf| conf.limits.rate = Some(rate))
    }

    /// Changes the configuration itself, for settings that have no method here.
    ///
    /// ```
    /// # use dtf_typed::TaskType;
    /// let careful = TaskType::named("careful").conf(|conf| conf.max_executor_losses = 2);
    /// ```
    pub fn conf(mut self, change: impl FnOnce(&mut TaskConf)) -> Self {
        change(&mut self.about.conf);
        self
    }
}
