//! Flows and dependencies, for their users.

use std::collections::BTreeMap;

use dtf_model::flow::{
    Condition, Dependency, FlowCounts, FlowDefinition, FlowRow, FlowTask, NewFlow, NewMember, On, OnTask,
    Predecessor, define, retry,
};
use dtf_model::schedule::Template;
use dtf_model::table::TaskRow;
use dtf_model::{Control, FlowId, InvalidInput, TaskId, TaskParam, TaskTypeId};
use dtf_runtime::Dependents;
use futures::{StreamExt, TryStreamExt, stream};
use uuid::Uuid;

use crate::client::Client;
use crate::client_error::ClientError;
use crate::handle::TaskHandle;

/// The calls under way at a time.
const TOGETHER: usize = 128;

/// A flow, as its user sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowView {
    /// The row.
    pub row: FlowRow,
    /// The numbers of its tasks.
    pub counts: FlowCounts,
    /// Its tasks, by id.
    pub tasks: Vec<TaskRow>,
    /// The tasks that they wait for or waited for.
    pub dependencies: Vec<Dependency>,
}

/// A flow that is about to be created: tasks with local names, each of which may wait for others.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> anyhow::Result<()> {
/// use dtf::prelude::*;
/// use dtf::{FlowBuilder, TaskType};
/// use dtf::model::flow::Condition;
///
/// let squares = TaskType::named("squares")
///     .input(|limit: u64| 0..limit)
///     .execute(|n: u64, _ctx| async move { Ok(n * n) })
///     .fold(0u64, |sum, square: u64| sum + square)
///     .build();
/// let dtf = Dtf::embedded().register(&squares).start().await?;
/// let flow = FlowBuilder::named("nightly")
///     .task("first", "squares", 10.into())
///     .task("second", "squares", serde_json::json!({"$result": ""}))
///     .after("second", "first", Condition::Completed);
/// let view = dtf.client().create_flow(flow).await?;
/// let second = dtf.client().task(view.tasks[1].id).wait().await?;
/// assert_eq!(second.counts.succeeded, 285, "as many as the sum of the first");
/// # dtf.stop().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use = "a flow is created by `Client::create_flow`"]
pub struct FlowBuilder {
    name: String,
    tasks: BTreeMap<String, (String, TaskParam, Vec<Predecessor>)>,
    refused: Option<InvalidInput>,
}

impl FlowBuilder {
    /// Begins a flow with a name for people.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// Adds a task of a type, by its name, with the parameter of the type.
    pub fn task(self, name: &str, task_type: &str, type_param: serde_json::Value) -> Self {
        self.task_with(name, task_type, TaskParam { type_param, ..TaskParam::default() })
    }

    /// Adds a task with all of its parameters. A task without a name for people has its local one.
    pub fn task_with(mut self, name: &str, task_type: &str, mut param: TaskParam) -> Self {
        if param.name.is_empty() {
            name.clone_into(&mut param.name);
        }
        if self.tasks.insert(name.to_owned(), (task_type.to_owned(), param, Vec::new())).is_some() {
            self.refuse(format!("task {name:?} is in the flow twice; give one of them another name"));
        }
        self
    }

    /// Lets a task wait for another one.
    pub fn after(mut self, task: &str, on: &str, condition: Condition) -> Self {
        match self.tasks.get_mut(task) {
            Some((.., after)) => after.push(Predecessor { task: on.to_owned(), condition }),
            None => self.refuse(format!("task {task:?} is not in the flow; add it before what it waits for")),
        }
        self
    }

    fn refuse(&mut self, why: String) {
        self.refused.get_or_insert(InvalidInput::Flow(why));
    }
}

impl Client {
    /// Creates a flow: all of its tasks, or none.
    ///
    /// # Errors
    /// A type, a group or a parameter is not allowed, a task waits for an unknown one or for itself (and nothing was created), or the
    /// store failed.
    pub async fn create_flow(&self, flow: FlowBuilder) -> Result<FlowView, ClientError> {
        self.create_flow_once(Uuid::new_v4(), flow).await
    }

