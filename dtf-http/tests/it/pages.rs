//! The dashboard without JavaScript: pages open, forms work.

use std::time::Duration;

use axum::http::StatusCode;
use lrmf_core::coordination::{Op, Txn};
use serde_json::json;

use crate::support::Site;

#[tokio::test]
async fn every_page_opens_and_shows_text_of_users_as_text() {
    let site = Site::running().await;
    let id = site.create("<script>alert(1)</script>", json!({"count": 10, "failure_rate": 1.0})).await;
    site.task(id).wait().await.unwrap();
    let task = format!("/tasks/{id}");
    let copy = format!("/tasks/new?like={id}");
    let paths = [
        "/",
        "/tasks",
        "/tasks?status=completed&type=noop&name_prefix=%3C",
        "/tasks/new",
        &task,
        &copy,
        "/groups",
        "/types",
        "/workers",
        "/placement/executor",
        "/placement/manager",
        "/cluster",
        "/login",
        "/docs",
        "/tokens",
        "/audit",
        "/audit?target=task%201",
    ];
    for path in paths {
        let page = site.get(path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}: {}", page.text);
        assert!(page.content_type.starts_with("text/html") && page.text.contains("<h1>"), "{path}");
        assert!(!page.text.contains("<script>alert"), "{path}");
    }
    assert!(site.get(&task).await.text.contains("Retry failed subtasks"));
    for asset in [
        "/assets/style.css",
        "/assets/htmx.min.js",
        "/assets/live.js",
        "/assets/charts.js",
        "/assets/uplot.min.js",
        "/assets/uplot.css",
        "/favicon.ico",
    ] {
        assert_eq!(site.get(asset).await.status, StatusCode::OK, "{asset}");
    }
}

#[tokio::test]
async fn a_form_creates_a_task_once_and_says_what_is_wrong() {
    let site = Site::idle().await;
    let form = |param: &str| {
        format!(
            "type=noop&param={param}&name=by+form&group=default&priority=6000&timeout_s=60&request=6c2b9b3a-7d1c-4a61-9d0a-0a2f0b8d6c11"
        )
    };
    let refused = site.submit("/tasks", &form("%7B")).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        refused.text.contains("the parameters are not JSON") && refused.text.contains("by form"),
        "{}",
        refused.text
    );
    assert_eq!(site.count().await, 0);
    let created = site.submit("/tasks", &form("%7B%22count%22%3A3%7D")).await;
    assert_eq!(created.status, StatusCode::SEE_OTHER, "{}", created.text);
    let again = site.submit("/tasks", &form("%7B%22count%22%3A3%7D")).await;
    assert_eq!((created.location, site.count().await), (again.location, 1));
}

