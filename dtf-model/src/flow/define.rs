//! Flows by local names: the order of their tasks, and what a retry runs.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use crate::error::InvalidInput;
use crate::ids::{TaskId, TaskTypeId};
use crate::param::TaskParam;
use crate::table::TaskRow;

use super::{Condition, Dependency, End, NewMember, On, OnTask};
use crate::status::TaskStatus;

/// A predecessor, by its local name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Predecessor {
    /// The local name.
    pub task: String,
    /// The condition on its end.
    pub condition: Condition,
}

/// A task of a flow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlowTask {
    /// The type.
    pub task_type: TaskTypeId,
    /// The parameters.
    pub param: TaskParam,
    /// The tasks that it waits for.
    pub after: Vec<Predecessor>,
}

/// The tasks of a flow by their local names.
pub type FlowDefinition = BTreeMap<String, FlowTask>;

/// Puts the tasks of a flow in an order in which each waits for earlier ones only. Among those that could come next, the first by
/// name does, so the order depends on nothing else.
///
/// # Errors
/// [`InvalidInput::Flow`]: a task waits for an unknown name, or the tasks wait for each other in a circle.
pub fn define(tasks: FlowDefinition) -> Result<Vec<NewMember>, InvalidInput> {
    let wrong = |why: String| InvalidInput::Flow(why);
    for (name, task) in &tasks {
        if name.is_empty() || name.trim() != name {
            return Err(wrong(format!(
                "{name:?} is no name of a task; write one without spaces at its ends"
            )));
        }
        if let Some(unknown) = task.after.iter().find(|on| !tasks.contains_key(&on.task)) {
            let known = tasks.keys().map(String::as_str).take(20).collect::<Vec<_>>().join(", ");
            return Err(wrong(format!(
                "task {name:?} waits for {:?}, which is unknown; the flow has {known}",
                unknown.task
            )));
        }
    }
    // The tasks that wait for each, and the number that each waits for.
    let mut dependents: HashMap<&str, Vec<&str>> = HashMap::new();
    let mut open: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, task) in &tasks {
        let on: BTreeSet<&str> = task.after.iter().map(|on| on.task.as_str()).collect();
        open.insert(name, on.len());
        on.into_iter().for_each(|on| dependents.entry(on).or_default().push(name));
    }
    let mut ready: BTreeSet<&str> =
        open.iter().filter(|(_, open)| **open == 0).map(|(name, _)| *name).collect();
    let mut order: Vec<String> = Vec::with_capacity(tasks.len());
    while let Some(next) = ready.pop_first() {
        order.push(next.to_owned());
        for dependent in dependents.get(next).into_iter().flatten() {
            let open = open.entry(dependent).or_default();
            *open -= 1;
            if *open == 0 {
                ready.insert(dependent);
            }
        }
    }
    if order.len() < tasks.len() {
        let circle: Vec<_> = tasks.keys().filter(|name| !order.contains(name)).take(10).cloned().collect();
        return Err(wrong(format!(
            "tasks wait for each other in a circle: {}; take out one of the dependencies",
            circle.join(", ")
        )));
    }
    let places: HashMap<String, usize> = order.iter().cloned().zip(0..).collect();
    let mut tasks = tasks;
    let members = order.into_iter().filter_map(|name| tasks.remove(&name).map(|task| (name, task)));
    Ok(members
        .map(|(name, task)| {
            let on = |on: Predecessor| OnTask {
                on: On::Member(places[&on.task]),
                condition: on.condition,
                label: on.task,
            };
            let after = task.after.into_iter().map(on).collect();
            NewMember { name, task_type: task.task_type, param: task.param, after }
        })
        .collect())
}

