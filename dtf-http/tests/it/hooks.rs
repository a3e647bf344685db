//! Hooks over HTTP: given, shown, delivered again, and the secrets that they are signed with.

use std::time::Duration;

use axum::http::StatusCode;
use dtf_model::ResourceGroup;
use dtf_model::token::TokenRole;
use serde_json::{Value, json};

use crate::support::Site;

fn task(hooks: &Value) -> Value {
    json!({"type": "noop", "param": {"count": 1}, "hooks": hooks})
}

#[tokio::test]
async fn hooks_are_given_shown_and_delivered_again() {
    let site = Site::running().await;
    // Addresses in private networks are refused at the first attempt.
    let hooks = json!([{"url": "http://127.0.0.1:1/x"}, {"callback": "bill", "when": "failed"}]);
    let created = site.send_json("POST", "/v1/tasks", &task(&hooks)).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.text);
    let path = format!("/v1/tasks/{}", created.json()["id"]);
    let settled = async || loop {
        let hooks = site.get(&path).await.json()["hooks"].clone();
        if hooks[0]["state"] == "failed" {
            return hooks;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let shown = settled().await;
    assert_eq!(shown[0]["hook"], json!({"url": "http://127.0.0.1:1/x", "when": "ended"}));
    assert!(shown[0]["error"].as_str().unwrap().contains("private network"), "{shown}");
    assert_eq!((&shown[1]["state"], &shown[1]["attempts"]), (&json!("unneeded"), &json!(0)));

    assert_eq!(site.post(&format!("{path}/hooks/0/deliver")).await.status, StatusCode::OK);
    settled().await;
    assert_eq!(site.post(&format!("{path}/hooks/7/deliver")).await.problem(), (404, "not_found".to_owned()));
    assert_eq!(site.post("/v1/tasks/4711/hooks/0/deliver").await.problem().0, 404);
    let audit = site.get("/v1/audit").await.text;
    assert!(audit.contains("hook.deliver_again") && audit.contains("given up after 1 attempt"), "{audit}");

    let page = site.get(path.trim_start_matches("/v1")).await.text;
    assert!(page.contains("Deliver again") && page.contains("http://127.0.0.1:1/x"), "{page}");
    let form = format!("{}/hooks/0/deliver", path.trim_start_matches("/v1"));
    assert_eq!(site.submit(&form, "").await.status, StatusCode::SEE_OTHER);
    site.dtf.stop().await;
}

#[tokio::test]
async fn hooks_that_cannot_be_are_refused_and_nothing_is_created() {
    let site = Site::idle().await;
    for wrong in [
        json!([{}]),
        json!([{"url": "http://a.example", "callback": "b"}]),
        json!([{"url": "ftp://a.example"}]),
        json!([{"url": "http://me:secret@a.example"}]),
        json!([{"url": "http://a.example", "when": "sometimes"}]),
        json!([{"callback": ""}]),
        json!(vec![json!({"callback": "a"}); 9]),
    ] {
        let refused = site.send_json("POST", "/v1/tasks", &task(&wrong)).await;
        assert_eq!(refused.problem(), (422, "invalid_request".to_owned()), "{wrong}");
        let flow = json!({"tasks": {"a": task(&wrong)}});
        assert_eq!(site.send_json("POST", "/v1/flows", &flow).await.problem().0, 422, "{wrong}");
        let schedule = json!({"name": "s", "when": "@daily", "task": task(&wrong)});
        assert_eq!(site.send_json("POST", "/v1/schedules", &schedule).await.problem().0, 422, "{wrong}");
    }
    assert_eq!(site.count().await, 0);
    let good = json!({"name": "s", "when": "@daily", "task": task(&json!([{"callback": "a"}]))});
    let made = site.send_json("POST", "/v1/schedules", &good).await;
    assert_eq!(made.json()["task"]["hooks"], json!([{"callback": "a", "when": "ended"}]), "{}", made.text);
}

#[tokio::test]
async fn the_secret_of_a_group_is_for_its_operators() {
    let (site, _) = Site::guarded().await;
    for group in ["red", "blue"] {
        site.dtf.client().set_group(&ResourceGroup::named(group)).await.unwrap();
    }
    let path = "/v1/groups/red/signing-secret";
    let operator = site.token(TokenRole::Operator, &["red"]).await;
    let first = site.as_bearer(&operator, "GET", path, None).await.json();
    assert!(first["secret"].as_str().unwrap().starts_with("whsec_"));
    assert_eq!(site.as_bearer(&operator, "GET", path, None).await.json(), first);
    let second = site.as_bearer(&operator, "POST", path, None).await.json();
    assert_ne!(second, first);
    assert_eq!(site.as_bearer(&operator, "GET", path, None).await.json(), second);
    for other in [site.token(TokenRole::Operator, &["blue"]).await, site.token(TokenRole::Reader, &[]).await]
    {
        for method in ["GET", "POST"] {
            assert_eq!(site.as_bearer(&other, method, path, None).await.status, StatusCode::FORBIDDEN);
        }
    }
    let missing = site.token(TokenRole::Admin, &[]).await;
    let missing = site.as_bearer(&missing, "GET", "/v1/groups/nobody/signing-secret", None).await;
    assert!(!missing.status.is_success(), "{}", missing.text);
    let admin = site.token(TokenRole::Admin, &[]).await;
    let audit = site.as_bearer(&admin, "GET", "/v1/audit", None).await.text;
    assert!(audit.contains("group.replace_signing_secret") && !audit.contains("whsec_"), "{audit}");
}
