//! Resource groups: who may create tasks in them, and how the executors are shared between them.

use std::time::Duration;

use crate::common::{KIND, Numbers, Stage, count, ok};
use dtf::ClientError;
use dtf::TaskHandle;
use dtf::model::group::{DEFAULT_GROUP, DEFAULT_QUOTA};
use dtf::model::{InvalidInput, ResourceGroup, TaskParam};

fn in_group(group: &str, subtasks: u64) -> TaskParam {
    TaskParam { group: group.into(), timeout: Duration::from_secs(24 * 3600), ..count(subtasks) }
}

async fn succeeded(tasks: &[&TaskHandle]) -> Vec<u64> {
    let mut done = Vec::new();
    for task in tasks {
        done.push(task.status().await.unwrap().progress().succeeded);
    }
    done
}

/// Returns the number of subtasks of each task that succeed within this time.
async fn within(tasks: &[&TaskHandle], span: Duration) -> Vec<u64> {
    let before = succeeded(tasks).await;
    tokio::time::sleep(span).await;
    succeeded(tasks).await.iter().zip(before).map(|(after, before)| after - before).collect()
}

#[tokio::test(start_paused = true)]
async fn groups_are_listed_and_given_quotas() {
    let client = Stage::new().process("a", Numbers::new(ok)).client();
    assert_eq!(client.groups().await.unwrap(), [ResourceGroup::default()]);
    client.set_quota("batch", 7).await.unwrap();
    let described = ResourceGroup { description: "nightly".into(), ..ResourceGroup::named("batch") };
    client.set_group(&described).await.unwrap();
    client.set_quota("batch", 8).await.unwrap();
    assert_eq!(client.group("batch").await.unwrap(), Some(ResourceGroup { quota: 8, ..described }));
    let names: Vec<_> = client.groups().await.unwrap().into_iter().map(|group| group.name).collect();
    assert_eq!(names, ["batch", DEFAULT_GROUP]);
    let refused = client.set_quota("batch", 0).await.unwrap_err().to_string();
    assert_eq!(refused, "the quota is 0; allowed is 1 to 1000000");
}

#[tokio::test(start_paused = true)]
async fn a_task_of_an_unknown_group_is_refused_and_not_made() {
    let client = Stage::new().process("a", Numbers::new(ok)).client();
    let refused = client.create_task(KIND, in_group("nobody", 1)).await.map(|task| task.id());
    assert!(
        matches!(&refused, Err(ClientError::Invalid(InvalidInput::UnknownGroup(name))) if name == "nobody")
    );
    assert!(client.list_tasks(&Default::default(), None, 10).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_changed_quota_takes_effect_within_a_second() {
    let stage = Stage::new();
    let mut plugin = Numbers::new(ok);
    plugin.takes = Duration::from_millis(100);
    let dtf = stage.start("a", plugin).await;
    let client = dtf.client();
    client.set_quota("large", 3 * DEFAULT_QUOTA).await.unwrap();
    let small = client.create_task(KIND, in_group(DEFAULT_GROUP, 1_000_000)).await.unwrap();
    let large = client.create_task(KIND, in_group("large", 1_000_000)).await.unwrap();
    let tasks = [&small, &large];
    while succeeded(&tasks).await.contains(&0) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    // 4 slots of 100 ms each: 400 in 10 s.
    let got = within(&tasks, Duration::from_secs(10)).await;
    assert!(got[0].abs_diff(100) <= 8 && got[1].abs_diff(300) <= 8, "{got:?}");
    client.set_quota("large", DEFAULT_QUOTA).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let got = within(&tasks, Duration::from_secs(10)).await;
    assert!(got[0].abs_diff(200) <= 8 && got[1].abs_diff(200) <= 8, "{got:?}");
    for task in tasks {
        task.cancel().await.unwrap();
        task.wait().await.unwrap();
    }
    dtf.stop().await;
}