/// Returns the tasks that a retry of a flow creates: those that failed, and those that were skipped behind them. A task that completed
/// with failed subtasks runs those subtasks again. What such a task waited for outside of the retry it waits for by id; it has ended.
///
/// # Errors
/// [`InvalidInput::Flow`] where nothing failed.
pub fn retry(tasks: &[TaskRow], dependencies: &[Dependency]) -> Result<Vec<NewMember>, InvalidInput> {
    let mut again: BTreeSet<TaskId> = BTreeSet::new();
    let on_of = |task: TaskId| dependencies.iter().filter(move |dependency| dependency.task == task);
    // By id: a task waits for earlier ones only.
    for row in tasks {
        let failed = End::of(row.status, &row.counts) == Some(End::Failed);
        let skipped = row.status == TaskStatus::Skipped
            && on_of(row.id).any(|dependency| again.contains(&dependency.on));
        if failed || skipped {
            again.insert(row.id);
        }
    }
    if again.is_empty() {
        return Err(InvalidInput::Flow(
            "no task of the flow has failed; there is nothing to run again".to_owned(),
        ));
    }
    let places: HashMap<TaskId, usize> = again.iter().copied().zip(0..).collect();
    let rows = tasks.iter().filter(|row| again.contains(&row.id));
    Ok(rows
        .map(|row| {
            let after = on_of(row.id).map(|dependency| OnTask {
                on: places.get(&dependency.on).map_or(On::Task(dependency.on), |place| On::Member(*place)),
                condition: dependency.condition,
                label: dependency.label.clone(),
            });
            let retry_of = (row.status == TaskStatus::Completed).then_some(row.id);
            let name = row.flow.as_ref().map(|member| member.name.clone()).unwrap_or_default();
            let param = TaskParam { retry_of, start_at: None, ..row.param.clone() };
            NewMember { name, task_type: row.task_type, param, after: after.collect() }
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::flow::FlowMember;
    use crate::ids::FlowId;
    use crate::status::Counts;
    use crate::table::NewTask;

    fn task(after: &[&str]) -> FlowTask {
        let on = |task: &&str| Predecessor { task: (*task).to_owned(), condition: Condition::Completed };
        FlowTask {
            task_type: TaskTypeId(1),
            param: TaskParam::default(),
            after: after.iter().map(on).collect(),
        }
    }

    fn flow(tasks: &[(&str, &[&str])]) -> FlowDefinition {
        tasks.iter().map(|(name, after)| ((*name).to_owned(), task(after))).collect()
    }

    #[test]
    fn tasks_come_behind_those_that_they_wait_for() {
        let members = define(flow(&[("a", &["z"]), ("b", &["a", "z"]), ("z", &[])])).unwrap();
        let names: Vec<_> = members.iter().map(|member| member.name.as_str()).collect();
        assert_eq!(names, ["z", "a", "b"]);
        assert_eq!(
            members[2].after.iter().map(|on| on.on).collect::<Vec<_>>(),
            [On::Member(1), On::Member(0)]
        );
    }

    #[test]
    fn circles_and_unknown_names_are_refused_in_one_line() {
        for (tasks, said) in [
            (flow(&[("a", &["b"]), ("b", &["a"]), ("c", &[])]), "in a circle: a, b;"),
            (flow(&[("a", &["a"])]), "in a circle: a;"),
            (flow(&[("a", &["x"])]), "\"x\", which is unknown"),
            (flow(&[("", &[])]), "no name"),
        ] {
            let line = define(tasks).unwrap_err().to_string();
            assert!(line.contains(said) && !line.contains('\n'), "{line}");
        }
    }

    fn ended(id: u64, status: TaskStatus, failed: u64) -> TaskRow {
        let new =
            NewTask { request: Uuid::nil(), task_type: TaskTypeId(1), param: TaskParam::default(), now: 0 };
        let counts = Counts { created: failed, failed, ..Counts::default() };
        let flow = Some(FlowMember { flow: FlowId(1), name: format!("t{id}") });
        TaskRow { status, counts, flow, ..TaskRow::created(TaskId(id), &new) }
    }

    #[test]
    fn a_retry_runs_what_failed_and_what_was_skipped_behind_it() {
        use TaskStatus::{Cancelled, Completed, Exceptional, Skipped};
        let depends = |task, on, condition| Dependency {
            task: TaskId(task),
            on: TaskId(on),
            condition,
            label: format!("t{on}"),
        };
        let rows = [
            ended(1, Completed, 0),
            ended(2, Exceptional, 0),
            ended(3, Completed, 5),
            // Skipped behind the second, and behind that.
            ended(4, Skipped, 0),
            ended(5, Skipped, 0),
            // Skipped as the first one did not fail.
            ended(6, Skipped, 0),
            ended(7, Cancelled, 0),
            ended(8, Skipped, 0),
        ];
        let dependencies = [
            depends(4, 1, Condition::Completed),
            depends(4, 2, Condition::Completed),
            depends(5, 4, Condition::Completed),
            depends(6, 1, Condition::Failed),
            depends(8, 7, Condition::Completed),
        ];
        let members = retry(&rows, &dependencies).unwrap();
        let names: Vec<_> = members.iter().map(|member| member.name.as_str()).collect();
        assert_eq!(names, ["t2", "t3", "t4", "t5"]);
        assert_eq!(members[1].param.retry_of, Some(TaskId(3)), "its failed subtasks only");
        assert_eq!(members[0].param.retry_of, None);
        let on = |member: &NewMember| member.after.iter().map(|on| on.on).collect::<Vec<_>>();
        assert_eq!(on(&members[2]), [On::Task(TaskId(1)), On::Member(0)]);
        assert_eq!(on(&members[3]), [On::Member(2)]);
        assert!(retry(&rows[..1], &[]).unwrap_err().to_string().contains("nothing to run again"));
    }

    proptest! {
        /// Any graph is put in order or found to have a circle.
        #[test]
        fn any_graph_is_ordered_or_refused(edges in prop::collection::vec((0_usize..12, 0_usize..12), 0..30)) {
            let mut tasks: FlowDefinition = (0..12).map(|name| (format!("t{name:02}"), task(&[]))).collect();
            for (task, on) in &edges {
                let on = Predecessor { task: format!("t{on:02}"), condition: Condition::Ended };
                if let Some(task) = tasks.get_mut(&format!("t{task:02}")) {
                    task.after.push(on);
                }
            }
            // Another way to find a circle: taking away what waits for nothing that is left.
            let mut left: BTreeSet<usize> = (0..12).collect();
            while let Some(free) = left.iter().copied().find(|task| !edges.iter().any(|(of, on)| of == task && left.contains(on))) {
                left.remove(&free);
            }
            match define(tasks) {
                Ok(members) => {
                    prop_assert!(left.is_empty());
                    for (at, member) in members.iter().enumerate() {
                        prop_assert!(member.after.iter().all(|on| matches!(on.on, On::Member(earlier) if earlier < at)));
                    }
                }
                Err(_) => prop_assert!(!left.is_empty()),
            }
        }
    }
}
