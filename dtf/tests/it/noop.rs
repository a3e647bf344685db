//! The task type `noop`.

use crate::support::{How, generate, param, run, spec};
use dtf::tasks::failed_items;
use dtf::tasks::noop::{Noop, NoopParam};
use dtf_model::plugin::TaskPlugin;
use serde_json::json;

#[tokio::test]
async fn counts_are_those_of_the_failing_share_however_it_is_run() {
    let asked = NoopParam { failure_rate: 0.25, ..NoopParam::new(1000) };
    let expected = (0..1000).filter(|number| asked.fails(*number)).count() as u64;
    for take_over in [false, true] {
        let how = How { take_over, order: 7, most: 33, ..How::default() };
        let result = run(&Noop, asked.to_json(), how).await.unwrap();
        assert_eq!(failed_items(&result), expected);
        assert_eq!(result.data["subtasks"], 1000);
    }
    let result = run(&Noop, json!({ "count": 0 }), How::default()).await.unwrap();
    assert_eq!(result.data["subtasks"], 0);
}

#[tokio::test]
async fn bodies_differ_and_have_the_size_asked_for() {
    let spec = spec(json!({ "count": 5000, "body_bytes": 100 }));
    let mut bodies = generate(&Noop, &spec, 999).await;
    assert!(bodies.iter().all(|body| body.len() == 100));
    bodies.sort();
    bodies.dedup();
    assert_eq!(bodies.len(), 5000);
}

#[tokio::test(start_paused = true)]
async fn it_sleeps_as_long_as_asked_and_stops_when_told() {
    let started = tokio::time::Instant::now();
    let how = How { at_once: 5, ..How::default() };
    run(&Noop, json!({ "count": 20, "sleep_ms": 1000 }), how).await.unwrap();
    assert_eq!(started.elapsed().as_secs(), 4);

    let spec = spec(json!({ "count": 1, "sleep_ms": 1_500_000 }));
    let cancelled = tokio_util::sync::CancellationToken::new();
    cancelled.cancel();
    let body = generate(&Noop, &spec, 1).await.remove(0);
    let stopped = Noop.executor(&spec).unwrap().execute(&body, &crate::support::context(&cancelled)).await;
    assert_eq!(stopped.unwrap_err().to_string(), "cancelled");
}

#[test]
fn bad_parameters_are_refused_with_one_line_that_says_what_is_allowed() {
    for (wrong, says) in [
        (json!(null), "it takes count"),
        (json!({}), "missing field `count`"),
        (json!({ "count": -1 }), "it takes count"),
        (json!({ "count": 1, "sleepms": 1 }), "unknown field `sleepms`, expected one of"),
        (json!({ "count": 1, "sleep_ms": 1_500_001 }), "sleep_ms is 1500001; allowed is 0 to 1500000"),
        (json!({ "count": 1, "failure_rate": 1.5 }), "failure_rate is 1.5; allowed is 0 to 1"),
        (json!({ "count": 1, "body_bytes": 7 }), "body_bytes is 7; allowed is 8 to 1048576"),
        (json!({ "count": 1_u64 << 52 }), "allowed is less than 4503599627370496"),
    ] {
        let refused = Noop.check(&param(wrong.clone())).unwrap_err().to_string();
        assert!(refused.contains(says) && !refused.contains('\n'), "{wrong}: {refused}");
    }
}
