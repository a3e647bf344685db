//! The metrics of services, and the dashboard, which shows only metrics that exist.

use std::collections::BTreeSet;

use integration_tests::stage::{Service, Site, until};
use rustix::process::Signal;

/// The value of a metric, all of its labels that contain these added up.
fn value(page: &str, name: &str, labels: &[&str]) -> f64 {
    let of = |line: &&str| {
        let rest = line.strip_prefix(name).unwrap_or("-");
        (rest.starts_with('{') || rest.starts_with(' ')) && labels.iter().all(|label| rest.contains(label))
    };
    page.lines().filter(of).map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

/// The names of metrics in the expressions of the dashboard.
fn shown() -> BTreeSet<String> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/grafana/dashboards/dtf.json");
    let dashboard: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().unwrap().clone());
    let words = targets.flat_map(|target| {
        let expression = target["expr"].as_str().unwrap().to_owned();
        let words: Vec<_> =
            expression.split(|c: char| !(c.is_alphanumeric() || c == '_')).map(str::to_owned).collect();
        words
    });
    words.filter(|word| word.starts_with("dtf_") || word.starts_with("lrmf_")).collect()
}

#[test]
fn tasks_are_counted_and_the_dashboard_shows_what_there_is() {
    let Some(mut site) = Site::to_harm().map(Site::with_long_sessions) else { return };
    // A call whose answer is not waited for is made again, and counted again.
    site.set("DTF_REDIS_RESPONSE_TIMEOUT", "60s");
    site.set("DTF_MYSQL_CALL_TIMEOUT", "60s");
    let one = site.serve("one", "all");
    let two = site.serve("two", "executor");
    assert!(site.run(&["group", "set-quota", "gold", "70"]).status.success());
    until("both hold shards", || one.parts() > 0 && two.parts() > 0);
    let task = site.submit(1000, 0, &["--group", "gold"]);
    site.balance(&task);
    let out =
        site.run(&["task", "submit", "noop", "--param", r#"{"count": 50, "failure_rate": 1}"#, "--watch"]);
    assert_eq!(out.status.code(), Some(1));
    let long = site.submit(100, 1_000_000, &["--group", "gold"]);

    let pages = || -> String { [&one, &two].iter().filter_map(|service| service.page("/metrics")).collect() };
    let books = [r#"type="books""#, r#"group="gold""#];
    until("what waits and runs is sampled", || {
        let page = pages();
        value(&page, "dtf_tasks_active", &books) == 1.0
            && value(&page, "dtf_subtasks_running", &books) + value(&page, "dtf_subtasks_pending", &books)
                == 100.0
    });
    let page = pages();
    let of = |name: &str, labels: &[&str]| value(&page, name, labels);
    assert_eq!(of("dtf_subtasks_generated_total", &books), 1100.0);
    assert_eq!(of("dtf_subtasks_counted_total", &books), 1000.0);
    let succeeded = [&books[..], &[r#"outcome="succeeded""#]].concat();
    assert_eq!(of("dtf_subtasks_reported_total", &succeeded), 1000.0);
    assert_eq!(of("dtf_subtasks_reported_total", &[r#"type="noop""#, r#"outcome="failed""#]), 50.0);
    assert_eq!(of("dtf_tasks_ended_total", &[r#"type="books""#, r#"status="completed""#]), 1.0);
    for step in ["pushed", "dispatched", "reported"] {
        assert!(of("dtf_parcels_total", &[&format!("step=\"{step}\"")]) >= 2.0, "{step}");
    }
    assert!(of("dtf_store_call_seconds_count", &[r#"call="complete""#]) >= 2.0);

    // A handover, so that what is measured of those is there too.
    assert!(site.run(&["worker", "drain", "two"]).status.success());
    assert!(site.run(&["task", "cancel", &long.id.to_string()]).status.success());
    site.until_ended(&long);
    until("everything that the dashboard shows is there", || {
        let page = pages();
        let missing: Vec<_> =
            shown().into_iter().filter(|name| !page.contains(&format!("\n{name}"))).collect();
        println!("missing: {missing:?}");
        missing.is_empty()
    });
    assert!(shown().contains("dtf_subtasks_counted_total"));
    for mut service in [one, two] {
        service.signal(Signal::TERM);
        Service::has_ended_with(&mut service, 0);
    }
}
