//! Actions on many tasks.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use axum::body::Body;
use dtf_http::Access;
use dtf_model::bulk::{BulkState, BulkUpdate};
use serde_json::json;
use uuid::Uuid;

use crate::support::{SetClock, Site, in_memory, request};

#[tokio::test]
async fn an_action_is_counted_first_and_applied_to_exactly_those() {
    let site = Site::idle().await;
    for name in ["a-1", "a-2", "b-1"] {
        site.create(name, json!({"count": 1})).await;
    }
    let bulk = async |body| site.send_json("POST", "/v1/bulk", &body).await;
    let filter = json!({"name_prefix": "a-"});
    let dry = bulk(json!({"action": "cancel", "filter": filter, "dry_run": true})).await;
    let counted = dry.json();
    assert_eq!(
        (dry.status.as_u16(), &counted["status"], &counted["selected"]),
        (200, &json!("dry_run"), &json!(2))
    );

    site.create("a-3", json!({"count": 1})).await;
    let changed = bulk(json!({"action": "cancel", "filter": filter, "expect_count": 2})).await;
    assert_eq!(changed.problem(), (409, "count_differs".to_owned()));

    let done = site.bulk(&json!({"action": "cancel", "filter": filter, "expect_count": 3})).await;
    assert_eq!((&done["applied"], &done["by"]), (&json!(3), &json!("local")), "{done}");
    let controls: Vec<_> = site.get("/v1/tasks").await.json()["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|task| task["control"].clone())
        .collect();
    assert_eq!(controls, [json!("cancel"), json!("run"), json!("cancel"), json!("cancel")]);

    let refused = site.bulk(&json!({"action": "pause", "filter": filter})).await;
    assert_eq!((&refused["applied"], &refused["refused_count"]), (&json!(0), &json!(3)), "{refused}");
    assert_eq!(refused["refused"].as_array().unwrap().len(), 3);
    let unknown = site.get("/v1/bulk/6c2b9b3a-7d1c-4a61-9d0a-0a2f0b8d6c11").await;
    assert_eq!(unknown.problem(), (404, "not_found".to_owned()));
}

#[tokio::test]
async fn tasks_are_named_in_place_of_a_filter() {
    let site = Site::idle().await;
    let mut ids = Vec::new();
    for name in ["a", "b", "c"] {
        ids.push(site.create(name, json!({"count": 1})).await);
    }
    let bulk = async |body: serde_json::Value| site.send_json("POST", "/v1/bulk", &body).await;
    let named = json!([ids[2], ids[0], ids[2]]);
    let dry = bulk(json!({"action": "cancel", "tasks": named, "dry_run": true})).await.json();
    assert_eq!((&dry["selected"], &dry["tasks"], &dry["filter"]), (&json!(2), &named, &json!({})), "{dry}");
    let done = site.bulk(&json!({"action": "cancel", "tasks": named, "expect_count": 2})).await;
    assert_eq!((&done["applied"], &done["tasks"]), (&json!(2), &named), "{done}");
    let control = async |id: u64| site.get(&format!("/v1/tasks/{id}")).await.json()["control"].clone();
    assert_eq!(
        [control(ids[0]).await, control(ids[1]).await, control(ids[2]).await],
        ["cancel", "run", "cancel"]
    );
    let many: Vec<u64> = (0..1001).collect();
    for (body, expected) in [
        (json!({"action": "cancel", "tasks": [ids[1], 999]}), (404, "not_found")),
        (json!({"action": "cancel", "tasks": [ids[1]], "expect_count": 2}), (409, "count_differs")),
        (json!({"action": "cancel", "tasks": [ids[1]], "filter": {"name": "b"}}), (422, "invalid_request")),
        (json!({"action": "cancel", "tasks": many}), (422, "invalid_request")),
        (json!({"action": "cancel", "tasks": []}), (422, "invalid_request")),
        (json!({"action": "cancel", "tasks": [-1]}), (422, "invalid_request")),
    ] {
        let (status, code) = bulk(body.clone()).await.problem();
        assert_eq!((status, code.as_str()), expected, "{body}");
    }
    assert_eq!(control(ids[1]).await, json!("run"));
}

#[tokio::test]
async fn an_action_has_one_name_and_is_begun_once() {
    let site = Site::idle().await;
    site.create("a", json!({"count": 1})).await;
    let begin = async |body: serde_json::Value| {
        let request = request("POST", "/v1/bulk")
            .header("content-type", "application/json")
            .header("idempotency-key", "6c2b9b3a-7d1c-4a61-9d0a-0a2f0b8d6c11");
        site.ask(request.body(Body::from(body.to_string())).unwrap()).await
    };
    let first = begin(json!({"action": "cancel", "filter": {"name": "a"}, "expect_count": 1})).await;
    assert_eq!(first.location.as_deref(), Some("/v1/bulk/6c2b9b3a-7d1c-4a61-9d0a-0a2f0b8d6c11"));
    assert_eq!(site.ended(&first.location.unwrap()).await["applied"], json!(1));
    // What fits by now is another number, and no matter.
    site.create("a", json!({"count": 1})).await;
    let again = begin(json!({"action": "cancel", "filter": {"name": "a"}, "expect_count": 1})).await;
    assert_eq!((again.status.as_u16(), &again.json()["selected"]), (202, &json!(1)));
    let other = begin(json!({"action": "pause", "filter": {"name": "a"}})).await;
    assert_eq!(other.problem(), (409, "not_allowed".to_owned()));
    assert_eq!(site.get("/v1/tasks").await.json()["tasks"][0]["control"], json!("run"));
}

/// A server dies in the middle: another one does the rest, once the dead one's time has run out, and nothing twice.
#[tokio::test(start_paused = true)]
async fn what_a_server_leaves_another_one_goes_on_with() {
    let ports = in_memory();
    let clock = Arc::new(SetClock(AtomicU64::new(1_800_000_000_000)));
    let access = Access::of("127.0.0.1:7070".parse().unwrap());
    let mut one = Site::on(ports.clone(), clock.clone(), access.clone());
    one.leave_bulks();
    for number in 0..100 {
        one.create(&format!("a-{number}"), json!({"count": 1})).await;
    }
    let begun = one
        .send_json("POST", "/v1/bulk", &json!({"action": "cancel", "filter": {"name_prefix": "a-"}}))
        .await;
    let id: Uuid = begun.json()["id"].as_str().unwrap().parse().unwrap();
    let client = one.dtf.client();
    let state = BulkState { done: 64, applied: 64, ..BulkState::default() };
    let until = Some(client.now() + 30_000);
    assert!(client.update_bulk(&BulkUpdate { id, revision: 0, state, until }).await.unwrap());

    let two = Site::on(ports, clock.clone(), access);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(
        two.get(&format!("/v1/bulk/{id}")).await.json()["applied"],
        json!(64),
        "it is the first one's"
    );
    clock.forward(Duration::from_secs(31));
    let done = two.ended(&format!("/v1/bulk/{id}")).await;
    assert_eq!((&done["applied"], &done["refused_count"]), (&json!(100), &json!(0)));
    let tasks = two.get("/v1/tasks?limit=1000").await.json();
    let cancelled = tasks["tasks"].as_array().unwrap().iter().filter(|task| task["control"] == "cancel");
    assert_eq!(cancelled.count(), 36);
}

#[tokio::test]
async fn a_filter_is_mandatory_and_has_no_pages() {
    let site = Site::idle().await;
    site.create("a", json!({"count": 1})).await;
    for filter in
        [json!({}), json!({"limit": 5}), json!({"status": "created", "cursor": 3}), json!({"colour": "red"})]
    {
        let (status, _) = site
            .send_json("POST", "/v1/bulk", &json!({"action": "cancel", "filter": filter}))
            .await
            .problem();
        assert_eq!(status, 422, "{filter}");
    }
    assert_eq!(site.send_json("POST", "/v1/bulk", &json!({"action": "cancel"})).await.problem().0, 422);
    assert_eq!(site.get("/v1/tasks").await.json()["tasks"][0]["control"], json!("run"));
}
