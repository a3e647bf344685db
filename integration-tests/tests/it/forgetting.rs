//! Redis loses what it wrote last, or everything, on one server or on one node of a Cluster, in the middle of a task: the books
//! are right all the same.

use integration_tests::stage::{Site, Task};
use test_servers::servers::{Redis, RedisCluster};

/// A site whose queues are on a Cluster.
fn on_a_cluster() -> Option<(Site, RedisCluster)> {
    let mut site = Site::to_harm()?;
    let cluster = RedisCluster::private().unwrap();
    site.set("DTF_REDIS_URL", cluster.urls().swap_remove(0));
    site.set("DTF_REDIS_FURTHER_URLS", cluster.urls()[1..].join(","));
    site.set("DTF_REDIS_TOPOLOGY", "cluster".to_owned());
    Some((site, cluster))
}

/// The last moment of work is forgotten by this server.
fn forgets_the_last_moment(redis: &mut Redis, task: &Task) {
    let before = redis.written().unwrap();
    task.goes_on(500);
    redis.kill().unwrap();
    redis.forget_behind(before).unwrap();
    redis.restart().unwrap();
}

/// A task that does not end before it is looked at whether its books are right.
fn held(site: &Site, count: u64, sleep_ms: u64) -> Task {
    site.submit_with(count, sleep_ms, |param| param.held = true, &[])
}

fn until_run(site: &Site, task: &Task, run: u64) {
    site.until_row(task, &format!("run {run} has begun"), |row| row["run"].as_u64() >= Some(run));
}

/// The number of the run in which a task ended.
fn run_of(site: &Site, task: &Task) -> u64 {
    site.until_ended(task)["run"].as_u64().unwrap()
}

#[test]
fn redis_is_killed_and_its_file_lacks_the_last_moment() {
    let Some(mut site) = Site::to_harm() else { return };
    let services = site.one_of_each();
    let task = held(&site, 8000, 10);
    for _ in 0..3 {
        task.goes_on(500);
        forgets_the_last_moment(&mut site.redis, &task);
    }
    site.balance(&task);
    assert_eq!(run_of(&site, &task), 1, "it went on where it was");
    drop(services);
}

#[test]
fn one_node_of_a_cluster_lacks_the_last_moment() {
    let Some((site, mut cluster)) = on_a_cluster() else { return };
    let services = site.one_of_each();
    let task = held(&site, 8000, 10);
    for node in cluster.nodes() {
        task.goes_on(500);
        forgets_the_last_moment(node, &task);
    }
    site.balance(&task);
    assert_eq!(run_of(&site, &task), 1, "it went on where it was");
    drop(services);
}

#[test]
fn redis_is_emptied_and_its_tasks_are_started_again() {
    let Some(mut site) = Site::to_harm() else { return };
    let services = site.one_of_each();
    let task = held(&site, 3000, 20);
    task.goes_on(300);
    site.redis.flush().unwrap();
    until_run(&site, &task, 2);
    site.redis.kill().unwrap();
    site.redis.forget_everything().unwrap();
    site.redis.restart().unwrap();
    until_run(&site, &task, 3);
    site.balance(&task);
    drop(services);
}

#[test]
fn each_node_of_a_cluster_is_emptied_in_turn() {
    let Some((site, mut cluster)) = on_a_cluster() else { return };
    let services = site.one_of_each();
    let task = held(&site, 3000, 20);
    for node in cluster.nodes() {
        task.goes_on(300);
        node.flush().unwrap();
    }
    // The queues of a task are on one node.
    until_run(&site, &task, 2);
    site.balance(&task);
    drop(services);
}
