//! A process that is told to end: what runs may come to its end, the rest is handed over, and it ends in good order; told twice,
//! it ends at once.

use integration_tests::stage::{Service, Site, Task, until};
use rustix::process::Signal;
use test_servers::proxy::Passage;

const REST: &str = "manager,generator,scheduler,collector";
/// Longer than any test.
const FOR_EVER: u64 = 1_000_000;

fn until_begun(task: &Task, count: u64) {
    until(&format!("{count} have begun"), || task.begun() >= count);
}

fn until_draining(service: &Service) {
    until("it is draining", || service.report().is_some_and(|report| report["phase"] == "draining"));
}

fn cancel(site: &Site, task: &Task) {
    assert!(site.run(&["task", "cancel", &task.id.to_string()]).status.success());
    assert_eq!(site.until_ended(task)["status"], "cancelled");
}

#[test]
fn what_an_executor_runs_when_it_leaves_comes_to_its_end_there() {
    let Some(site) = Site::to_harm().map(Site::with_long_sessions) else { return };
    let _rest = site.serve("rest", REST);
    let mut executor = site.serve("leaves", "executor");
    // As many as it has slots, and longer than the margin of its session (2 s).
    let task = site.submit(8, 5000, &[]);
    until_begun(&task, 8);
    executor.ends_well();
    assert_eq!((task.begun(), task.executed()), (8, 8));
    site.balance(&task);
}

/// Whoever leaves takes nothing new, and gives back what waits behind the work that it still does.
#[test]
fn nothing_waits_for_a_process_that_leaves() {
    let Some(mut site) = Site::to_harm().map(Site::with_long_sessions) else { return };
    site.set("DTF_STOP_GRACE", "10m");
    let _rest = site.serve("rest", REST);
    let mut executor = site.serve("leaves", "executor");
    // More than it has slots: the others wait on its shards.
    let long = site.submit(20, FOR_EVER, &[]);
    until_begun(&long, 8);
    let other = site.serve("stays", "executor");
    // A shard of which something runs stays where it is while its holder leaves: there have to be others.
    let half = integration_tests::stage::SHARDS / 2;
    until("each holds half of the shards", || executor.parts() == half && other.parts() == half);
    executor.signal(Signal::TERM);
    until_draining(&executor);
    until_begun(&long, 16);
    assert!(!executor.has_ended());
    cancel(&site, &long);
    let short = site.submit(500, 1, &[]);
    site.balance(&short);
    executor.has_ended_with(0);
}

#[test]
fn what_takes_longer_than_the_grace_is_run_elsewhere() {
    let Some(mut site) = Site::to_harm().map(Site::with_long_sessions) else { return };
    site.set("DTF_STOP_GRACE", "1s");
    let _rest = site.serve("rest", REST);
    let mut executor = site.serve("leaves", "executor");
    let task = site.submit(4, FOR_EVER, &[]);
    until_begun(&task, 4);
    let _other = site.serve("stays", "executor");
    executor.ends_well();
    until_begun(&task, 8);
    assert_eq!(task.executed(), 0);
    cancel(&site, &task);
}

#[test]
fn told_twice_it_ends_at_once() {
    let Some(site) = Site::to_harm().map(Site::with_long_sessions) else { return };
    let _rest = site.serve("rest", REST);
    let mut executor = site.serve("leaves", "executor");
    let task = site.submit(4, FOR_EVER, &[]);
    until_begun(&task, 4);
    executor.signal(Signal::TERM);
    until_draining(&executor);
    executor.signal(Signal::TERM);
    executor.has_ended_with(143);
    cancel(&site, &task);
}

/// Its session is what lets it go on: without, others run the same.
#[test]
fn who_loses_its_session_while_it_leaves_stops_at_once() {
    let Some(site) = Site::to_harm() else { return };
    let _rest = site.serve("rest", REST);
    let network = site.network();
    let executor = site.start_with("leaves", "executor", &network.settings);
    executor.until_ready();
    let task = site.submit(4, FOR_EVER, &[]);
    until_begun(&task, 4);
    let other = site.serve("stays", "executor");
    executor.signal(Signal::TERM);
    until_draining(&executor);
    network.ways[0].let_pass(Passage::Nothing);
    until("it has let go", || executor.parts() == 0);
    until("the other one has all shards", || other.parts() == integration_tests::stage::SHARDS);
    until_begun(&task, 8);
    cancel(&site, &task);
}
