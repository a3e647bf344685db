//! Schedules over HTTP, and their pages.

use axum::body::Body;
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::support::{Site, request};

fn nightly(name: &str) -> Value {
    json!({"name": name, "when": "30 2 * * *", "zone": "Europe/Berlin", "task": {"type": "noop", "param": {"count": 3}}})
}

#[tokio::test]
async fn a_schedule_is_created_listed_paused_triggered_and_deleted() {
    let site = Site::running().await;
    let created = site.send_json("POST", "/v1/schedules", &nightly("a b")).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.text);
    assert_eq!(created.location.as_deref(), Some("/v1/schedules/a%20b"));
    let schedule = created.json();
    assert_eq!((&schedule["overlap"], &schedule["catch_up_ms"]), (&json!("skip"), &json!(3_600_000)));
    assert_eq!(schedule["upcoming"].as_array().unwrap().len(), 10);
    assert!(schedule["words"].as_str().unwrap().contains("02:30"), "{}", schedule["words"]);
    assert_eq!(site.get("/v1/schedules/a%20b").await.json(), schedule);

    site.send_json("POST", "/v1/schedules", &nightly("b")).await;
    let first = site.get("/v1/schedules?limit=1").await.json();
    assert_eq!((&first["schedules"][0]["name"], &first["next"]), (&json!("a b"), &json!("a b")));
    let second = site.get("/v1/schedules?limit=1&cursor=a%20b").await.json();
    assert_eq!((&second["schedules"][0]["name"], &second["next"]), (&json!("b"), &Value::Null));

    let paused = site.post("/v1/schedules/a%20b/pause").await.json();
    assert_eq!((&paused["paused"], &paused["upcoming"]), (&json!(true), &json!([])));
    let key = "6c2b9b3a-7d1c-4a61-9d0a-0a2f0b8d6c11";
    let trigger = || {
        let request = request("POST", "/v1/schedules/a%20b/trigger").header("idempotency-key", key);
        site.ask(request.body(Body::empty()).unwrap())
    };
    let (one, two) = (trigger().await.json(), trigger().await.json());
    assert_eq!((&one["id"], &one["type"]), (&two["id"], &json!("noop")));
    let row = site.task(one["id"].as_u64().unwrap()).wait().await.unwrap();
    assert_eq!(row.counts.succeeded, 3);
    let history = site.get("/v1/schedules/a%20b").await.json()["history"].clone();
    assert_eq!((&history[0]["cause"], &history[0]["task"]), (&json!("trigger"), &one["id"]));
    assert_eq!(site.post("/v1/schedules/a%20b/resume").await.json()["paused"], json!(false));

    // Two nights in March of 2026.
    let period = json!({"from": 1_774_562_400_000_u64, "until": 1_774_735_200_000_u64, "concurrency": 2});
    let filling = site.send_json("POST", "/v1/schedules/b/backfill", &period).await;
    assert_eq!(filling.json()["backfill"]["concurrency"], json!(2), "{}", filling.text);
    while site.get("/v1/schedules/b").await.json()["backfill"] != Value::Null {
        tokio::task::yield_now().await;
    }
    assert_eq!(site.get("/v1/schedules/b").await.json()["totals"]["created"], json!(2));

    let delete = request("DELETE", "/v1/schedules/b").body(Body::empty()).unwrap();
    assert_eq!(site.ask(delete).await.status, StatusCode::NO_CONTENT);
    assert_eq!(site.get("/v1/schedules/b").await.problem(), (404, "not_found".to_owned()));
}

#[tokio::test]
async fn what_cannot_be_scheduled_is_refused_and_nothing_is_created() {
    let site = Site::idle().await;
    let with = |field: &str, value: Value| {
        let mut body = nightly("s");
        body[field] = value;
        body
    };
    let task = |param: Value| json!({"type": "noop", "param": param});
    for body in [
        json!({}),
        with("when", json!("0 0 30 2 *")),
        with("when", json!("every day")),
        with("when", json!(5)),
        with("zone", json!("Europe/Atlantis")),
        with("name", json!("")),
        with("name", json!("x".repeat(200))),
        with("task", json!({"type": "nothing"})),
        with("task", task(json!({"count": -1}))),
        with("task", json!({"type": "noop", "param": {"count": 1}, "start_at": 5})),
        with("task", json!({"type": "noop", "param": {"count": 1}, "group": "nobody"})),
        with("task", json!({"type": "noop", "param": {"count": 1}, "after": [{"task": 1}]})),
        with("task", Value::Null),
        with("flow", json!({"tasks": {"a": {"type": "noop"}}})),
        with("overlap", json!("sometimes")),
        with("jitter_ms", json!(u64::MAX)),
        with("end_at", json!(1)),
        with("colour", json!("red")),
    ] {
        let (status, code) = site.send_json("POST", "/v1/schedules", &body).await.problem();
        assert_eq!((status, code.as_str()), (422, "invalid_request"), "{body}");
    }
    assert_eq!(site.get("/v1/schedules").await.json()["schedules"], json!([]));
    assert_eq!(site.post("/v1/schedules/nobody/pause").await.problem().0, 404);
    assert_eq!(site.post("/v1/schedules/nobody/trigger").await.problem().0, 404);
    site.send_json("POST", "/v1/schedules", &nightly("s")).await;
    let taken = site.send_json("POST", "/v1/schedules", &nightly("s")).await;
    assert_eq!(taken.problem(), (409, "not_allowed".to_owned()));
    for period in [
        json!({"from": 5, "until": 4}),
        json!({"from": 0, "until": u64::MAX}),
        json!({"from": 0, "until": 1, "concurrency": 0}),
    ] {
        let refused = site.send_json("POST", "/v1/schedules/s/backfill", &period).await;
        assert_eq!(refused.problem().0, 422, "{period}");
    }
}

