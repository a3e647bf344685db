//! Schedules, for their users.

use dtf_model::schedule::{
    Backfill, Calendar, Cause, Creation, MAX_CONCURRENCY, NewSchedule, Plan, ScheduleRow, ScheduleSpec,
    ScheduleState, Template,
};
use dtf_model::{InvalidInput, StoreError, TaskId};
use dtf_runtime::Schedules;
use uuid::Uuid;

use crate::client::Client;
use crate::client_error::ClientError;

/// The number of due times that a view tells.
const UPCOMING: usize = 10;

/// A schedule, as its user sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct ScheduleView {
    /// The row.
    pub row: ScheduleRow,
    /// The rule in words.
    pub words: String,
    /// The next due times, in milliseconds since the Unix epoch; none while it is paused.
    pub upcoming: Vec<u64>,
}

impl ScheduleView {
    fn of(row: ScheduleRow, now: u64) -> Result<Self, InvalidInput> {
        let calendar = row.spec.calendar()?;
        let (words, upcoming) =
            (calendar.words(), Plan { row: &row, calendar: &calendar, now }.upcoming(UPCOMING));
        Ok(Self { row, words, upcoming })
    }
}

/// The period of a backfill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackfillPeriod {
    /// The earliest due time, in milliseconds since the Unix epoch.
    pub from: u64,
    /// The latest due time; not in the future.
    pub until: u64,
    /// The number of its tasks that run at once, from 1 to 100.
    pub concurrency: u32,
}

impl Client {
    /// Creates a schedule. Once this has returned, each of its due times has the tasks that its policy says, whatever is killed.
    ///
    /// # Errors
    /// The expression, the zone, the type or a parameter is not allowed, the name is taken (and nothing was created), or the store
    /// failed.
    pub async fn create_schedule(&self, spec: ScheduleSpec) -> Result<ScheduleView, ClientError> {
        self.create_schedule_once(Uuid::new_v4(), spec).await
    }

    /// Creates a schedule under the creation's own name: asking again with the same one finds the schedule made before.
    ///
    /// # Errors
    /// Those of [`create_schedule`](Self::create_schedule).
    pub async fn create_schedule_once(
        &self,
        request: Uuid,
        mut spec: ScheduleSpec,
    ) -> Result<ScheduleView, ClientError> {
        let (calendar, now) = (spec.check()?, self.now());
        self.check_template(&mut spec.template, &calendar, now).await?;
        let state = ScheduleState::beginning(&spec, &calendar, now);
        if state.next_due.is_none() {
            let never = "the schedule is never due: it ends before its first due time; give it a later end";
            return Err(InvalidInput::Schedule(never.to_owned()).into());
        }
        let mut new = NewSchedule { request, spec, state, next_at: None, now };
        let draft = row_of(&new);
        new.next_at = Plan { row: &draft, calendar: &calendar, now }.next_at(&new.state);
        let row = self.table().insert_schedule(&new).await?;
        self.context().wake.notify(self.context().shape.schedules(row.id), row.id.as_hint());
        Ok(ScheduleView::of(row, now)?)
    }

    /// Checks that a template makes tasks that are allowed, and notes the version of the type.
    async fn check_template(
        &self,
        template: &mut Template,
        calendar: &Calendar,
        now: u64,
    ) -> Result<(), ClientError> {
        let plugins = &self.context().plugins;
        for (task_type, param) in template.params() {
            let registration = plugins.get(*task_type)?;
            *task_type = plugins.number_for(registration, param);
            param.type_version = param.type_version.max(plugins.conf(*task_type)?.version);
        }
        let creation = template.creation(Uuid::nil(), calendar, now, now)?;
        creation.check()?;
        for member in &creation.members {
            if self.table().group(&member.param.group).await?.is_none() {
                return Err(InvalidInput::UnknownGroup(member.param.group.clone()).into());
            }
            // What takes results is known when they are.
            if !member.takes_results() {
                plugins.get(member.task_type)?.plugin.check(&member.param)?;
            }
        }
        Ok(())
    }

    /// Returns a schedule.
    ///
    /// # Errors
    /// There is no such schedule, or the store failed.
    pub async fn schedule(&self, name: &str) -> Result<ScheduleView, ClientError> {
        let row = self.table().schedule(name).await?;
        let row = row.ok_or_else(|| InvalidInput::NoSuchSchedule(name.to_owned()))?;
        Ok(ScheduleView::of(row, self.now())?)
    }

    /// Returns the schedules with names above `after`, by name, at most so many.
    ///
    /// # Errors
    /// The store failed.
    pub async fn schedules(&self, after: Option<&str>, most: u32) -> Result<Vec<ScheduleView>, ClientError> {
        let (rows, now) = (self.table().schedules(after, most).await?, self.now());
        Ok(rows.into_iter().map(|row| ScheduleView::of(row, now)).collect::<Result<_, _>>()?)
    }

