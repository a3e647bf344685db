//! The numbers of parts that all processes of a cluster agree on: one that is configured otherwise is refused, and they grow
//! when all have ended, with tasks in the middle.

use integration_tests::stage::{SHARDS, Site, until};

#[test]
fn a_process_that_divides_the_work_otherwise_is_refused_and_the_numbers_grow_when_all_have_ended() {
    let Some(mut site) = Site::to_harm().map(Site::with_long_sessions) else { return };
    let mut rest = site.serve("rest", "manager,generator,scheduler,collector");
    let mut executor = site.serve("e1", "executor");
    let task = site.submit(4000, 10, &[]);
    task.goes_on(300);

    let more = (SHARDS * 2).to_string();
    site.further.push(("DTF_SHAPE_SHARDS".to_owned(), more));
    for roles in ["all", "executor"] {
        let mut other = site.start("other", roles);
        until("it is refused", || other.has_ended());
        let words = other.last_words();
        assert!(
            words.contains("8 as the number of shards") || words.contains("its cluster has 8"),
            "{words}"
        );
    }
    let refused = site.run(&["cluster", "grow"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("end all processes of the cluster first"), "{said}");

    rest.ends_well();
    executor.ends_well();
    let grown = site.run(&["cluster", "grow", "-o", "json"]);
    assert!(grown.status.success(), "{}", String::from_utf8_lossy(&grown.stderr));
    let shown: serde_json::Value = serde_json::from_slice(&grown.stdout).unwrap();
    assert_eq!(shown["shape"]["shards"], SHARDS * 2);
    let (rest, executor) =
        (site.serve("rest", "manager,generator,scheduler,collector"), site.serve("e1", "executor"));
    until("all shards are held", || executor.parts() == SHARDS * 2);
    site.balance(&task);
    drop(rest);

    site.further.push(("DTF_SHAPE_SHARDS".to_owned(), SHARDS.to_string()));
    let shrunk = site.run(&["cluster", "grow"]);
    assert!(!shrunk.status.success());
}

/// It would not know which shards there are.
#[test]
fn a_process_that_only_executes_waits_until_another_one_has_said_how_the_work_is_divided() {
    let Some(site) = Site::to_harm() else { return };
    let executor = site.start("e1", "executor");
    until("it waits for somebody", || {
        executor.report().is_some_and(|report| report["of"] == "a process of another role")
    });
    assert!(!executor.is_ready());
    let _rest = site.serve("rest", "manager,generator,scheduler,collector");
    executor.until_ready();
    let task = site.submit(200, 1, &[]);
    site.balance(&task);
}
