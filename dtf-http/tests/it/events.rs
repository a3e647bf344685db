//! Streams of events.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use dtf::model::StoreError;
use dtf_http::{Access, TokenRule};
use dtf_model::intercept::{Call, Intercepted, Interceptor};
use dtf_model::token::TokenRole;
use futures::StreamExt;
use lrmf_core::BootClock;
use serde_json::{Value, json};

use crate::support::{SetClock, Site, in_memory, request};

/// Counts the calls on the stores, and answers none of those on the store that is down.
#[derive(Default)]
struct Counted {
    calls: AtomicU64,
    tasks_are_down: AtomicBool,
    queues_are_down: AtomicBool,
}

impl Interceptor for Counted {
    async fn around<T: Any + Send>(
        &self,
        call: Call<'_>,
        next: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        // What a process says of itself now and then is no stream's doing.
        if !call.method.contains("gateway") && !call.method.contains("bulk") {
            self.calls.fetch_add(1, Ordering::Relaxed);
        }
        let down = if call.store == "tasks" { &self.tasks_are_down } else { &self.queues_are_down };
        if down.load(Ordering::Relaxed) {
            return Err(StoreError::Unreachable { store: "it", cause: "it is down".to_owned() });
        }
        next.await
    }
}

/// A site whose calls are counted; no role runs.
fn counted() -> (Site, Arc<Counted>) {
    let mut ports = in_memory();
    let counted = Arc::new(Counted::default());
    ports.table = Intercepted::new(ports.table, counted.clone());
    ports.queues = Intercepted::new(ports.queues, counted.clone());
    let access = Access::of("127.0.0.1:7070".parse().unwrap());
    (Site::on(ports, Arc::new(BootClock), access), counted)
}

async fn open(site: &Site, path: &str) -> BodyDataStream {
    let answer = site.send(request("GET", path).body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status().as_u16(), 200, "{path}");
    answer.into_body().into_data_stream()
}

/// The next event of a stream, with its name; comments are passed over.
async fn event(stream: &mut BodyDataStream) -> (String, Value) {
    loop {
        let text = String::from_utf8(stream.next().await.unwrap().unwrap().to_vec()).unwrap();
        if let Some((name, data)) = text.strip_prefix("event: ").and_then(|text| text.split_once("\ndata: "))
        {
            return (name.to_owned(), serde_json::from_str(data).unwrap());
        }
    }
}

#[tokio::test]
async fn a_stream_of_a_task_ends_with_its_last_snapshot() {
    let site = Site::running().await;
    let id = site.create("followed", json!({"count": 50, "sleep_ms": 20})).await;
    let path = format!("/v1/tasks/{id}/events");
    let answer = site.ask(request("GET", &path).body(Body::empty()).unwrap()).await;
    assert_eq!(answer.content_type, "text/event-stream");
    let snapshots: Vec<Value> = answer
        .text
        .split("\n\n")
        .filter_map(|event| event.strip_prefix("event: task\ndata: "))
        .map(|data| serde_json::from_str(data).unwrap())
        .collect();
    let last = snapshots.last().unwrap();
    assert_eq!((&last["status"], &last["progress"]["succeeded"]), (&json!("completed"), &json!(50)));
    assert!(snapshots[..snapshots.len() - 1].iter().all(|snapshot| snapshot["status"] != json!("completed")));
}

#[tokio::test]
async fn a_stream_of_a_flow_ends_with_its_last_task() {
    let site = Site::running().await;
    let tasks = json!({
        "one": {"type": "noop", "param": {"count": 1, "sleep_ms": 20}},
        "two": {"type": "noop", "param": {"count": 1}, "after": ["one"]},
    });
    let created =
        site.send_json("POST", "/v1/flows", &json!({"name": "followed", "tasks": tasks})).await.json();
    let path = format!("/v1/flows/{}/events", created["id"]);
    let answer = site.ask(request("GET", &path).body(Body::empty()).unwrap()).await;
    assert_eq!(answer.content_type, "text/event-stream");
    let counts: Vec<Value> = answer
        .text
        .split("\n\n")
        .filter_map(|event| event.strip_prefix("event: flow\ndata: "))
        .map(|data| serde_json::from_str::<Value>(data).unwrap()["counts"].clone())
        .collect();
    let ended = |counts: &Value| counts["waiting"] == json!(0) && counts["running"] == json!(0);
    let (last, before) = counts.split_last().unwrap();
    assert!(ended(last) && last["completed"] == json!(2), "{last}");
    assert!(before.iter().all(|counts| !ended(counts)), "{before:?}");
    assert_eq!(site.get("/v1/flows/999/events").await.status.as_u16(), 404);
}