#[tokio::test]
async fn a_schedule_creates_flows() {
    let site = Site::running().await;
    let task = json!({"type": "noop", "param": {"count": 1}});
    let behind = json!({"type": "noop", "param": {"count": 1}, "after": ["a"]});
    let body =
        json!({"name": "f", "when": "@daily", "flow": {"name": "daily", "tasks": {"a": task, "b": behind}}});
    let created = site.send_json("POST", "/v1/schedules", &body).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.text);
    let schedule = created.json();
    assert_eq!(
        (&schedule["task"], &schedule["flow"]["tasks"]["b"]["after"][0]["task"]),
        (&Value::Null, &json!("a"))
    );
    let first = site.post("/v1/schedules/f/trigger").await.json();
    assert_eq!((&first["flow_task"], first["flow"].is_u64()), (&json!("a"), true));
    assert!(site.get("/schedules/f").await.text.contains("daily: a b"));
    assert!(site.get("/schedules").await.text.contains("<td>flow</td>"));
}

#[tokio::test]
async fn pages_show_schedules_and_forms_change_them() {
    let site = Site::running().await;
    assert!(site.get("/schedules").await.text.contains("There is no schedule"));
    assert_eq!(site.get("/schedules/new").await.status, StatusCode::OK);
    let form = |when: &str| {
        format!(
            "name=%3Cb%3E&when={when}&zone=Europe%2FBerlin&type=noop&param=%7B%22count%22%3A3%7D&group=default&overlap=queue_one&\
             catch_up_s=60&jitter_s=0&request=6c2b9b3a-7d1c-4a61-9d0a-0a2f0b8d6c11"
        )
    };
    let refused = site.submit("/schedules", &form("0+0+30+2+*")).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(refused.text.contains("is never due"), "{}", refused.text);
    let created = site.submit("/schedules", &form("%40daily")).await;
    assert_eq!(
        (created.status, created.location.as_deref()),
        (StatusCode::SEE_OTHER, Some("/schedules/%3Cb%3E"))
    );
    let again = site.submit("/schedules", &form("%40daily")).await;
    assert_eq!(again.status, StatusCode::SEE_OTHER, "sent twice, it is created once");

    let page = async || site.get("/schedules/%3Cb%3E").await.text;
    assert!(!page().await.contains("<b></h1>") && page().await.contains("queue_one"), "{}", page().await);
    assert!(site.get("/schedules").await.text.contains("Europe/Berlin"));
    assert_eq!(site.submit("/schedules/%3Cb%3E/pause", "").await.status, StatusCode::SEE_OTHER);
    assert!(page().await.contains("None while it is paused"));
    assert_eq!(site.submit("/schedules/%3Cb%3E/resume", "").await.status, StatusCode::SEE_OTHER);
    let triggered = site.submit("/schedules/%3Cb%3E/trigger", "").await;
    assert!(triggered.location.unwrap().starts_with("/tasks/"));
    let fields = "from=2026-03-01T00%3A00&until=2026-03-03T00%3A00&concurrency=2";
    let filled = site.submit("/schedules/%3Cb%3E/backfill", fields).await;
    assert_eq!(filled.status, StatusCode::SEE_OTHER, "{}", filled.text);
    assert_eq!(site.submit("/schedules/%3Cb%3E/backfill", "from=x&until=y&concurrency=1").await.status, 422);
    assert_eq!(site.submit("/schedules/%3Cb%3E/delete", "").await.location.as_deref(), Some("/schedules"));
    assert!(site.get("/schedules").await.text.contains("There is no schedule"));
}
