//! Streams of events.

use axum::body::Body;
use futures::StreamExt;
use serde_json::{Value, json};

use crate::support::{Site, request};

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
