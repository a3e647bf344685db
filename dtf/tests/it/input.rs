//! Bad input, line by line: each is refused with a typed error that says what was wrong, and nothing of it is written. A
//! plugin that misbehaves ends its own task, and no other.

use std::sync::Arc;
use std::time::Duration;

use crate::common::{Fault, KIND, Numbers, Stage, count, ok};
use dtf::model::param::{Creator, MAX_NAME_CHARS, MAX_TYPE_PARAM_BYTES};
use dtf::model::plugin::{IterationMode, PluginRegistry, TaskConf, TaskPluginRegistration};
use dtf::model::table::{TaskFilter, TaskRow};
use dtf::model::{InvalidInput, Limits, Priority, TaskId, TaskParam, TaskStatus, TaskTypeId};
use dtf::{Client, ClientError, Dtf, DtfConfig, ServiceError};

const OTHER: TaskTypeId = TaskTypeId(101);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The creation is refused, and no task is there.
async fn refused(client: &Client, task_type: TaskTypeId, param: TaskParam) -> InvalidInput {
    let Err(ClientError::Invalid(invalid)) = client.create_task(task_type, param).await.map(|task| task.id())
    else {
        panic!("it was not refused as invalid")
    };
    assert!(!invalid.to_string().contains('\n'), "{invalid}");
    assert!(client.list_tasks(&TaskFilter::default(), None, 10).await.unwrap().is_empty(), "{invalid}");
    invalid
}

#[tokio::test(start_paused = true)]
async fn parameters_that_are_out_of_range_are_refused_and_nothing_is_written() {
    let stage = Stage::new();
    let client = stage.process("a", Numbers::new(ok)).client();
    let long = || "ü".repeat(MAX_NAME_CHARS + 1);
    let creator = |name: String| Creator { uid: 0, name };
    let too_long = [
        TaskParam { name: long(), ..count(1) },
        TaskParam { description: "x".repeat(1025), ..count(1) },
        TaskParam { creator: creator(long()), ..count(1) },
        TaskParam { group: long(), ..count(1) },
    ];
    for param in too_long {
        assert!(matches!(refused(&client, KIND, param).await, InvalidInput::TooLong { .. }));
    }
    let out_of_range = [
        (TaskParam { timeout: Duration::ZERO, ..count(1) }, "the timeout"),
        (TaskParam { timeout: 366 * DAY, ..count(1) }, "the timeout"),
        (TaskParam { priority: Priority(1999), ..count(1) }, "the priority"),
        (TaskParam { priority: Priority(9001), ..count(1) }, "the priority"),
        (
            TaskParam { limits: Limits { running: Some(0), rate: None }, ..count(1) },
            "the limit on running subtasks",
        ),
        (
            TaskParam { type_param: "x".repeat(MAX_TYPE_PARAM_BYTES).into(), ..TaskParam::default() },
            "the size of type_param",
        ),
    ];
    for (param, named) in out_of_range {
        let invalid = refused(&client, KIND, param).await;
        assert!(matches!(invalid, InvalidInput::OutOfRange { what, .. } if what == named), "{invalid}");
    }
    assert_eq!(
        refused(&client, TaskTypeId(9), count(1)).await,
        InvalidInput::UnknownType("9".into(), "numbers".into())
    );
    let nobody = TaskParam { group: "nobody's".into(), ..count(1) };
    assert_eq!(refused(&client, KIND, nobody).await, InvalidInput::UnknownGroup("nobody's".into()));
    let nameless = TaskParam { group: String::new(), ..count(1) };
    assert_eq!(refused(&client, KIND, nameless).await, InvalidInput::Empty("the resource group"));
    let wrong = TaskParam { type_param: "x".into(), ..TaskParam::default() };
    assert!(matches!(refused(&client, KIND, wrong).await, InvalidInput::TypeParam(_)));
}

