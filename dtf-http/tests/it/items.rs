//! Items that are fed into open tasks, over the routes.

use axum::body::Body;
use axum::http::StatusCode;
use dtf_model::token::TokenRole;
use serde_json::{Value, json};

use crate::support::{Answer, Site, request};

async fn open(site: &Site) -> u64 {
    let task = json!({"type": "map", "param": {"source": "items", "function": {"worker": "f"}}});
    let created = site.send_json("POST", "/v1/tasks", &task).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.text);
    created.json()["id"].as_u64().unwrap()
}

async fn feed(site: &Site, task: u64, query: &str, body: &str) -> Answer {
    let request = request("POST", &format!("/v1/tasks/{task}/items{query}"));
    let request = request.header("content-type", "application/x-ndjson");
    site.ask(request.body(Body::from(body.to_owned())).unwrap()).await
}

#[tokio::test]
async fn items_are_taken_once_until_the_task_is_closed() {
    let site = Site::idle().await;
    let task = open(&site).await;
    let path = format!("/v1/tasks/{task}/items");
    let state = |items: u64, closed: bool, next: u64| json!({"items": items, "kept": items, "closed": closed, "next_offset": next});
    assert_eq!(site.get(&path).await.json(), state(0, false, 0));
    for new in [2, 0] {
        let fed = feed(&site, task, "?producer=p%20q&offset=0", "1\r\n\n {\"a\": \"ü\"} \n").await;
        assert_eq!((fed.status, fed.json()), (StatusCode::OK, json!({"new": new})));
    }
    assert_eq!(feed(&site, task, "?producer=p%20q&offset=1", "{}\n3").await.json(), json!({"new": 1}));
    assert_eq!(feed(&site, task, "", "4\n5\n").await.json(), json!({"new": 2}));
    assert_eq!(site.get(&format!("{path}?producer=p%20q")).await.json(), state(5, false, 3));
    let missing = feed(&site, task, "?producer=p%20q&offset=4", "1").await;
    assert!(missing.text.contains("its next offset is 3"), "{}", missing.text);
    assert_eq!(missing.problem(), (409, "items_missing".to_owned()));
    let closed = site.post(&format!("/v1/tasks/{task}/close")).await;
    assert_eq!(closed.status, StatusCode::OK, "{}", closed.text);
    assert_eq!(feed(&site, task, "", "6").await.problem(), (409, "not_allowed".to_owned()));
    assert_eq!(feed(&site, task, "?producer=p%20q&offset=0", "1\n2").await.json(), json!({"new": 0}));
    assert_eq!(site.get(&path).await.json(), state(5, true, 0));
    let audit = site.get(&format!("/v1/audit?target=task%20{task}")).await.json();
    let actions: Vec<_> =
        audit["entries"].as_array().unwrap().iter().map(|entry| entry["action"].clone()).collect();
    assert_eq!(actions, ["task.close", "task.create"]);
}

#[tokio::test]
async fn what_is_wrong_with_items_is_said_and_nothing_is_taken() {
    let site = Site::idle().await;
    let task = open(&site).await;
    let long = format!("\"{}\"", "x".repeat(1024 * 1024));
    let many = "1\n".repeat(10_001);
    let large = format!("{}\n", "1".repeat(1000)).repeat(9 * 1024);
    for (query, body, refusal) in [
        ("", "1\n{\n", (422, "invalid_request")),
        ("", "\u{1}", (422, "invalid_request")),
        ("?producer=p", "1", (422, "invalid_request")),
        ("?offset=1", "1", (422, "invalid_request")),
        ("?producer=&offset=0", "1", (422, "invalid_request")),
        ("?producer=p&offset=-1", "1", (422, "invalid_request")),
        ("?more=1", "1", (422, "invalid_request")),
        ("", &long, (413, "too_large")),
        ("", &many, (413, "too_large")),
        ("", &large, (413, "too_large")),
    ] {
        let refused = feed(&site, task, query, body).await.problem();
        assert_eq!((refused.0, refused.1.as_str()), refusal, "{query} {}", &body[..body.len().min(20)]);
    }
    let path = format!("/v1/tasks/{task}/items");
    assert_eq!(site.send_json("POST", &path, &json!(1)).await.problem().0, 422);
    assert_eq!(site.get(&path).await.json()["items"], 0);
    assert_eq!(feed(&site, 4711, "", "1").await.problem().0, 404);
    let noop = site.create("other", json!({"count": 1})).await;
    assert_eq!(feed(&site, noop, "", "1").await.problem(), (409, "not_allowed".to_owned()));
    assert_eq!(site.post(&format!("/v1/tasks/{noop}/close")).await.problem().0, 409);
    assert_eq!(site.post(&format!("/v1/tasks/{task}/cancel")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_token_of_some_groups_feeds_no_task_of_others() {
    let (site, _) = Site::guarded().await;
    let admin = site.token(TokenRole::Admin, &[]).await;
    let set = site.as_bearer(&admin, "PUT", "/v1/groups/gold", Some(&json!({"quota": 50}))).await;
    assert_eq!(set.status, StatusCode::OK, "{}", set.text);
    let task =
        json!({"type": "map", "group": "gold", "param": {"source": "items", "function": {"worker": "f"}}});
    let id = site.as_bearer(&admin, "POST", "/v1/tasks", Some(&task)).await.json()["id"].clone();
    let fed = async |token: &str, id: &Value| {
        let request = request("POST", &format!("/v1/tasks/{id}/items"))
            .header("authorization", format!("Bearer {token}"));
        let request = request.header("content-type", "application/x-ndjson");
        site.ask(request.body(Body::from("1")).unwrap()).await.status
    };
    let (gold, other) = (
        site.token(TokenRole::Operator, &["gold"]).await,
        site.token(TokenRole::Operator, &["default"]).await,
    );
    let reader = site.token(TokenRole::Reader, &["gold"]).await;
    assert_eq!(fed(&gold, &id).await, StatusCode::OK);
    assert_eq!(fed(&other, &id).await, StatusCode::NOT_FOUND);
    assert_eq!(fed(&reader, &id).await, StatusCode::FORBIDDEN);
    let close = format!("/v1/tasks/{id}/close");
    assert_eq!(site.as_bearer(&other, "POST", &close, None).await.status, StatusCode::NOT_FOUND);
    assert_eq!(site.as_bearer(&gold, "POST", &close, None).await.status, StatusCode::OK);
}