    /// Pauses a schedule: due times pass without effect. Tasks that run go on.
    ///
    /// # Errors
    /// There is no such schedule, or the store failed.
    pub async fn pause_schedule(&self, name: &str) -> Result<ScheduleView, ClientError> {
        self.change_schedule(name, |plan| Ok(ScheduleState { paused: true, ..plan.row.state.clone() })).await
    }

    /// Lets a paused schedule go on with its next due time.
    ///
    /// # Errors
    /// There is no such schedule, or the store failed.
    pub async fn resume_schedule(&self, name: &str) -> Result<ScheduleView, ClientError> {
        self.change_schedule(name, |plan| Ok(plan.resumed())).await
    }

    /// Creates a task of a schedule at once, whether or not it is paused and another one runs. Asking again with the same `request`
    /// finds the same task.
    ///
    /// # Errors
    /// There is no such schedule, its task is refused, or the store failed.
    pub async fn trigger_schedule(&self, request: Uuid, name: &str) -> Result<TaskId, ClientError> {
        let creation = |plan: &Plan<'_>| Creation { due: plan.now, request, cause: Cause::Trigger };
        let acting = self.acting();
        let decided = acting.change(name, |plan| {
            let mut state = plan.row.state.clone();
            let is_known = state.creating.iter().any(|known| known.request == request);
            if !is_known {
                state.creating.push(creation(plan));
            }
            Ok(state)
        });
        let row = decided.await?;
        let of_request = |creation: &Creation| creation.request == request;
        let made = acting.create(row).await?.into_iter().find(|(creation, _)| of_request(creation));
        match made {
            Some((_, Ok(task))) => Ok(task),
            Some((_, Err(reason))) => Err(InvalidInput::Schedule(reason).into()),
            None => {
                Err(StoreError::Unknown { store: "SQL", cause: "the trigger was overtaken".to_owned() }
                    .into())
            }
        }
    }

    /// Creates the tasks of the due times of a period that have none, in their order.
    ///
    /// # Errors
    /// There is no such schedule, the period is empty or reaches into the future, another backfill is under way, or the store failed.
    pub async fn backfill_schedule(
        &self,
        name: &str,
        period: BackfillPeriod,
    ) -> Result<ScheduleView, ClientError> {
        let BackfillPeriod { from, until, concurrency } = period;
        if !(1..=MAX_CONCURRENCY).contains(&concurrency) {
            let (what, allowed) = ("the concurrency of the backfill", format!("1 to {MAX_CONCURRENCY}"));
            return Err(InvalidInput::OutOfRange { what, got: concurrency.to_string(), allowed }.into());
        }
        self.change_schedule(name, |plan| {
            let refused = |why: &str| InvalidInput::Schedule(format!("schedule {name:?} {why}"));
            if until > plan.now {
                return Err(refused(
                    "cannot be filled back into the future; end the period at the present time",
                ));
            }
            if plan.row.state.backfill.is_some() {
                return Err(refused("has a backfill under way; wait for its end"));
            }
            let next = Some(plan.first_of(from, until)?);
            let backfill = Some(Backfill { next, until, concurrency, running: Vec::new() });
            Ok(ScheduleState { backfill, ..plan.row.state.clone() })
        })
        .await
    }

    /// Deletes a schedule. Its tasks stay as they are.
    ///
    /// # Errors
    /// There is no such schedule, or the store failed.
    pub async fn delete_schedule(&self, name: &str) -> Result<(), ClientError> {
        let missing = || InvalidInput::NoSuchSchedule(name.to_owned());
        let row = self.table().schedule(name).await?.ok_or_else(missing)?;
        match self.table().delete_schedule(row.id).await? {
            true => Ok(()),
            false => Err(missing().into()),
        }
    }

    fn acting(&self) -> Schedules {
        Schedules::new(self.table().clone(), self.context().clone())
    }

    async fn change_schedule(
        &self,
        name: &str,
        change: impl Fn(&Plan<'_>) -> Result<ScheduleState, InvalidInput>,
    ) -> Result<ScheduleView, ClientError> {
        let row = self.acting().change(name, change).await?;
        Ok(ScheduleView::of(row, self.now())?)
    }
}

/// The row that an insertion will make.
fn row_of(new: &NewSchedule) -> ScheduleRow {
    ScheduleRow {
        id: dtf_model::ScheduleId(0),
        request: new.request,
        spec: new.spec.clone(),
        state: new.state.clone(),
        next_at: None,
        revision: 0,
        created_at: new.now,
    }
}