#[test]
fn parameters_that_are_no_parameters_cannot_be_read() {
    let read = |json: &str| serde_json::from_str::<TaskParam>(json).map_err(|error| error.to_string());
    assert_eq!(read(r#"{"timeout": 5000}"#).unwrap().timeout, Duration::from_secs(5));
    for (json, named) in [
        (r#"{"timeout": -1}"#, "-1"),
        (r#"{"timeout": "soon"}"#, "soon"),
        (r#"{"timeuot": 1}"#, "timeuot"),
        (r#"{"name": "x""#, "EOF"),
        (r#"{"start_at": -5}"#, "-5"),
        (r#"{"priority": 6000.5}"#, "6000.5"),
    ] {
        let error = read(json).unwrap_err();
        assert!(error.contains(named), "{json}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_does_not_exist_or_has_ended_cannot_be_steered() {
    let stage = Stage::new();
    let dtf = stage.start("a", Numbers::new(ok)).await;
    let client = dtf.client();
    let refusal = |steered: Result<(), ClientError>| steered.unwrap_err().to_string();
    let none = TaskId(77);
    for steered in
        [client.pause_task(none).await, client.resume_task(none).await, client.cancel_task(none).await]
    {
        let missing = steered.unwrap_err();
        assert!(matches!(missing, ClientError::NoSuchTask(task) if task == none), "{missing:?}");
    }
    let task = client.create_task(KIND, count(3)).await.unwrap();
    let ended = task.wait().await.unwrap();
    let not_allowed = |asked| format!("task {} is completed and cannot be {asked}", task.id());
    assert_eq!(refusal(task.pause().await), not_allowed("paused"));
    assert_eq!(refusal(task.resume().await), not_allowed("resumed"));
    assert_eq!(refusal(task.cancel().await), not_allowed("cancelled"));
    assert_eq!(task.wait().await.unwrap(), ended, "the row was touched");
    dtf.stop().await;
}

fn registration(number: u32, name: &str, conf: TaskConf) -> TaskPluginRegistration {
    let plugin = Numbers { conf, ..Numbers::new(ok) };
    TaskPluginRegistration {
        task_type: TaskTypeId(number),
        name: name.to_owned(),
        description: String::new(),
        plugin: Arc::new(plugin),
    }
}

#[test]
fn a_type_has_one_plugin_and_a_configuration_in_range() {
    let mut plugins = PluginRegistry::default();
    plugins.register(registration(1, "one", TaskConf::default())).unwrap();
    let taken = |number: u32, name| InvalidInput::TypeTaken(TaskTypeId(number), String::from(name));
    let mut register = |number, name, conf| plugins.register(registration(number, name, conf));
    assert_eq!(register(1, "two", TaskConf::default()), Err(taken(1, "one")));
    assert_eq!(register(2, "one", TaskConf::default()), Err(taken(1, "one")));
    assert_eq!(register(2, "", TaskConf::default()), Err(InvalidInput::Empty("the task type's name")));
    let wrong = [
        TaskConf { subtask_timeout: Duration::ZERO, ..TaskConf::default() },
        TaskConf { task_type_timeout: Duration::ZERO, ..TaskConf::default() },
        TaskConf { queue_timeout: Some(Duration::ZERO), ..TaskConf::default() },
        TaskConf { max_attempts: 0, ..TaskConf::default() },
        TaskConf { backlog: 0, ..TaskConf::default() },
    ];
    for conf in wrong {
        assert!(matches!(register(2, "two", conf), Err(InvalidInput::OutOfRange { .. })));
    }
    register(2, "two", TaskConf::default()).unwrap();
    assert_eq!(plugins.iter().map(|known| known.name.as_str()).collect::<Vec<_>>(), ["one", "two"]);
}

#[tokio::test(start_paused = true)]
async fn a_subtask_timeout_above_the_limit_takes_a_setting() {
    let build = |longest: Option<Duration>| {
        let conf = TaskConf { subtask_timeout: Duration::from_secs(1801), ..TaskConf::default() };
        let mut config = DtfConfig::default();
        if let Some(longest) = longest {
            config.max_subtask_timeout = longest;
        }
        // In whichever order they are said.
        let builder =
            Dtf::builder(Stage::new().ports).register_task_type(registration(1, "slow", conf)).unwrap();
        builder.config(config).plugins_on(tokio::runtime::Handle::current()).build().map(drop)
    };
    let Err(ServiceError::InvalidInput(InvalidInput::OutOfRange { what, .. })) = build(None) else {
        panic!()
    };
    assert_eq!(what, "the subtask timeout");
    build(Some(Duration::from_secs(1801))).unwrap();
}

/// Runs a task of a plugin with this fault, and beside it one of a plugin without: that one completes. Nothing is left.
async fn beside_another(fault: Fault) -> TaskRow {
    let stage = Stage::new();
    let mut plugin = Numbers::new(ok);
    plugin.fault = Some(fault);
    plugin.conf.iteration = IterationMode::Yes;
    let mut other = Numbers::new(ok);
    other.takes = Duration::from_secs(10);
    let dtf = stage.process_knowing("a", vec![(KIND, plugin), (OTHER, other)]);
    dtf.start_all().await.unwrap();
    let create = async |of, subtasks| dtf.client().create_task(of, count(subtasks)).await.unwrap();
    let (task, beside) = (create(KIND, 10).await, create(OTHER, 100).await);
    let ended = tokio::time::timeout(DAY, async { tokio::join!(task.wait(), beside.wait()) });
    let (row, beside) = ended.await.expect("they end");
    let beside = beside.unwrap();
    assert_eq!((beside.status, beside.counts.succeeded), (TaskStatus::Completed, 100), "{fault:?}");
    let row = row.unwrap();
    assert_eq!(row.counts.counted(), row.counts.created, "{fault:?}");
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert!(stage.queues.is_empty(), "{fault:?} leaves something behind");
    dtf.stop().await;
    row
}

#[tokio::test(start_paused = true)]
async fn what_a_generator_must_not_give_ends_its_task_and_nothing_of_it_is_kept() {
    for (fault, says) in [
        (Fault::NoGenerator, "NoGenerator"),
        (Fault::BeginFails, "BeginFails"),
        (Fault::GivesTooMany, "it gave"),
        (
            Fault::BodyTooLarge,
            "the size of a subtask's body is 1048577 bytes; allowed is at most 1048576 bytes",
        ),
        (Fault::GeneratorStatusTooLarge, "its status has 65537 bytes; at most 65536 are allowed"),
        (Fault::GeneratorHangs, "the plugin"),
    ] {
        let row = beside_another(fault).await;
        assert_eq!((row.status, row.counts.created), (TaskStatus::Exceptional, 0), "{fault:?}");
        assert!(row.reason.starts_with("the generator failed: "), "{fault:?}: {}", row.reason);
        assert!(row.reason.contains(says), "{fault:?}: {}", row.reason);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_collector_must_not_give_ends_its_task_and_nothing_of_it_is_kept() {
    for (fault, says) in [
        (Fault::NoCollector, "NoCollector"),
        (Fault::CollectorFails, "CollectorFails"),
        (Fault::FollowUpTooLarge, "the size of a subtask's body is 1048577 bytes"),
        (Fault::StaysOpenTooLarge, "the size of a subtask's body is 1048577 bytes"),
        (Fault::CollectorStatusTooLarge, "the collector's status has 65537 bytes; at most 65536 are allowed"),
        (Fault::ResultTooLarge, "the size of the task's result"),
        (Fault::CollectorHangs, "the plugin"),
    ] {
        let row = beside_another(fault).await;
        assert_eq!((row.status, row.counts.created), (TaskStatus::Exceptional, 10), "{fault:?}");
        assert!(row.reason.contains(says), "{fault:?}: {}", row.reason);
        assert_eq!(row.result, None, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_executor_must_not_give_fails_its_subtasks() {
    for fault in [Fault::NoExecutor, Fault::ResultBodyTooLarge] {
        let row = beside_another(fault).await;
        assert_eq!((row.status, row.counts.failed), (TaskStatus::Completed, 10), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn progress_that_is_none_is_not_shown() {
    let stage = Stage::new();
    let mut plugin = Numbers::new(ok);
    plugin.fault = Some(Fault::ProgressIsGarbage);
    plugin.takes = Duration::from_secs(1);
    let dtf = stage.start("a", plugin).await;
    let task = dtf.client().create_task(KIND, count(5000)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let progress = task.status().await.unwrap().progress();
    assert!(progress.succeeded > 0 && progress.generator.is_none(), "{progress:?}");
    task.cancel().await.unwrap();
    task.wait().await.unwrap();
    dtf.stop().await;
}
