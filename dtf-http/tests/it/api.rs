//! The JSON handlers, one after the other.

use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use serde_json::json;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use crate::support::{Site, request};

#[tokio::test]
async fn a_task_is_created_runs_and_is_shown_with_its_failures_and_retried() {
    let site = Site::running().await;
    let body = json!({"type": "noop", "name": "nightly", "param": {"count": 100, "failure_rate": 0.5}, "priority": 9000});
    let created = site.send_json("POST", "/v1/tasks", &body).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.text);
    let id = created.json()["id"].as_u64().unwrap();
    assert_eq!(created.location, Some(format!("/v1/tasks/{id}")));
    site.task(id).wait().await.unwrap();

    let task = site.get(&format!("/v1/tasks/{id}")).await.json();
    assert_eq!(
        (&task["type"], &task["name"], &task["status"]),
        (&json!("noop"), &json!("nightly"), &json!("completed"))
    );
    let (succeeded, failed) = (&task["progress"]["succeeded"], &task["progress"]["failed"]);
    assert_eq!(succeeded.as_u64().unwrap() + failed.as_u64().unwrap(), 100);
    assert_eq!(site.get(&format!("/v1/tasks/{id}/result")).await.json()["code"], json!(0));

    let page = site.get(&format!("/v1/tasks/{id}/failures?limit=1")).await.json();
    let first = &page["failures"][0];
    assert!(first["error"].is_string() && page["more"] == json!(true), "{page}");
    let path = format!("/v1/tasks/{id}/failures?after_epoch={}&after_seq={}", first["epoch"], first["seq"]);
    let rest = site.get(&path).await.json();
    assert_eq!(rest["failures"].as_array().unwrap().len() as u64 + 1, failed.as_u64().unwrap());

    let kinds = site.get(&format!("/v1/tasks/{id}/failures/kinds")).await.json();
    let kinds = kinds.as_array().unwrap();
    assert_eq!((kinds.len(), &kinds[0]["count"]), (1, failed), "{kinds:?}");
    assert_eq!(kinds[0]["example"], first["error"]);
    assert_eq!(site.get("/v1/tasks/4711/failures/kinds").await.problem().0, 404);

    let retried = site.post(&format!("/v1/tasks/{id}/retry")).await;
    assert_eq!(retried.status, StatusCode::OK, "{}", retried.text);
    let again = retried.json();
    assert_eq!(again["retry_of"], json!(id));
    let row = site.task(again["id"].as_u64().unwrap()).wait().await.unwrap();
    assert_eq!(row.counts.created, failed.as_u64().unwrap());
}

#[tokio::test]
async fn creating_again_under_the_same_key_finds_the_same_task() {
    let site = Site::idle().await;
    let key = Uuid::new_v4().to_string();
    let create = || {
        let request = request("POST", "/v1/tasks").header("content-type", "application/json");
        let body = Body::from(json!({"type": "noop", "param": {"count": 1}}).to_string());
        site.ask(request.header("idempotency-key", &key).body(body).unwrap())
    };
    let (one, two) = (create().await.json(), create().await.json());
    assert_eq!(one["id"], two["id"]);
    assert_eq!(site.count().await, 1);
}

#[tokio::test]
async fn a_task_is_paused_resumed_and_cancelled_as_far_as_its_status_allows() {
    let site = Site::running().await;
    let id = site.create("long", json!({"count": 1000, "sleep_ms": 1000})).await;
    let act = async |action: &str| site.post(&format!("/v1/tasks/{id}/{action}")).await;
    assert_eq!(act("pause").await.json()["control"], json!("pause"));
    assert_eq!(act("resume").await.json()["control"], json!("run"));
    assert_eq!(act("cancel").await.json()["control"], json!("cancel"));
    site.task(id).wait().await.unwrap();
    assert_eq!(act("pause").await.problem(), (409, "not_allowed".to_owned()));
    assert_eq!(site.get(&format!("/v1/tasks/{id}/result")).await.problem(), (409, "not_allowed".to_owned()));
}

