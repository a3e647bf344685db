//! The conformance suite of [`NotingTable`](dtf_model::audit::NotingTable): one function per obligation of the trait, and [`run_all`].
//!
//! A function panics where the table breaks its obligation. Each has an actor of its own, and makes what it changes.

use std::sync::Arc;

use dtf_model::audit::{AuditEntry, AuditFilter, AuditOutcome, Note};
use dtf_model::bulk::{BulkCaller, BulkSpec, BulkState, BulkUpdate, NewBulk};
use dtf_model::defined_type::DefinedType;
use dtf_model::flow::{NewFlow, NewMember};
use dtf_model::schedule::{NewSchedule, Overlap, ScheduleSpec, ScheduleState, ScheduleUpdate, Template};
use dtf_model::table::{Finish, NewTask, TaskTable};
use dtf_model::token::{ApiToken, TokenRole};
use dtf_model::unique::{Unique, UniqueWhile};
use dtf_model::{
    Control, Counts, ResourceGroup, RunEpoch, StoreError, TaskId, TaskParam, TaskStatus, TaskTypeId,
};
use futures::future::{join, join_all};
use serde_json::{Value, json};
use uuid::Uuid;

use super::must;

/// Runs the whole suite, one obligation after another.
pub async fn run_all(table: Arc<dyn TaskTable>) {
    an_inserted_task_is_named_in_its_entry(&table).await;
    tasks_inserted_at_once_have_each_their_own_entry(&table).await;
    a_refused_task_has_no_entry_and_disturbs_no_other(&table).await;
    a_task_with_a_key_is_named_whether_made_or_found(&table).await;
    a_flow_is_named_in_its_entry(&table).await;
    a_control_has_an_entry_where_it_applies(&table).await;
    one_note_is_written_once(&table).await;
    a_schedule_has_an_entry_for_each_change_that_applies(&table).await;
    groups_types_tokens_and_actions_have_entries(&table).await;
}

const NOW: u64 = 1_800_000_000_000;

/// An actor, and the notes of its changes.
struct Actor<'a> {
    table: &'a Arc<dyn TaskTable>,
    name: String,
}

impl<'a> Actor<'a> {
    fn new(table: &'a Arc<dyn TaskTable>) -> Self {
        Self { table, name: Uuid::new_v4().to_string() }
    }

    fn entry(&self, target: &str) -> AuditEntry {
        AuditEntry {
            id: Uuid::now_v7(),
            at: NOW,
            actor: self.name.clone(),
            address: "::1".to_owned(),
            action: "an action".to_owned(),
            target: target.to_owned(),
            detail: "漢 \"?\"".to_owned(),
            outcome: AuditOutcome::Done,
            request: Uuid::new_v4(),
        }
    }

    /// The table for a creation, and its note.
    fn creating(&self, target: &str) -> (Arc<dyn TaskTable>, Note) {
        let note = Note::of_creation(self.entry(target));
        (self.table.noting(&note), note)
    }

    /// The table for a change of something known, and its note.
    fn changing(&self, target: &str) -> (Arc<dyn TaskTable>, Note) {
        let note = Note::new(self.entry(target));
        (self.table.noting(&note), note)
    }

    /// The targets of the actor's entries, in the order of time.
    async fn targets(&self) -> Vec<String> {
        let filter = AuditFilter { actor: Some(self.name.clone()), target: None };
        let mut entries = must(self.table.entries(&filter, None, 1000).await);
        entries.reverse();
        entries.into_iter().map(|entry| entry.target).collect()
    }
}

fn task() -> NewTask {
    NewTask { request: Uuid::new_v4(), task_type: TaskTypeId(7), param: TaskParam::default(), now: NOW }
}

async fn end(table: &Arc<dyn TaskTable>, id: TaskId) {
    assert!(must(table.begin_run(id, RunEpoch(0), NOW).await));
    let finish = Finish {
        run: RunEpoch(1),
        status: TaskStatus::Completed,
        counts: Counts::default(),
        reason: String::new(),
        result: None,
        now: NOW,
    };
    assert!(must(table.finish(id, &finish).await));
}

/// The entry is there, with the number of the task, also where the request found a task that was made before.
pub async fn an_inserted_task_is_named_in_its_entry(table: &Arc<dyn TaskTable>) {
    let (actor, task) = (Actor::new(table), task());
    let (noting, note) = actor.creating("task");
    assert!(!note.is_written());
    let id = must(noting.insert(&task).await);
    assert!(note.is_written());
    assert_eq!(must(actor.creating("task").0.insert(&task).await), id);
    // What runs failures again is about the task that has them.
    must(actor.changing("task 1").0.insert(&self::task()).await);
    let (one, other) = (format!("task {id}"), "task 1".to_owned());
    assert_eq!(actor.targets().await, [one.clone(), one, other]);
    let filter = AuditFilter { actor: Some(actor.name.clone()), target: None };
    let kept = must(table.entries(&filter, None, 1000).await).pop();
    assert_eq!(kept, Some(note.entry_of(id.0)));
}

