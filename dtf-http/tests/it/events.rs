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
