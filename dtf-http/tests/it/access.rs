//! Tokens, their groups, the browser's way in, and the audit.

use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use dtf_model::ResourceGroup;
use dtf_model::token::TokenRole;
use serde_json::{Value, json};

use crate::support::{Site, request};

/// Longer than a server remembers a token.
const FORGOTTEN: Duration = Duration::from_secs(6);

fn noop(group: &str) -> Value {
    json!({"type": "noop", "param": {"count": 1}, "group": group})
}

#[tokio::test]
async fn a_request_needs_a_token_that_is_known_valid_and_not_revoked() {
    let (site, clock) = Site::guarded().await;
    assert_eq!(site.get("/v1/tasks").await.problem(), (401, "unauthenticated".to_owned()));
    let token = site.token(TokenRole::Reader, &[]).await;
    assert_eq!(site.as_bearer(&token, "GET", "/v1/tasks", None).await.status, StatusCode::OK);
    let other_secret =
        format!("{}{}", &token[..token.len() - 1], if token.ends_with('0') { '1' } else { '0' });
    for wrong in [&other_secret, "", "dtf_", "dtf_0011223344556677_00", "Basic abc"] {
        let refused = site.as_bearer(wrong, "GET", "/v1/tasks", None).await;
        assert_eq!(refused.problem(), (401, "unauthenticated".to_owned()), "{wrong:?}");
        assert!(!refused.text.contains(&token[20..]), "the secret is not repeated");
    }
    let create = site.as_bearer(&token, "POST", "/v1/tasks", Some(&noop("default"))).await;
    assert_eq!(create.problem(), (403, "forbidden".to_owned()));

    let id = token.split('_').nth(1).unwrap();
    assert!(site.dtf.client().revoke_token(id).await.unwrap());
    clock.forward(FORGOTTEN);
    assert_eq!(site.as_bearer(&token, "GET", "/v1/tasks", None).await.problem().0, 401);
    let token = site.token(TokenRole::Reader, &[]).await;
    assert_eq!(site.as_bearer(&token, "GET", "/v1/tasks", None).await.status, StatusCode::OK);
    clock.forward(Duration::from_secs(3600));
    let expired = site.as_bearer(&token, "GET", "/v1/tasks", None).await;
    assert!(expired.problem().0 == 401 && expired.text.contains("expired"), "{}", expired.text);
}

