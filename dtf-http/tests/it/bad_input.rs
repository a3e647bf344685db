//! Requests that are wrong: each has a clear answer, and nothing is written.

use axum::body::Body;
use serde_json::{Value, json};

use crate::support::{Site, request};

#[tokio::test]
async fn what_cannot_be_created_is_refused_and_nothing_is() {
    let site = Site::idle().await;
    let good = json!({"type": "noop", "param": {"count": 1}});
    let with = |field: &str, value: Value| {
        let mut body = good.clone();
        body[field] = value;
        body
    };
    let bodies = [
        json!(null),
        json!([]),
        json!({}),
        json!({"type": "nothing"}),
        with("param", json!("no object")),
        with("param", json!({"count": -1})),
        with("priority", json!(1)),
        with("priority", json!(-1)),
        with("priority", json!(1e40)),
        with("timeout_ms", json!(0)),
        with("timeout_ms", json!(u64::MAX)),
        with("name", json!("x".repeat(300))),
        with("group", json!("")),
        with("group", json!("nobody")),
        with("limits", json!({"running": 0})),
        with("limits", json!({"speed": 1})),
        with("start_at", json!("tomorrow")),
        with("colour", json!("red")),
    ];
    for body in bodies {
        let (status, code) = site.send_json("POST", "/v1/tasks", &body).await.problem();
        assert_eq!((status, code.as_str()), (422, "invalid_request"), "{body}");
    }
    for text in ["", "{", "{\"type\":", "\u{0}"] {
        let request = request("POST", "/v1/tasks").header("content-type", "application/json");
        let answer = site.ask(request.body(Body::from(text)).unwrap()).await;
        assert_eq!(answer.problem(), (422, "invalid_request".to_owned()), "{text:?}");
    }
    let unnamed = request("POST", "/v1/tasks").body(Body::from(good.to_string())).unwrap();
    assert_eq!(site.ask(unnamed).await.problem(), (422, "invalid_request".to_owned()), "no content type");
    let keyed = request("POST", "/v1/tasks")
        .header("content-type", "application/json")
        .header("idempotency-key", "seven");
    assert_eq!(site.ask(keyed.body(Body::from(good.to_string())).unwrap()).await.problem().0, 422);
    for size in [2 << 20, 10 << 20] {
        let large = with("description", json!("x".repeat(size)));
        assert_eq!(
            site.send_json("POST", "/v1/tasks", &large).await.problem(),
            (413, "too_large".to_owned())
        );
    }
    assert_eq!(site.count().await, 0);
}

#[tokio::test]
async fn what_is_not_there_is_said_so() {
    let site = Site::idle().await;
    for path in [
        "/v1/tasks/7",
        "/v1/tasks/-1",
        "/v1/tasks/18446744073709551616",
        "/v1/tasks/seven",
        "/v1/tasks/7/failures",
        "/v1/tasks/7/result",
        "/v1/tasks/7/events",
        "/v1/groups/nobody",
        "/v1/placement/janitor",
        "/v1",
        "/v1/tasks/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/assets/../Cargo.toml",
    ] {
        assert_eq!(site.get(path).await.problem(), (404, "not_found".to_owned()), "{path}");
    }
    assert_eq!(site.post("/v1/tasks/7/pause").await.problem().0, 404);
    let drained = site.send_json("PUT", "/v1/workers/nobody/drain", &json!({"drained": true})).await;
    assert_eq!(drained.problem(), (404, "not_found".to_owned()));
    assert_eq!(site.ask(request("DELETE", "/v1/tasks").body(Body::empty()).unwrap()).await.problem().0, 405);
}

#[tokio::test]
async fn queries_that_mean_nothing_are_refused() {
    let site = Site::idle().await;
    for query in [
        "colour=red",
        "limit=0",
        "limit=1001",
        "limit=many",
        "status=dead",
        "type=nothing",
        "cursor=x",
        "name_prefix=",
    ] {
        let (status, code) = site.get(&format!("/v1/tasks?{query}")).await.problem();
        assert_eq!((status, code.as_str()), (422, "invalid_request"), "{query}");
    }
}

#[tokio::test]
async fn other_sites_change_nothing_and_other_names_are_not_answered() {
    let site = Site::idle().await;
    let body = json!({"type": "noop", "param": {"count": 1}}).to_string();
    for (name, value) in
        [("origin", "https://evil.example"), ("origin", "null"), ("sec-fetch-site", "cross-site")]
    {
        let request =
            request("POST", "/v1/tasks").header("content-type", "application/json").header(name, value);
        let answer = site.ask(request.body(Body::from(body.clone())).unwrap()).await;
        assert_eq!(answer.problem(), (403, "foreign_origin".to_owned()), "{name}: {value}");
    }
    let rebound = axum::http::Request::builder().uri("/v1/tasks").header("host", "evil.example:7070");
    assert_eq!(
        site.ask(rebound.body(Body::empty()).unwrap()).await.problem(),
        (403, "foreign_origin".to_owned())
    );
    assert_eq!(site.count().await, 0);
}