#[tokio::test]
async fn open_streams_are_bounded_and_closing_one_makes_room() {
    const MOST: usize = 1000;
    let site = Site::idle().await;
    let id = site.create("waits", json!({"count": 1})).await;
    let path = format!("/v1/tasks/{id}/events");
    let open = async || site.send(request("GET", &path).body(Body::empty()).unwrap()).await;
    let mut streams = Vec::new();
    for _ in 0..MOST {
        let mut stream = open().await.into_body().into_data_stream();
        assert!(stream.next().await.unwrap().unwrap().starts_with(b"event: task"));
        streams.push(stream);
    }
    assert_eq!(open().await.status().as_u16(), 503);
    streams.pop();
    assert_eq!(open().await.status().as_u16(), 200);
}

#[tokio::test]
async fn all_active_tasks_are_followed_in_one_stream() {
    let site = Site::idle().await;
    let one = site.create("one", json!({"count": 1})).await;
    let mut stream = open(&site, "/v1/events").await;
    let (name, first) = event(&mut stream).await;
    assert_eq!(name, "tasks");
    assert_eq!((&first["tasks"][0]["id"], &first["more"]), (&json!(one), &json!(false)), "{first}");
    assert!(first["tasks"][0].get("param").is_none(), "in short: {first}");
    let two = site.create("two", json!({"count": 1})).await;
    let (_, second) = event(&mut stream).await;
    let ids: Vec<_> = second["tasks"].as_array().unwrap().iter().map(|task| task["id"].clone()).collect();
    assert_eq!(ids, [json!(two), json!(one)]);
    site.post(&format!("/v1/tasks/{one}/pause")).await;
    let (_, third) = event(&mut stream).await;
    assert_eq!(third["tasks"][1]["status"], json!("paused"));
}

#[tokio::test]
async fn a_token_for_some_groups_follows_the_tasks_of_those() {
    let (site, _) = Site::guarded().await;
    let admin = site.token(TokenRole::Admin, &[]).await;
    site.as_bearer(&admin, "PUT", "/v1/groups/ours", Some(&json!({"quota": 1}))).await;
    for group in ["default", "ours"] {
        let task = json!({"type": "noop", "param": {"count": 1}, "group": group});
        site.as_bearer(&admin, "POST", "/v1/tasks", Some(&task)).await;
    }
    for (token, groups) in
        [(site.token(TokenRole::Reader, &["ours"]).await, vec!["ours"]), (admin, vec!["ours", "default"])]
    {
        let request = request("GET", "/v1/events").header("authorization", format!("Bearer {token}"));
        let answer = site.send(request.body(Body::empty()).unwrap()).await;
        let (_, seen) = event(&mut answer.into_body().into_data_stream()).await;
        let seen: Vec<_> =
            seen["tasks"].as_array().unwrap().iter().map(|task| task["group"].clone()).collect();
        assert_eq!(seen, groups);
    }
}