    /// Creates a flow under the creation's own name: asking again with the same one finds the flow made before.
    ///
    /// # Errors
    /// Those of [`create_flow`](Self::create_flow).
    pub async fn create_flow_once(&self, request: Uuid, flow: FlowBuilder) -> Result<FlowView, ClientError> {
        let (name, tasks) = self.definition(flow).await?;
        let members = define(tasks)?;
        let name = Some(name);
        self.create_members(NewFlow { request, name, retry_of: None, members, now: self.now() }).await
    }

    /// Returns a flow as the template of a schedule.
    ///
    /// # Errors
    /// A type is unknown, a task is in the flow twice, or the store failed.
    pub async fn flow_template(&self, flow: FlowBuilder) -> Result<Template, ClientError> {
        let (name, tasks) = self.definition(flow).await?;
        Ok(Template::Flow { name, tasks })
    }

    async fn definition(&self, flow: FlowBuilder) -> Result<(String, FlowDefinition), ClientError> {
        if let Some(refused) = flow.refused {
            return Err(refused.into());
        }
        let mut tasks = FlowDefinition::new();
        for (name, (task_type, param, after)) in flow.tasks {
            let named = |error| match error {
                ClientError::Invalid(InvalidInput::TypeParam(why)) => {
                    InvalidInput::TypeParam(format!("task {name:?}: {why}")).into()
                }
                error => error,
            };
            let (task_type, param) = self.prepare(&task_type, param).await.map_err(named)?;
            tasks.insert(name, FlowTask { task_type, param, after });
        }
        Ok((flow.name, tasks))
    }

    /// Creates a task that waits for others.
    ///
    /// # Errors
    /// Those of [`create_task`](Self::create_task); a task to wait for does not exist.
    pub async fn create_task_after(
        &self,
        request: Uuid,
        task_type: TaskTypeId,
        param: TaskParam,
        after: &[(TaskId, Condition)],
    ) -> Result<TaskHandle, ClientError> {
        let on = |(task, condition): &(TaskId, Condition)| OnTask {
            on: On::Task(*task),
            condition: *condition,
            label: task.to_string(),
        };
        let member =
            NewMember { name: String::new(), task_type, param, after: after.iter().map(on).collect() };
        let flow = NewFlow { request, name: None, retry_of: None, members: vec![member], now: self.now() };
        let ids = self.insert_members(flow).await?;
        Ok(self.task(ids[0]))
    }

    /// Runs again what failed in a flow and what was skipped behind it, as a new flow. Of a task that completed with failed subtasks
    /// these run again.
    ///
    /// # Errors
    /// The flow does not exist, has not ended or has nothing that failed; else as [`create_flow`](Self::create_flow).
    pub async fn retry_flow(&self, request: Uuid, id: FlowId) -> Result<FlowView, ClientError> {
        let view = self.flow(id).await?;
        if view.counts.running + view.counts.waiting > 0 {
            let why = format!("flow {id} has tasks that have not ended; wait for its end, or cancel it");
            return Err(InvalidInput::Flow(why).into());
        }
        let members = retry(&view.tasks, &view.dependencies)?;
        let name = Some(view.row.name);
        self.create_members(NewFlow { request, name, retry_of: Some(id), members, now: self.now() }).await
    }

    async fn create_members(&self, flow: NewFlow) -> Result<FlowView, ClientError> {
        let ids = self.insert_members(flow).await?;
        let row = self.row(ids[0]).await?;
        match row.flow {
            Some(member) => self.flow(member.flow).await,
            None => Err(ClientError::NoSuchTask(ids[0])),
        }
    }

