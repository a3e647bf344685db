//! Flows and dependencies over HTTP, and their pages.

use axum::body::Body;
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::support::{Site, request};

fn flow() -> Value {
    json!({"name": "nightly", "tasks": {
        "extract": {"type": "noop", "param": {"count": 5}},
        "load": {"type": "noop", "param": {"count": 3}, "after": ["extract"]},
        "mend": {"type": "noop", "param": {"count": 1}, "after": [{"task": "extract", "when": "failed"}]},
        "<b>": {"type": "noop", "param": {"count": 1}, "after": ["load", {"task": "mend", "when": "ended"}]}
    }})
}

async fn until_over(site: &Site, id: u64) -> Value {
    let flow = site.get(&format!("/v1/flows/{id}")).await.json();
    for task in flow["tasks"].as_array().unwrap() {
        site.task(task["id"].as_u64().unwrap()).wait().await.unwrap();
    }
    site.get(&format!("/v1/flows/{id}")).await.json()
}

#[tokio::test]
async fn a_flow_is_created_runs_in_its_order_and_is_shown() {
    let site = Site::running().await;
    let key = "6c2b9b3a-7d1c-4a61-9d0a-0a2f0b8d6c22";
    let create = || {
        let request = request("POST", "/v1/flows")
            .header("content-type", "application/json")
            .header("idempotency-key", key);
        site.ask(request.body(Body::from(flow().to_string())).unwrap())
    };
    let created = create().await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.text);
    let id = created.json()["id"].as_u64().unwrap();
    assert_eq!(created.location, Some(format!("/v1/flows/{id}")));
    assert_eq!(create().await.json()["id"], json!(id), "the same creation");

    let over = until_over(&site, id).await;
    let status = |name: &str| {
        let task = over["tasks"].as_array().unwrap().iter().find(|task| task["flow_task"] == json!(name));
        task.unwrap()["status"].as_str().unwrap().to_owned()
    };
    let names = ["extract", "load", "mend", "<b>"];
    assert_eq!(names.map(status), ["completed", "completed", "skipped", "completed"]);
    assert_eq!((&over["counts"]["completed"], &over["counts"]["skipped"]), (&json!(3), &json!(1)));
    assert_eq!(over["edges"].as_array().unwrap().len(), 4);
    let page = site.get("/v1/flows?limit=1").await.json();
    assert_eq!((&page["flows"][0]["id"], &page["next"]), (&json!(id), &Value::Null));
    let refused = site.post(&format!("/v1/flows/{id}/retry")).await;
    assert_eq!(refused.problem().0, 422, "nothing failed");

    let shown = site.get(&format!("/flows/{id}")).await;
    assert_eq!(shown.status, StatusCode::OK, "{}", shown.text);
    assert!(
        shown.text.contains("<svg class=\"graph\"") && shown.text.contains("class=\"node skipped\""),
        "{}",
        shown.text
    );
    assert!(!shown.text.contains("<b></text>") && shown.text.contains("&#60;b&#62;"), "{}", shown.text);
    assert!(site.get("/flows").await.text.contains("nightly"));
    assert_eq!(site.get("/flows/77").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_flow_is_cancelled_and_what_failed_is_retried() {
    let site = Site::running().await;
    let long = json!({"tasks": {
        "a": {"type": "noop", "param": {"count": 1000, "sleep_ms": 1000}},
        "b": {"type": "noop", "param": {"count": 1}, "after": ["a"]}
    }});
    let id = site.send_json("POST", "/v1/flows", &long).await.json()["id"].as_u64().unwrap();
    assert_eq!(
        site.post(&format!("/v1/flows/{id}/pause")).await.json()["tasks"][0]["control"],
        json!("pause")
    );
    assert_eq!(
        site.post(&format!("/v1/flows/{id}/resume")).await.json()["tasks"][0]["control"],
        json!("run")
    );
    let cancelled = site.submit(&format!("/flows/{id}/cancel"), "").await;
    assert_eq!(cancelled.location, Some(format!("/flows/{id}")));
    assert_eq!(until_over(&site, id).await["counts"]["cancelled"], json!(2));

    let fails = json!({"tasks": {
        "a": {"type": "noop", "param": {"count": 4, "failure_rate": 1.0}},
        "b": {"type": "noop", "param": {"count": 1}, "after": ["a"]},
        "c": {"type": "noop", "param": {"count": 1}}
    }});
    let id = site.send_json("POST", "/v1/flows", &fails).await.json()["id"].as_u64().unwrap();
    until_over(&site, id).await;
    let again = site.submit(&format!("/flows/{id}/retry"), "").await.location.unwrap();
    let again = until_over(&site, again.rsplit('/').next().unwrap().parse().unwrap()).await;
    assert_eq!((&again["retry_of"], again["tasks"].as_array().unwrap().len()), (&json!(id), 2));
}

#[tokio::test]
async fn a_task_waits_for_another_one() {
    let site = Site::running().await;
    let first = site.create("first", json!({"count": 3})).await;
    let body = json!({"type": "noop", "param": {"count": 1}, "after": [{"task": first, "when": "ended"}]});
    let created = site.send_json("POST", "/v1/tasks", &body).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.text);
    let second = created.json()["id"].as_u64().unwrap();
    assert_eq!(site.task(second).wait().await.unwrap().counts.succeeded, 1);
    let unknown = json!({"type": "noop", "param": {"count": 1}, "after": [{"task": 999}]});
    assert_eq!(site.send_json("POST", "/v1/tasks", &unknown).await.problem(), (404, "not_found".to_owned()));
}