#[tokio::test]
async fn actions_are_forms() {
    let site = Site::idle().await;
    let id = site.create("a-1", json!({"count": 3})).await;
    site.create("a-2", json!({"count": 3})).await;
    let control = async || site.get(&format!("/v1/tasks/{id}")).await.json()["control"].clone();
    let paused = site.submit(&format!("/tasks/{id}/pause"), "").await;
    assert_eq!((paused.status, paused.location), (StatusCode::SEE_OTHER, Some(format!("/tasks/{id}"))));
    assert_eq!(control().await, json!("pause"));
    assert_eq!(site.submit(&format!("/tasks/{id}/explode"), "").await.status, StatusCode::NOT_FOUND);

    let counted = site.submit("/bulk", "filter=%7B%22name_prefix%22%3A%22a-%22%7D&action=cancel").await;
    assert!(counted.text.contains("selects 2 tasks"), "{}", counted.text);
    assert_eq!(control().await, json!("pause"), "counting changes nothing");
    let done =
        site.submit("/bulk", "filter=%7B%22name_prefix%22%3A%22a-%22%7D&action=cancel&expect_count=2").await;
    let handle = done.location.unwrap();
    site.ended(&format!("/v1{handle}")).await;
    let shown = site.get(&handle).await.text;
    assert!(shown.contains("Applied to 2 of 2 tasks"), "{shown}");
    assert_eq!(control().await, json!("cancel"));

    let (one, other) =
        (site.create("b-1", json!({"count": 3})).await, site.create("b-2", json!({"count": 3})).await);
    assert!(site.get("/tasks").await.text.contains(&format!("aria-label=\"Choose task {one}\"")));
    let chosen = format!("task={one}&task={other}&action=pause");
    let counted = site.submit("/bulk", &chosen).await;
    assert!(counted.text.contains("You have chosen 2 tasks"), "{}", counted.text);
    let handle = site.submit("/bulk", &format!("{chosen}&expect_count=2")).await.location.unwrap();
    assert_eq!(site.ended(&format!("/v1{handle}")).await["applied"], json!(2));
    for wrong in [
        "action=pause",
        "task=x&action=pause",
        "task=1&action=explode",
        "task=1",
        "task=1&action=pause&colour=red",
    ] {
        assert_eq!(site.submit("/bulk", wrong).await.status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong}");
    }

    assert_eq!(site.submit("/groups/default", "quota=7").await.status, StatusCode::SEE_OTHER);
    assert_eq!(site.get("/v1/groups/default").await.json()["quota"], json!(7));
    assert_eq!(site.submit("/groups/mistyped", "quota=7").await.status, StatusCode::NOT_FOUND);
    assert_eq!(site.submit("/groups", "name=new&quota=0").await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(site.submit("/groups", "name=new&quota=5").await.status, StatusCode::SEE_OTHER);
    assert_eq!(site.get("/v1/groups/new").await.json()["quota"], json!(5));
}

#[tokio::test]
async fn a_group_has_a_page_is_limited_and_paused_there() {
    let site = Site::running().await;
    let group = async || site.get("/v1/groups/default").await.json();
    assert_eq!(site.submit("/groups/default/pause", "").await.location.as_deref(), Some("/groups/default"));
    assert_eq!(group().await["paused"], json!(true));
    let id = site.create("waits", json!({"count": 3})).await;
    let page = loop {
        let page = site.get(&format!("/tasks/{id}")).await.text;
        if page.contains("to be resumed; it is paused") {
            break site.get("/groups/default").await.text;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(page.contains("It is paused") && page.contains(&format!("/tasks/{id}")), "{page}");
    while !site.get("/").await.text.contains("it is paused") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let set = site.submit("/groups/default", "quota=30&running=4&rate=").await;
    assert_eq!(set.location.as_deref(), Some("/groups/default"));
    let now = group().await;
    assert_eq!((&now["quota"], &now["limits"]), (&json!(30), &json!({"running": 4, "rate": null})), "{now}");
    assert_eq!(now["paused"], json!(true), "that stays as it is");
    assert_eq!(
        site.submit("/groups/default", "quota=30&running=x").await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    assert_eq!(site.get(&format!("/v1/tasks/{id}")).await.json()["progress"]["succeeded"], json!(0));
    site.submit("/groups/default/resume", "").await;
    site.task(id).wait().await.unwrap();
    assert_eq!(site.get("/groups/mistyped").await.status, StatusCode::NOT_FOUND);
    assert_eq!(site.submit("/groups/mistyped/pause", "").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn slots_that_are_busy_and_calls_that_are_stuck_are_shown() {
    let site = Site::running().await;
    let id = site.create("long", json!({"count": 100, "sleep_ms": 900_000})).await;
    let worker = async || site.get("/v1/workers").await.json()[0].clone();
    while worker().await["slots"]["used"] == json!(0) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let overview = async || site.get("/").await.text;
    while !overview().await.contains("slots busy") || overview().await.contains("<b>0 of 4</b>") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(site.get("/workers").await.text.contains(" of 4</td>"));
    let group = async || site.get("/v1/groups").await.json()[0]["measured"].clone();
    while group().await["share"] != json!(1.0) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(group().await["running"].as_u64() > Some(0));
    // As the process would say it.
    let calls = json!([{"call": "generator, task 7 <b>", "since": 1_800_000_000_000_u64}]);
    let note = |process: &str, until: u64| {
        let note = json!({"format": 1, "process": process, "calls": calls, "count": 3, "until": until});
        let (key, value) = (format!("/lrmf/dtf/stuck/default/{process}"), note.to_string().into());
        Op::Put { key, value, lease: None }
    };
    let ops = vec![note("local", 4_102_444_800_000), note("gone", 4_102_444_800_000), note("late", 1)];
    site.coordination.commit(Txn { guards: Vec::new(), ops }).await.unwrap();
    while worker().await["stuck_count"] != json!(3) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(worker().await["stuck"], calls);
    let page = site.get("/workers").await.text;
    assert!(page.contains("Stuck in local") && page.contains("task 7 &#60;b&#62;"), "{page}");
    assert!(!page.contains("Stuck in gone") && !page.contains("Stuck in late"), "they are no processes");
    while !overview().await.contains("Calls into plugins are stuck in local (3)") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    site.dtf.client().cancel_task(dtf::model::TaskId(id)).await.unwrap();
}

#[tokio::test]
async fn placement_says_since_when_and_what_moved() {
    let site = Site::idle().await;
    let placement = async || site.get("/v1/placement/executor").await.json();
    assert_eq!(placement().await["parts"], json!([]));
    site.dtf.start_all().await.unwrap();
    let moved = loop {
        let now = placement().await;
        if now["parts"].as_array().unwrap().len() == 4 {
            break now;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let page = site.get("/placement/executor").await.text;
    assert!(page.contains("since (UTC)") && page.contains("<h2>Moves</h2>"), "{page}");
    assert!(moved["seen_since"].as_u64() > Some(0), "{moved}");
}

#[tokio::test]
async fn operators_ask_for_placement_by_forms() {
    let site = Site::running().await;
    let path = "/placement/scheduler";
    let placement = async || site.get(&format!("/v1{path}")).await.json();
    let part = loop {
        let parts = placement().await["parts"].clone();
        if parts[0]["state"] == json!("held") {
            break parts[0]["part"].as_str().unwrap().to_owned();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let submit = async |what: &str, fields: &str| {
        let answer = site.submit(&format!("{path}/{what}"), fields).await;
        assert_eq!(
            (answer.status, answer.location),
            (StatusCode::SEE_OTHER, Some(path.to_owned())),
            "{what}"
        );
    };
    submit("pin", &format!("part={part}&worker=local")).await;
    assert_eq!(placement().await["parts"][0]["pinned_to"], json!("local"));
    assert!(site.get(path).await.text.contains("Unpin"));
    submit("unpin", &format!("part={part}")).await;
    assert_eq!(placement().await["parts"][0]["pinned_to"], json!(null));
    submit("freeze", "").await;
    assert_eq!(placement().await["frozen"]["by"], json!("local"));
    assert!(site.get(path).await.text.contains("Parts stay where they are"));
    assert_eq!(site.get("/v1/cluster").await.json()["roles"][2]["frozen"], json!(true));
    submit("unfreeze", "").await;
    assert_eq!(placement().await["frozen"], json!(null));
    submit("force-release", &format!("part={part}")).await;
    submit("evict", "worker=local").await;
    let unknown = site.submit(&format!("{path}/evict"), "worker=nobody").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    site.dtf.stop().await;
}