#[tokio::test]
async fn tokens_are_made_listed_and_revoked_over_the_api_and_their_secret_is_shown_once() {
    let (site, clock) = Site::guarded().await;
    let admin = site.token(TokenRole::Admin, &[]).await;
    let new = json!({"name": "the importer", "role": "worker", "types": ["import"], "lifetime_s": 60});
    let created = site.as_bearer(&admin, "POST", "/v1/tokens", Some(&new)).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.text);
    let created = created.json();
    let (id, secret) = (created["token"]["id"].as_str().unwrap(), created["secret"].as_str().unwrap());
    assert!(secret.starts_with(&format!("dtf_{id}_")) && secret.len() == 4 + 16 + 1 + 64);
    let listed = site.as_bearer(&admin, "GET", "/v1/tokens", None).await;
    assert!(listed.text.contains("the importer") && !listed.text.contains(secret));
    // A worker sees nothing else.
    assert_eq!(site.as_bearer(secret, "GET", "/v1/tasks", None).await.problem().0, 403);
    let gone = site.as_bearer(&admin, "DELETE", &format!("/v1/tokens/{id}"), None).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    assert_eq!(site.as_bearer(&admin, "DELETE", &format!("/v1/tokens/{id}"), None).await.problem().0, 404);
    clock.forward(FORGOTTEN);
    assert_eq!(site.as_bearer(secret, "GET", "/v1/tasks", None).await.problem().0, 401);
    for wrong in [
        json!({"name": "", "role": "reader"}),
        json!({"name": "x", "role": "king"}),
        json!({"name": "x", "role": "reader", "types": ["a"]}),
        json!({"name": "x", "role": "reader", "groups": ["nobody"]}),
        json!({"name": "x", "role": "reader", "lifetime_s": 0}),
        json!({"name": "x", "role": "reader", "more": 1}),
    ] {
        let refused = site.as_bearer(&admin, "POST", "/v1/tokens", Some(&wrong)).await;
        assert_eq!(refused.problem().0, 422, "{wrong}");
    }
    assert_eq!(site.as_bearer(&admin, "GET", "/v1/tokens", None).await.json().as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_token_of_some_groups_sees_and_changes_nothing_of_others() {
    let (site, _) = Site::guarded().await;
    for group in ["red", "blue", "green"] {
        site.dtf.client().set_group(&ResourceGroup::named(group)).await.unwrap();
    }
    let all = site.token(TokenRole::Operator, &[]).await;
    let some = site.token(TokenRole::Operator, &["red", "blue"]).await;
    let mut ids = Vec::new();
    for group in ["red", "green", "blue", "red"] {
        let created = site.as_bearer(&all, "POST", "/v1/tasks", Some(&noop(group))).await;
        ids.push(created.json()["id"].as_u64().unwrap());
    }
    let listed = |answer: Value| -> Vec<u64> {
        answer["tasks"].as_array().unwrap().iter().map(|task| task["id"].as_u64().unwrap()).collect()
    };
    let get = async |path: &str| site.as_bearer(&some, "GET", path, None).await;
    assert_eq!(listed(get("/v1/tasks").await.json()), [ids[3], ids[2], ids[0]]);
    let first = get("/v1/tasks?limit=2").await.json();
    assert_eq!(listed(first.clone()), [ids[3], ids[2]]);
    assert_eq!(listed(get(&format!("/v1/tasks?limit=2&cursor={}", first["next"])).await.json()), [ids[0]]);
    assert_eq!(get("/v1/tasks?group=green").await.problem().0, 403);

    let foreign = format!("/v1/tasks/{}", ids[1]);
    let absent = get("/v1/tasks/4711").await.text.replace("4711", &ids[1].to_string());
    assert_eq!(get(&foreign).await.text, absent, "as though it were not there");
    for path in ["/failures", "/result", "/events"] {
        assert_eq!(get(&format!("{foreign}{path}")).await.problem().0, 404, "{path}");
    }
    let cancelled = site.as_bearer(&some, "POST", &format!("{foreign}/cancel"), None).await;
    assert_eq!(cancelled.problem().0, 404);
    let named = json!({"action": "cancel", "tasks": [ids[0], ids[1]]});
    assert_eq!(site.as_bearer(&some, "POST", "/v1/bulk", Some(&named)).await.problem().0, 404);
    let bulk = json!({"action": "cancel", "filter": {"type": "noop"}});
    let begun = site.as_bearer(&some, "POST", "/v1/bulk", Some(&bulk)).await;
    let handle = begun.location.unwrap();
    let bulk = loop {
        let bulk = site.as_bearer(&some, "GET", &handle, None).await.json();
        if bulk["status"] == "finished" {
            break bulk;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert_eq!((&bulk["selected"], &bulk["applied"]), (&json!(3), &json!(3)));
    let other = site.token(TokenRole::Operator, &["green"]).await;
    assert_eq!(site.as_bearer(&other, "GET", &handle, None).await.problem().0, 404);
    let pause = json!({"paused": true});
    assert_eq!(
        site.as_bearer(&some, "PUT", "/v1/groups/red", Some(&pause)).await.json()["paused"],
        json!(true)
    );
    assert_eq!(site.as_bearer(&some, "PUT", "/v1/groups/green", Some(&pause)).await.problem().0, 403);
    assert_eq!(site.as_bearer(&all, "GET", &foreign, None).await.json()["control"], json!("run"));

    assert_eq!(site.as_bearer(&some, "POST", "/v1/tasks", Some(&noop("green"))).await.problem().0, 403);
    let names: Vec<_> =
        get("/v1/groups").await.json().as_array().unwrap().iter().map(|g| g["name"].clone()).collect();
    assert_eq!(names, ["blue", "red"]);
    let quota = json!({"quota": 1_000_000});
    for (method, path) in [("PUT", "/v1/groups/red"), ("PUT", "/v1/workers/nobody/drain")] {
        let body = if path.ends_with("drain") { json!({"drained": true}) } else { quota.clone() };
        assert_eq!(site.as_bearer(&some, method, path, Some(&body)).await.problem().0, 403, "{path}");
    }
    let page = get("/tasks").await;
    assert_eq!(page.status, StatusCode::OK);

    // Nor may its own tasks take the results of others, nor an admin see what was changed there.
    let mut after = noop("red");
    after["after"] = json!([{"task": ids[1]}]);
    assert_eq!(site.as_bearer(&some, "POST", "/v1/tasks", Some(&after)).await.problem().0, 404);
    after["after"] = json!([{"task": ids[0], "when": "ended"}]);
    let waits = site.as_bearer(&some, "POST", "/v1/tasks", Some(&after)).await;
    assert_eq!(waits.status, StatusCode::CREATED, "{}", waits.text);
    let admin = site.token(TokenRole::Admin, &["red"]).await;
    for path in ["/v1/audit", "/v1/tokens", "/audit", "/tokens"] {
        let refused = site.as_bearer(&admin, "GET", path, None).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{path}");
    }
    let own = site.as_bearer(&admin, "GET", &format!("/tasks/{}", ids[0]), None).await;
    assert!(own.text.contains("task.cancel"), "the changes of a task that it sees: {}", own.text);
}

#[tokio::test]
async fn every_change_is_in_the_audit_with_its_outcome() {
    let (site, _) = Site::guarded().await;
    let admin = site.token(TokenRole::Admin, &[]).await;
    let id = site.as_bearer(&admin, "POST", "/v1/tasks", Some(&noop("default"))).await.json()["id"].clone();
    for (action, status) in
        [("pause", 200), ("pause", 200), ("resume", 200), ("cancel", 200), ("resume", 409)]
    {
        let done = site.as_bearer(&admin, "POST", &format!("/v1/tasks/{id}/{action}"), None).await;
        assert_eq!(done.status.as_u16(), status, "{action}: {}", done.text);
    }
    site.as_bearer(&admin, "PUT", "/v1/groups/night", Some(&json!({"quota": 7}))).await;
    let page = site.as_bearer(&admin, "GET", &format!("/v1/audit?target=task%20{id}"), None).await.json();
    let entries: Vec<_> = page["entries"].as_array().unwrap().iter().rev().collect();
    let seen: Vec<_> =
        entries.iter().map(|e| (e["action"].as_str().unwrap(), e["outcome"].as_str().unwrap())).collect();
    let expected = [
        ("task.create", "done"),
        ("task.pause", "done"),
        ("task.pause", "done"),
        ("task.resume", "done"),
        ("task.cancel", "done"),
        ("task.resume", "refused"),
    ];
    assert_eq!(seen, expected);
    let refused = entries.last().unwrap();
    assert!(refused["detail"].as_str().unwrap().contains("cannot be resumed"), "{refused}");
    assert!(refused["actor"].as_str().unwrap().starts_with("a admin ("), "{refused}");
    let all = site.as_bearer(&admin, "GET", "/v1/audit?limit=1", None).await.json();
    assert_eq!(all["entries"][0]["target"], "group night");
    let next = all["next"].as_str().unwrap();
    let older = site.as_bearer(&admin, "GET", &format!("/v1/audit?limit=1&cursor={next}"), None).await.json();
    assert_eq!(older["entries"][0]["action"], "task.resume");
    let shown = site.as_bearer(&admin, "GET", &format!("/tasks/{id}"), None).await.text;
    assert!(shown.contains("task.cancel") && shown.contains("a admin"), "{shown}");
}

#[tokio::test]
async fn a_browser_exchanges_a_token_for_a_cookie_that_scripts_and_other_sites_cannot_use() {
    let (site, _) = Site::guarded().await;
    let token = site.token(TokenRole::Operator, &[]).await;
    let refused = site.get("/tasks?status=running").await;
    assert_eq!(refused.status, StatusCode::SEE_OTHER);
    assert_eq!(refused.location.unwrap(), "/login?next=%2Ftasks%3Fstatus%3Drunning");
    assert!(site.get("/login?next=/tasks").await.text.contains("value=\"/tasks\""));

    let wrong = site.submit("/login", "token=dtf_1_2&next=/tasks").await;
    assert_eq!((wrong.status, wrong.cookie), (StatusCode::UNAUTHORIZED, None));
    let split = site.submit("/login", "token=dtf%0d%0aSet-Cookie:%20a=b&next=/").await;
    assert_eq!((split.status, split.cookie), (StatusCode::UNAUTHORIZED, None));
    let entered = site.submit("/login", &format!("token={token}&next=//evil.example")).await;
    assert_eq!((entered.status, entered.location.as_deref()), (StatusCode::SEE_OTHER, Some("/")));
    let cookie = entered.cookie.unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");

    let pair = cookie.split(';').next().unwrap();
    let ask = |method: &str, path: &str, header: Option<(&str, &str)>, pair: &str| {
        let mut request = request(method, path).header("cookie", pair);
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        site.ask(request.body(Body::empty()).unwrap())
    };
    assert_eq!(ask("GET", "/tasks", None, pair).await.status, StatusCode::OK);
    let elsewhere = Some(("origin", "http://evil.example"));
    assert_eq!(ask("POST", "/v1/tasks/1/cancel", elsewhere, pair).await.problem().1, "foreign_origin");
    let cross_site = Some(("sec-fetch-site", "cross-site"));
    assert_eq!(ask("POST", "/tasks/1/cancel", cross_site, pair).await.problem().1, "foreign_origin");
    assert_eq!(ask("GET", "/v1/tasks", None, "dtf_token=forged").await.problem().0, 401);
    let left = site.submit("/logout", "").await;
    assert!(left.cookie.unwrap().starts_with("dtf_token=; Path=/; Max-Age=0"));
}