#[tokio::test(start_paused = true)]
async fn a_hundred_streams_cost_the_stores_no_more_than_one() {
    let (site, counted) = counted();
    let mut tasks = Vec::new();
    for _ in 0..50 {
        tasks.push(site.create("waits", json!({"count": 1})).await);
    }
    let mut cost = Vec::new();
    for streams in [1, 100] {
        let paths = (0..streams).map(|number| match number % 2 {
            0 => "/v1/events".to_owned(),
            _ => format!("/v1/tasks/{}/events", tasks[number % tasks.len()]),
        });
        let mut open_ones = Vec::new();
        for path in paths {
            let mut stream = open(&site, &path).await;
            event(&mut stream).await;
            open_ones.push(stream);
        }
        // Nothing changes, so no stream has anything to tell, and each of them looks.
        let listening = futures::future::join_all(open_ones.iter_mut().map(|stream| async move {
            while let Some(comment) = stream.next().await {
                assert!(comment.unwrap().starts_with(b":"));
            }
        }));
        let before = counted.calls.load(Ordering::Relaxed);
        assert!(tokio::time::timeout(Duration::from_secs(60), listening).await.is_err());
        cost.push(counted.calls.load(Ordering::Relaxed) - before);
    }
    assert!(cost[0] > 0 && cost[1] <= cost[0], "{cost:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_with_nothing_to_tell_sends_a_comment_every_15_seconds() {
    let (site, _) = counted();
    let mut stream = open(&site, "/v1/events").await;
    event(&mut stream).await;
    let begun = tokio::time::Instant::now();
    assert!(stream.next().await.unwrap().unwrap().starts_with(b":"));
    assert_eq!(begun.elapsed().as_secs(), 15);
}

#[tokio::test(start_paused = true)]
async fn streams_go_on_through_an_outage_and_pages_say_what_is_down() {
    let (site, counted) = counted();
    let id = site.create("waits", json!({"count": 1})).await;
    let mut all = open(&site, "/v1/events").await;
    let mut one = open(&site, &format!("/v1/tasks/{id}/events")).await;
    let before = event(&mut all).await;
    event(&mut one).await;
    counted.tasks_are_down.store(true, Ordering::Relaxed);
    let (name, problem) = event(&mut all).await;
    assert_eq!((name.as_str(), &problem["code"]), ("unavailable", &json!("unavailable")));
    let page = site.get("/").await;
    assert_eq!(page.status.as_u16(), 200, "{}", page.text);
    assert!(
        page.text.contains("The tasks cannot be shown") && page.text.contains("it is down"),
        "{}",
        page.text
    );
    assert_eq!(site.get("/tasks").await.status.as_u16(), 503);
    for path in ["/workers", "/placement/executor", "/cluster"] {
        assert_eq!(site.get(path).await.status.as_u16(), 200, "{path}");
    }
    let findings = site.get("/v1/doctor").await.json();
    assert_eq!((&findings[0]["of"], &findings[0]["verdict"]), (&json!("tasks"), &json!("bad")), "{findings}");
    counted.tasks_are_down.store(false, Ordering::Relaxed);
    assert_eq!(event(&mut all).await, before);
    site.post(&format!("/v1/tasks/{id}/cancel")).await;
    assert_eq!(event(&mut one).await.1["control"], json!("cancel"), "it was not closed");
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_when_its_token_is_revoked() {
    let clock = Arc::new(SetClock(AtomicU64::new(1_800_000_000_000)));
    let access = Access::of("127.0.0.1:7070".parse().unwrap()).tokens(TokenRule::Always);
    let site = Site::on(in_memory(), clock.clone(), access);
    let admin = site.token(TokenRole::Admin, &[]).await;
    let (reader, other) =
        (site.token(TokenRole::Reader, &[]).await, site.token(TokenRole::Reader, &[]).await);
    let follow = async |token: &str| {
        let request = request("GET", "/v1/events").header("authorization", format!("Bearer {token}"));
        let answer = site.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status().as_u16(), 200);
        let mut stream = answer.into_body().into_data_stream();
        event(&mut stream).await;
        stream
    };
    let (mut ends, mut goes_on) = (follow(&reader).await, follow(&other).await);
    let id = reader.split('_').nth(1).unwrap();
    assert_eq!(
        site.as_bearer(&admin, "DELETE", &format!("/v1/tokens/{id}"), None).await.status.as_u16(),
        204
    );
    clock.forward(Duration::from_secs(6));
    while let Some(comment) = ends.next().await {
        assert!(comment.unwrap().starts_with(b":"), "nothing has changed");
    }
    assert!(goes_on.next().await.unwrap().unwrap().starts_with(b":"), "the other one goes on");
}