/// Insertions share statements, also with those that have no entry.
pub async fn tasks_inserted_at_once_have_each_their_own_entry(table: &Arc<dyn TaskTable>) {
    let actor = Actor::new(table);
    let inserted = (0..100).map(|number| {
        let actor = &actor;
        async move {
            let noting = match number % 10 {
                0 => table.clone(),
                1 => actor.changing("task 1").0,
                _ => actor.creating("task").0,
            };
            (number, must(noting.insert(&task()).await))
        }
    });
    let mut expected: Vec<_> = join_all(inserted)
        .await
        .into_iter()
        .filter_map(|(number, id)| match number % 10 {
            0 => None,
            1 => Some("task 1".to_owned()),
            _ => Some(format!("task {id}")),
        })
        .collect();
    let mut targets = actor.targets().await;
    expected.sort();
    targets.sort();
    assert_eq!(targets, expected);
}

/// Neither the task nor the entry is there, and those beside it are.
pub async fn a_refused_task_has_no_entry_and_disturbs_no_other(table: &Arc<dyn TaskTable>) {
    let actor = Actor::new(table);
    let group = Uuid::new_v4().to_string();
    let stranger = NewTask { param: TaskParam { group, ..TaskParam::default() }, ..task() };
    let (noting, note) = actor.creating("task");
    let (other, task) = (actor.creating("task").0, task());
    let (refused, made) = join(noting.insert(&stranger), other.insert(&task)).await;
    assert!(matches!(refused, Err(StoreError::InvalidInput(_))), "{refused:?}");
    assert!(!note.is_written());
    assert_eq!(actor.targets().await, [format!("task {}", must(made))]);
}

/// The entry is about the task that is returned.
pub async fn a_task_with_a_key_is_named_whether_made_or_found(table: &Arc<dyn TaskTable>) {
    let actor = Actor::new(table);
    let unique = Unique { key: Uuid::new_v4().to_string(), scope: UniqueWhile::Running };
    let id = must(actor.creating("task").0.insert_unique(&task(), &unique).await);
    let (noting, note) = actor.creating("task");
    assert_eq!(must(noting.insert_unique(&task(), &unique).await), id);
    assert!(note.is_written());
    end(table, id).await;
    let next = must(actor.creating("task").0.insert_unique(&task(), &unique).await);
    assert_eq!(actor.targets().await, [id, id, next].map(|id| format!("task {id}")));
}

/// A flow by its own number, a task that waits for others by its.
pub async fn a_flow_is_named_in_its_entry(table: &Arc<dyn TaskTable>) {
    let actor = Actor::new(table);
    let member = |name: &str| NewMember {
        name: name.to_owned(),
        task_type: TaskTypeId(7),
        param: TaskParam::default(),
        after: Vec::new(),
    };
    let flow = |name: Option<&str>| NewFlow {
        request: Uuid::new_v4(),
        name: name.map(str::to_owned),
        retry_of: None,
        members: if name.is_some() { vec![member("one"), member("two")] } else { vec![member("")] },
        now: NOW,
    };
    let (noting, note) = actor.creating("flow");
    let tasks = must(noting.create_flow(&flow(Some("a flow"))).await);
    assert!(note.is_written());
    let row = must(table.get(tasks[0]).await).and_then(|row| row.flow);
    let number = row.unwrap_or_else(|| panic!("task {} is in no flow", tasks[0])).flow;
    let alone = must(actor.creating("task").0.create_flow(&flow(None)).await);
    must(actor.changing("flow 1").0.create_flow(&flow(Some("a retry"))).await);
    let expected = [format!("flow {number}"), format!("task {}", alone[0]), "flow 1".to_owned()];
    assert_eq!(actor.targets().await, expected);
}

/// A task that has ended is paused by nobody.
pub async fn a_control_has_an_entry_where_it_applies(table: &Arc<dyn TaskTable>) {
    let (actor, id) = (Actor::new(table), must(table.insert(&task()).await));
    for control in [Control::Pause, Control::Run, Control::Cancel] {
        let (noting, note) = actor.changing(&format!("{control:?}"));
        assert!(must(noting.set_control(id, control, "", NOW).await));
        assert!(note.is_written());
    }
    let (noting, note) = actor.changing("of no task");
    assert!(!must(noting.set_control(TaskId(u64::from(u32::MAX)), Control::Pause, "", NOW).await));
    assert!(!note.is_written());
    assert!(!must(noting.set_control(id, Control::Pause, "", NOW).await), "it is cancelled");
    assert_eq!(actor.targets().await, ["Pause", "Run", "Cancel"]);
}