#[tokio::test]
async fn what_cannot_be_a_flow_is_refused_and_nothing_is_created() {
    let site = Site::idle().await;
    let task = |after: Value| json!({"type": "noop", "param": {"count": 1}, "after": after});
    for tasks in [
        json!({}),
        json!({"a": task(json!(["a"]))}),
        json!({"a": task(json!(["b"])), "b": task(json!(["a"]))}),
        json!({"a": task(json!(["nobody"]))}),
        json!({"a": task(json!([5]))}),
        json!({"a": task(json!([{"task": "a", "when": "sometimes"}]))}),
        json!({"": task(json!([]))}),
        json!({"a": {"type": "nothing"}}),
        json!({"a": {"type": "noop", "param": {"count": -1}}}),
        json!({"a": {"type": "noop", "param": {"count": {"$result": "/x"}}}}),
        json!({"a": {"type": "noop", "colour": "red"}}),
    ] {
        let body = json!({"tasks": tasks});
        let (status, code) = site.send_json("POST", "/v1/flows", &body).await.problem();
        assert_eq!((status, code.as_str()), (422, "invalid_request"), "{body}");
    }
    assert_eq!((site.count().await, site.get("/v1/flows").await.json()["flows"].clone()), (0, json!([])));
    assert_eq!(site.post("/v1/flows/7/cancel").await.problem().0, 404);
}

#[tokio::test]
async fn a_task_with_a_key_is_found_again() {
    let site = Site::idle().await;
    let create = async |unique: Value| {
        site.send_json("POST", "/v1/tasks", &json!({"type": "noop", "param": {"count": 1}, "unique": unique}))
            .await
    };
    let first = create(json!({"key": "nightly"})).await.json()["id"].clone();
    assert_eq!(
        create(json!({"key": "nightly", "while": "period", "period_ms": 60_000})).await.json()["id"],
        first
    );
    assert_ne!(create(json!({"key": "other", "while": "pending"})).await.json()["id"], first);
    assert_eq!(site.count().await, 2);
    for wrong in [
        json!({}),
        json!({"key": ""}),
        json!({"key": "a", "while": "ever"}),
        json!({"key": "a", "while": "period"}),
        json!({"key": "a", "period_ms": 5}),
    ] {
        assert_eq!(create(wrong.clone()).await.problem(), (422, "invalid_request".to_owned()), "{wrong}");
    }
    let both =
        json!({"type": "noop", "param": {"count": 1}, "unique": {"key": "b"}, "after": [{"task": first}]});
    assert_eq!(site.send_json("POST", "/v1/tasks", &both).await.problem().0, 422);
    assert_eq!(site.count().await, 2);
}
