//! Each role as a process of its own, on a real etcd, a real MariaDB and a real Redis: they are killed, stopped and
//! restarted, and so are the servers, and the books are right every time.

use std::time::{Duration, Instant};

use integration_tests::stage::{ROLES, SHARDS, Service, Site, until};
use rustix::process::Signal;

#[test]
fn a_task_is_submitted_followed_and_ended_and_the_roles_end_in_good_order() {
    let Some(site) = Site::to_harm().map(Site::with_long_sessions) else { return };
    let mut services = site.one_of_each();
    let file = site.file("executed");
    let param = serde_json::json!({ "count": 5000, "sleep_ms": 0, "file": file }).to_string();
    let out = site.run(&["task", "submit", "books", "--param", &param, "--watch", "-o", "json"]);
    let (text, error) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert_eq!(out.status.code(), Some(0), "{text} {error}");
    let summary: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (summary["status"].as_str(), summary["counts"]["succeeded"].as_u64()),
        (Some("completed"), Some(5000))
    );
    for service in &mut services {
        service.ends_well();
    }
}

#[test]
fn every_role_is_killed_in_mid_task() {
    let Some(site) = Site::to_harm() else { return };
    let mut services = site.one_of_each();
    let task = site.submit(8000, 10, &[]);
    for (at, role) in ROLES.iter().enumerate() {
        task.goes_on(400);
        services[at].kill();
        services[at] = site.start(&format!("{role}-2"), role);
    }
    site.balance(&task);
}

#[test]
fn an_executor_is_stopped_for_longer_than_its_session_and_comes_back() {
    let Some(site) = Site::to_harm() else { return };
    let rest = site.serve("rest", "manager,generator,scheduler,collector");
    let (stopped, other) = (site.serve("e1", "executor"), site.serve("e2", "executor"));
    let task = site.submit(6000, 10, &[]);
    until("both execute", || stopped.parts() > 0 && other.parts() > 0);
    task.goes_on(300);
    stopped.signal(Signal::STOP);
    until("the other one has all shards", || other.parts() == SHARDS);
    task.goes_on(300);
    stopped.signal(Signal::CONT);
    site.balance(&task);
    until("it is back", || stopped.is_ready());
    drop((rest, stopped, other));
}

#[test]
fn no_subtask_fails_because_of_a_rolling_restart() {
    let Some(site) = Site::to_harm().map(Site::with_long_sessions) else { return };
    let mut services = vec![site.serve("a", "all"), site.serve("b", "all")];
    let task = site.submit(6000, 10, &[]);
    for at in [0, 1, 0, 1] {
        task.goes_on(300);
        services[at].ends_well();
        services[at] = site.serve(&services[at].instance, "all");
    }
    site.balance(&task);
    for service in &mut services {
        service.ends_well();
    }
}