#[tokio::test]
async fn the_course_of_a_life_is_told() {
    let site = Site::idle().await;
    let id = site.create("long", json!({"count": 1})).await;
    for action in ["pause", "resume", "cancel"] {
        site.post(&format!("/v1/tasks/{id}/{action}")).await;
    }
    let timeline = site.get(&format!("/v1/tasks/{id}/timeline")).await.json();
    let seen: Vec<_> = timeline
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (entry["what"].as_str().unwrap(), entry["by"].as_str().unwrap_or_default()))
        .collect();
    let by = "local";
    assert_eq!(seen, [("created", by), ("paused", by), ("resumed", by), ("cancelled", by)], "{timeline}");
    assert_eq!(site.get("/v1/tasks/4711/timeline").await.problem().0, 404);
    assert!(site.get(&format!("/tasks/{id}")).await.text.contains("<h2>Timeline</h2>"));
}

#[tokio::test]
async fn the_recent_past_is_recorded_by_group() {
    let site = Site::running().await;
    let recording = site.app.clone();
    let recording = AbortOnDropHandle::new(tokio::spawn(async move { recording.record().await }));
    let id = site.create("long", json!({"count": 10_000, "sleep_ms": 50})).await;
    let history = loop {
        let history = site.get("/v1/history").await.json();
        if history["succeeded"].as_array().unwrap().iter().any(|rate| rate.as_f64() > Some(0.0)) {
            break history;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(history["step_ms"], json!(5000));
    assert_eq!(
        (&history["groups"][0]["group"], &history["groups"][0]["share"][0]),
        (&json!("default"), &json!(1.0)),
        "{history}"
    );
    assert_eq!(site.get("/v1/history?span=day").await.json()["at"], json!([]));
    assert_eq!(
        site.get(&format!("/v1/history?since={}", history["at"][0])).await.json()["at"]
            .as_array()
            .map(Vec::len),
        Some(0)
    );
    assert_eq!(site.get("/v1/history?span=year").await.problem().0, 422);
    site.post(&format!("/v1/tasks/{id}/cancel")).await;
    drop(recording);
    site.dtf.stop().await;
}

#[tokio::test]
async fn lists_are_filtered_and_paged() {
    let site = Site::idle().await;
    for name in ["a-1", "a-2", "b-1", "a-3"] {
        site.create(name, json!({"count": 1})).await;
    }
    let names = async |query: String| {
        let page = site.get(&format!("/v1/tasks?{query}")).await.json();
        let names =
            page["tasks"].as_array().unwrap().iter().map(|task| task["name"].as_str().unwrap().to_owned());
        (names.collect::<Vec<_>>(), page["next"].as_u64())
    };
    let (first, next) = names("limit=3".to_owned()).await;
    assert_eq!(first, ["a-3", "b-1", "a-2"]);
    assert_eq!(names(format!("limit=3&cursor={}", next.unwrap())).await, (vec!["a-1".to_owned()], None));
    assert_eq!(names("name_prefix=a-".to_owned()).await.0, ["a-1", "a-2", "a-3"]);
    assert_eq!(names("status=created&type=noop&group=default".to_owned()).await.0.len(), 4);
    assert_eq!(names("status=running".to_owned()).await.0.len(), 0);
}

#[tokio::test]
async fn groups_are_made_and_changed_and_what_is_left_out_stays() {
    let site = Site::idle().await;
    let set = async |body| site.send_json("PUT", "/v1/groups/night", &body).await.json();
    assert_eq!(set(json!({"quota": 7, "description": "at night"})).await["quota"], json!(7));
    let changed = set(json!({"limits": {"running": 100}})).await;
    assert_eq!((&changed["quota"], &changed["description"]), (&json!(7), &json!("at night")));
    let mut shown = site.get("/v1/groups/night").await.json();
    assert_eq!(shown["measured"].take(), json!({"running": 0, "waiting": 0, "share": 0.0}));
    assert_eq!(shown, changed);
    let names: Vec<_> = site
        .get("/v1/groups")
        .await
        .json()
        .as_array()
        .unwrap()
        .iter()
        .map(|group| group["name"].clone())
        .collect();
    assert_eq!(names, [json!("default"), json!("night")]);
}

#[tokio::test]
async fn types_workers_and_placement_are_shown_and_a_worker_is_drained() {
    let site = Site::running().await;
    assert_eq!(site.get("/v1/types").await.json()[0]["name"], json!("noop"));
    let workers = site.get("/v1/workers").await.json();
    assert_eq!(workers[0]["name"], json!("local"));
    assert_eq!(workers[0]["roles"].as_array().unwrap().len(), 5);
    assert_eq!(workers[0]["slots"], json!({"total": 4, "used": 0}));
    let types = workers[0]["types"].as_array().unwrap();
    assert!(["noop", "map"].iter().all(|name| types.iter().any(|known| known["name"] == *name)), "{workers}");
    // The parts are placed a moment after the roles have joined.
    let placement = loop {
        let placement = site.get("/v1/placement/scheduler").await.json();
        if placement["parts"][0]["state"] == json!("held") {
            break placement;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let part = &placement["parts"][0];
    assert_eq!((&part["worker"], &part["state"]), (&json!("local"), &json!("held")));
    assert!(part["token"].as_u64().unwrap() > 0 && !part["why"].as_array().unwrap().is_empty(), "{part}");
    let drained = site.send_json("PUT", "/v1/workers/local/drain", &json!({"drained": true})).await.json();
    assert!(drained["roles"].as_array().unwrap().iter().all(|role| role["drained"] == json!(true)));
    let back = site.send_json("PUT", "/v1/workers/local/drain", &json!({"drained": false})).await.json();
    assert!(back["roles"].as_array().unwrap().iter().all(|role| role["drained"] == json!(false)));
}

#[tokio::test]
async fn operators_pin_freeze_evict_and_release_under_their_name() {
    let site = Site::running().await;
    let path = "/v1/placement/scheduler";
    let held = async || loop {
        let parts = site.get(path).await.json()["parts"].clone();
        if parts[0]["state"] == json!("held") {
            return parts;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let part = held().await[0]["part"].clone();
    let ask = async |what: &str, body: &serde_json::Value| {
        site.send_json("POST", &format!("{path}/{what}"), body).await
    };
    let pin = json!({"part": part, "worker": "local"});
    assert_eq!(ask("pin", &pin).await.status, StatusCode::OK);
    assert_eq!(ask("unpin", &json!({"part": part})).await.status, StatusCode::OK);
    for what in ["freeze", "unfreeze"] {
        assert_eq!(site.post(&format!("{path}/{what}")).await.status, StatusCode::OK, "{what}");
    }
    for (what, body) in [
        ("pin", json!({"part": "nowhere", "worker": "local"})),
        ("pin", json!({"part": part, "worker": "nobody"})),
        ("evict", json!({"worker": "nobody"})),
        ("force-release", json!({"part": "nowhere"})),
    ] {
        assert_eq!(ask(what, &body).await.problem(), (404, "not_found".to_owned()), "{what} {body}");
    }
    assert_eq!(ask("pin", &json!({"part": part})).await.problem().0, 422);

    assert_eq!(ask("force-release", &json!({"part": part})).await.status, StatusCode::OK);
    // Whoever is evicted stays away for one TTL.
    assert_eq!(ask("evict", &json!({"worker": "local"})).await.status, StatusCode::OK);
    let given_up = async {
        while site.get(path).await.json()["parts"][0]["state"] == json!("held") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), given_up).await.unwrap();
    let audit = site.get("/v1/audit").await.text;
    for action in ["pin", "unpin", "freeze", "unfreeze", "evict", "force_release"] {
        assert!(audit.contains(&format!("placement.{action}\"")), "{action}: {audit}");
    }
    site.dtf.stop().await;
}