    async fn insert_members(&self, mut flow: NewFlow) -> Result<Vec<TaskId>, ClientError> {
        let plugins = &self.context().plugins;
        for member in &mut flow.members {
            let registration = plugins.get(member.task_type)?;
            member.task_type = plugins.number_for(registration, &member.param);
            member.param.type_version =
                member.param.type_version.max(plugins.conf(member.task_type)?.version);
            member.param.check()?;
            // What takes results is known when they are.
            if !member.takes_results() {
                let named = |error: InvalidInput| match (&flow.name, error) {
                    (Some(_), InvalidInput::TypeParam(why)) => {
                        InvalidInput::TypeParam(format!("task {:?}: {why}", member.name))
                    }
                    (_, error) => error,
                };
                registration.plugin.check(&member.param).map_err(named)?;
            }
        }
        let ids = self.table().create_flow(&flow).await?;
        for (member, id) in flow.members.iter().zip(&ids) {
            if member.after.is_empty() {
                self.context().wake.notify(self.context().shape.watch(*id), *id);
            }
        }
        // Those that have ended already end for nobody again.
        let dependents = Dependents::new(self.table().clone(), self.context().clone());
        for task in flow.existing() {
            dependents.tell(task).await?;
        }
        Ok(ids)
    }

    /// Returns a flow with its tasks.
    ///
    /// # Errors
    /// The flow does not exist, or the store failed.
    pub async fn flow(&self, id: FlowId) -> Result<FlowView, ClientError> {
        let row = self.table().flow(id).await?.ok_or(InvalidInput::NoSuchFlow(id))?;
        let tasks = self.table().flow_tasks(id).await?;
        let ids: Vec<_> = tasks.iter().map(|task| task.id).collect();
        let dependencies = self.table().dependencies(&ids).await?;
        let mut counts = FlowCounts::default();
        tasks.iter().for_each(|task| counts.add(task.status, &task.counts, task.waits));
        Ok(FlowView { row, counts, tasks, dependencies })
    }

    /// Returns the flows with ids below `before`, the newest first, at most so many.
    ///
    /// # Errors
    /// The store failed.
    pub async fn flows(
        &self,
        before: Option<FlowId>,
        most: u32,
    ) -> Result<Vec<(FlowRow, FlowCounts)>, ClientError> {
        Ok(self.table().flows(before, most).await?)
    }

    /// Returns what a task waits for or waited for.
    ///
    /// # Errors
    /// The store failed.
    pub async fn dependencies(&self, task: TaskId) -> Result<Vec<Dependency>, ClientError> {
        Ok(self.table().dependencies(&[task]).await?)
    }

    /// Pauses the tasks of a flow that have not ended.
    ///
    /// # Errors
    /// The flow does not exist, or the store failed.
    pub async fn pause_flow(&self, id: FlowId) -> Result<FlowView, ClientError> {
        self.control_flow(id, Control::Pause, "").await
    }

    /// Lets the paused tasks of a flow go on.
    ///
    /// # Errors
    /// The flow does not exist, or the store failed.
    pub async fn resume_flow(&self, id: FlowId) -> Result<FlowView, ClientError> {
        self.control_flow(id, Control::Run, "").await
    }

    /// Ends the tasks of a flow that have not ended.
    ///
    /// # Errors
    /// The flow does not exist, or the store failed.
    pub async fn cancel_flow(&self, id: FlowId) -> Result<FlowView, ClientError> {
        self.control_flow(id, Control::Cancel, "cancelled by a user, with its flow").await
    }

    /// The last tasks come first, so that none begins because one before it ends.
    async fn control_flow(
        &self,
        id: FlowId,
        control: Control,
        reason: &str,
    ) -> Result<FlowView, ClientError> {
        let view = self.flow(id).await?;
        let open = view.tasks.iter().rev().filter(|task| !task.status.is_terminal()).map(|task| task.id);
        let now = self.now();
        let controlled = stream::iter(open.collect::<Vec<_>>()).map(|task| async move {
            // One that has ended meanwhile needs nothing.
            self.table().set_control(task, control, reason, now).await?;
            self.context().wake.notify(self.context().shape.watch(task), task);
            Ok::<_, ClientError>(())
        });
        controlled.buffered(TOGETHER).try_collect::<()>().await?;
        self.flow(id).await
    }
}