/// Several changes under one note, one after the other and at once, have one entry.
pub async fn one_note_is_written_once(table: &Arc<dyn TaskTable>) {
    let actor = Actor::new(table);
    let ids = join_all((0..8).map(|_| async { must(table.insert(&task()).await) })).await;
    let (noting, _) = actor.changing("eight tasks");
    let pause = |id: TaskId| {
        let noting = noting.clone();
        async move { assert!(must(noting.set_control(id, Control::Pause, "", NOW).await)) }
    };
    join_all(ids.iter().map(|id| pause(*id))).await;
    pause(ids[0]).await;
    assert_eq!(actor.targets().await, ["eight tasks"]);
}

/// A name that is taken and a revision that is old change nothing.
pub async fn a_schedule_has_an_entry_for_each_change_that_applies(table: &Arc<dyn TaskTable>) {
    let actor = Actor::new(table);
    let spec = ScheduleSpec {
        name: Uuid::new_v4().to_string(),
        description: String::new(),
        when: "*/5 * * * *".to_owned(),
        zone: "UTC".to_owned(),
        template: Template::Task { task_type: TaskTypeId(7), param: Box::default() },
        overlap: Overlap::Skip,
        catch_up: std::time::Duration::from_secs(60),
        jitter: std::time::Duration::ZERO,
        start_at: None,
        end_at: None,
    };
    let state = ScheduleState::default();
    let new = NewSchedule { request: Uuid::new_v4(), spec, state: state.clone(), next_at: None, now: NOW };
    let (noting, note) = actor.changing("created");
    let row = must(noting.insert_schedule(&new).await);
    assert!(note.is_written());
    let (noting, note) = actor.changing("taken");
    let taken = noting.insert_schedule(&NewSchedule { request: Uuid::new_v4(), ..new }).await;
    assert!(taken.is_err() && !note.is_written(), "{taken:?}");
    let update = ScheduleUpdate { id: row.id, revision: row.revision, state, next_at: None };
    assert!(must(actor.changing("changed").0.update_schedule(&update).await));
    assert!(!must(actor.changing("late").0.update_schedule(&update).await));
    assert!(must(actor.changing("deleted").0.delete_schedule(row.id).await));
    assert!(!must(actor.changing("gone").0.delete_schedule(row.id).await));
    assert_eq!(actor.targets().await, ["created", "changed", "deleted"]);
}

/// Each kind of change has its entry, and what changes nothing has none.
pub async fn groups_types_tokens_and_actions_have_entries(table: &Arc<dyn TaskTable>) {
    let (actor, unique) = (Actor::new(table), Uuid::new_v4().simple().to_string());
    must(actor.changing("group").0.set_group(&ResourceGroup::named(&unique)).await);
    let definition = DefinedType {
        name: unique.clone(),
        version: 1,
        description: String::new(),
        schema: Value::Null,
        template: json!({}),
        updated_at: NOW,
        updated_by: String::new(),
    };
    assert!(must(actor.changing("defined").0.define_type(&definition).await));
    assert!(!must(actor.changing("defined again").0.define_type(&definition).await));
    let next = DefinedType { version: 2, ..definition };
    assert!(must(actor.changing("redefined").0.define_type(&next).await));
    assert!(must(actor.changing("undefined").0.delete_type(&unique).await));
    assert!(!must(actor.changing("undefined again").0.delete_type(&unique).await));
    let token = ApiToken {
        id: unique.clone(),
        digest: "0123456789abcdef".repeat(4),
        name: "a token".to_owned(),
        role: TokenRole::Reader,
        groups: Vec::new(),
        types: Vec::new(),
        created_at: NOW,
        created_by: String::new(),
        expires_at: None,
        last_used: None,
    };
    must(actor.changing("token").0.add_token(&token).await);
    assert!(must(actor.changing("revoked").0.remove_token(&unique).await));
    assert!(!must(actor.changing("revoked again").0.remove_token(&unique).await));
    let caller = BulkCaller { name: String::new(), address: String::new(), groups: Vec::new() };
    let spec = BulkSpec { caller, action: "cancel".to_owned(), filter: Value::Null, selected: 1 };
    let bulk = NewBulk { id: Uuid::new_v4(), spec, tasks: vec![1], now: NOW };
    must(actor.changing("bulk").0.add_bulk(&bulk).await);
    // Others look for what nobody works on.
    let ended = BulkUpdate { id: bulk.id, revision: 0, state: BulkState::default(), until: None };
    assert!(must(table.update_bulk(&ended).await));
    let (name, text) = (format!("a note {unique}"), |text: &str| text.to_owned());
    must(table.note_once(&name, "one").await);
    assert!(must(actor.changing("replaced").0.replace_note(&name, "one", "two").await));
    assert!(!must(actor.changing("not replaced").0.replace_note(&name, "one", "three").await));
    must(actor.changing("closed").0.close_items(TaskId(1 << 40)).await);
    let expected =
        ["group", "defined", "redefined", "undefined", "token", "revoked", "bulk", "replaced", "closed"];
    assert_eq!(actor.targets().await, expected.map(text));
}