#[test]
fn a_running_task_goes_on_while_mysql_is_down_and_a_new_one_is_refused_clearly() {
    let Some(mut site) = Site::to_harm() else { return };
    let services = site.one_of_each();
    let task = site.submit(20_000, 10, &[]);
    task.goes_on(300);
    site.sql.kill().unwrap();
    let down = Instant::now();
    let out =
        site.run(&["task", "submit", "books", "--param", r#"{"count": 1, "sleep_ms": 0, "file": "x"}"#]);
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(said.contains("mysql.url is mysql://") && said.contains("cannot be reached"), "{said}");
    task.goes_on(2000);
    std::thread::sleep(Duration::from_secs(20).saturating_sub(down.elapsed()));
    site.sql.restart().unwrap();
    site.balance(&task);
    drop(services);
}

#[test]
fn redis_is_killed_and_started_again_with_what_it_wrote() {
    let Some(mut site) = Site::to_harm() else { return };
    let services = site.one_of_each();
    let task = site.submit(6000, 10, &[]);
    for _ in 0..2 {
        task.goes_on(500);
        site.redis.kill().unwrap();
        site.redis.restart().unwrap();
    }
    site.balance(&task);
    drop(services);
}

#[test]
fn subtasks_that_stay_open_are_executed_again_and_counted_once_whoever_is_killed() {
    let Some(site) = Site::to_harm() else { return };
    let mut services = site.one_of_each();
    let task = site.submit_with(1500, 2, |param| param.rounds = 2, &[]);
    for (at, role) in ROLES.iter().enumerate().filter(|(_, role)| ["executor", "collector"].contains(role)) {
        task.goes_on(400);
        services[at].kill();
        services[at] = site.start(&format!("{role}-2"), role);
    }
    site.balance(&task);
    assert!(task.executed() >= 3 * task.count, "{} executions", task.executed());
}

#[test]
fn executors_and_the_scheduler_are_killed_and_ordered_keys_stay_in_order() {
    const KEYS: u64 = 40;
    let Some(site) = Site::to_harm() else { return };
    let rest = site.serve("rest", "manager,generator,collector");
    let mut scheduler = site.serve("s0", "scheduler");
    let mut executors = vec![site.serve("e0", "executor"), site.serve("e1", "executor")];
    let task = site.submit_with(4000, 5, |param| (param.keys, param.held) = (Some(KEYS), true), &[]);
    for round in 2..4 {
        task.goes_on(400);
        executors.remove(0).kill();
        executors.push(site.serve(&format!("e{round}"), "executor"));
        task.goes_on(400);
        scheduler.kill();
        scheduler = site.serve(&format!("s{round}"), "scheduler");
    }
    site.balance(&task);
    assert_eq!(task.out_of_order(KEYS), Vec::<String>::new());
    drop((rest, scheduler, executors));
}

#[test]
fn all_roles_are_killed_at_once() {
    let Some(site) = Site::to_harm() else { return };
    let mut services = site.one_of_each();
    let task = site.submit(6000, 10, &[]);
    for round in 2..4 {
        task.goes_on(500);
        services.iter_mut().for_each(Service::kill);
        services = ROLES.iter().map(|role| site.start(&format!("{role}-{round}"), role)).collect();
    }
    site.balance(&task);
    drop(services);
}

#[test]
fn a_collector_dies_between_its_callback_and_its_commit() {
    let Some(site) = Site::to_harm() else { return };
    let mut services = site.one_of_each();
    let task = site.submit_with(2000, 2, |param| param.fatal = Some(1200), &[]);
    let collector = &mut services[4];
    until("the collector has died", || collector.has_ended());
    *collector = site.start("collector-2", "collector");
    site.balance(&task);
    drop(services);
}

#[test]
fn a_task_that_was_half_created_begins_again() {
    let Some(site) = Site::to_harm() else { return };
    assert!(site.run(&["migrate"]).status.success());
    // Nobody is there yet. One whose manager died between its row and its queues, and one that nobody has looked at.
    let (half, new) = (site.submit(300, 1, &[]), site.submit(300, 1, &[]));
    site.change(&format!(
        "UPDATE tbl_task SET task_status = 2, run_epoch = 1, start_time = create_time WHERE id = {}",
        half.id
    ));
    let services = site.one_of_each();
    for (task, run) in [(&half, 2), (&new, 1)] {
        site.balance(task);
        assert_eq!(site.until_ended(task)["run"], run);
    }
    drop(services);
}

#[test]
fn etcd_loses_all_its_data_in_mid_task() {
    let Some(mut site) = Site::to_harm() else { return };
    let services = site.one_of_each();
    let task = site.submit(8000, 10, &[]);
    for _ in 0..2 {
        task.goes_on(500);
        site.etcd.kill().unwrap();
        site.etcd.forget_everything().unwrap();
        site.etcd.restart().unwrap();
    }
    site.balance(&task);
    assert_eq!(site.until_ended(&task)["run"], 1, "it went on where it was");
    drop(services);
}
