//! Two processes that serve the API of one cluster, behind one client.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use axum::body::Body;
use dtf_http::{Access, TokenRule};
use dtf_model::token::TokenRole;
use futures::StreamExt;
use serde_json::json;

use crate::support::{SetClock, Site, in_memory, request};

fn twins() -> (Site, Site, Arc<SetClock>) {
    let ports = in_memory();
    let clock = Arc::new(SetClock(AtomicU64::new(1_800_000_000_000)));
    let access = Access::of("127.0.0.1:7070".parse().unwrap()).tokens(TokenRule::Always);
    let site = |ports| Site::on(ports, clock.clone(), access.clone());
    (site(ports.clone()), site(ports), clock)
}

#[tokio::test]
async fn a_request_may_go_to_either_of_two_servers() {
    let (one, two, clock) = twins();
    let admin = one.token(TokenRole::Admin, &[]).await;
    let ask = async |site: &Site, method: &str, path: &str, body: Option<serde_json::Value>| {
        let answer = site.as_bearer(&admin, method, path, body.as_ref()).await;
        assert!(answer.status.is_success(), "{method} {path}: {}", answer.text);
        answer
    };
    // The answer of the first one is lost; the creation is sent again, to the other one.
    let create = async |site: &Site| {
        let request = request("POST", "/v1/tasks")
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {admin}"))
            .header("idempotency-key", "6c2b9b3a-7d1c-4a61-9d0a-0a2f0b8d6c11");
        let task = json!({"type": "noop", "name": "once", "param": {"count": 1}});
        site.ask(request.body(Body::from(task.to_string())).unwrap()).await.json()["id"].clone()
    };
    let id = create(&one).await;
    assert_eq!(create(&two).await, id);

    let stream = request("GET", "/v1/events").header("authorization", format!("Bearer {admin}"));
    let mut stream = two.send(stream.body(Body::empty()).unwrap()).await.into_body().into_data_stream();
    let mut seen = async |text: &str| loop {
        let event = stream.next().await.unwrap().unwrap();
        if String::from_utf8_lossy(&event).contains(text) {
            break;
        }
    };
    seen("\"status\":\"created\"").await;
    ask(&one, "POST", &format!("/v1/tasks/{id}/pause"), None).await;
    seen("\"status\":\"paused\"").await;

    // What one has counted, the other one does.
    let bulk = |dry: bool| json!({"action": "cancel", "filter": {"name": "once"}, "expect_count": 1, "dry_run": dry});
    assert_eq!(ask(&one, "POST", "/v1/bulk", Some(bulk(true))).await.json()["selected"], json!(1));
    let begun = ask(&two, "POST", "/v1/bulk", Some(bulk(false))).await;
    let handle = begun.location.unwrap();
    while ask(&one, "GET", &handle, None).await.json()["applied"] != json!(1) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(ask(&one, "GET", &format!("/v1/tasks/{id}"), None).await.json()["control"], json!("cancel"));
    let audit = ask(&one, "GET", "/v1/audit", None).await.json()["entries"].as_array().unwrap().len();
    assert_eq!(audit, ask(&two, "GET", "/v1/audit", None).await.json()["entries"].as_array().unwrap().len());

    // A token is good at both, and so is its end.
    let reader = json!({"name": "reader", "role": "reader"});
    let made = ask(&one, "POST", "/v1/tokens", Some(reader)).await.json();
    let secret = made["secret"].as_str().unwrap().to_owned();
    let reads = async |site: &Site| site.as_bearer(&secret, "GET", "/v1/tasks", None).await.status.as_u16();
    assert_eq!((reads(&one).await, reads(&two).await), (200, 200));
    ask(&one, "DELETE", &format!("/v1/tokens/{}", made["token"]["id"].as_str().unwrap()), None).await;
    clock.forward(Duration::from_secs(6));
    assert_eq!((reads(&one).await, reads(&two).await), (401, 401));
}
