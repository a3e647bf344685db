//! The client, against a server whose answers the test chooses.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use dtf_api::{BulkAction, Code, SetGroup, TaskQuery, TaskStatus};
use dtf_client::{Client, Connection, Error};

/// A request as it came: method and path, token, idempotency key.
type Asked = (String, String, String);

#[derive(Clone, Default)]
struct Server {
    asked: Arc<Mutex<Vec<Asked>>>,
    answers: Arc<Mutex<VecDeque<(u16, &'static str)>>>,
}

const TASK: &str = r#"{"id": 7, "type": "noop", "name": "", "description": "", "creator": {"uid": 0, "name": ""}, "group": "default",
    "priority": 6000, "timeout_ms": 1, "limits": {"running": null, "rate": null}, "start_at": null, "retry_of": null, "status": "created",
    "control": "run", "reason": "", "run": 0, "created_at": 1, "started_at": null, "finished_at": null, "param": null, "result": null,
    "progress": null, "waits": false, "flow": null, "flow_task": null, "blocked_on": [], "of_a_later_version": true}"#;
const AWAY: &str = r#"{"code": "unavailable", "status": 503, "title": "Service Unavailable", "detail": "MySQL cannot be reached"}"#;
const UNKNOWN: &str =
    r#"{"code": "unknown", "status": 504, "title": "Gateway Timeout", "detail": "MySQL did not answer"}"#;
const ENDED: &str = r#"{"code": "not_allowed", "status": 409, "title": "Conflict", "detail": "task 7 is completed and cannot be paused"}"#;

async fn answer(State(server): State<Server>, request: Request) -> Response {
    let text = |name: &str| {
        request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    let asked = format!("{} {}", request.method(), request.uri());
    server.asked.lock().unwrap().push((asked, text("authorization"), text("idempotency-key")));
    let (status, body) = server.answers.lock().unwrap().pop_front().unwrap_or((200, "[]"));
    let location = [(header::LOCATION, "/elsewhere")];
    (StatusCode::from_u16(status).unwrap(), location, body).into_response()
}

/// A server with these answers, and a client of it.
async fn client(answers: &[(u16, &'static str)]) -> (Client, Server) {
    let server = Server::default();
    server.answers.lock().unwrap().extend(answers);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connection = Connection::to(format!("http://{}/", listener.local_addr().unwrap()));
    let connection = connection.token(" dtf_id_secret\n").attempts(3, Duration::from_millis(1));
    let router = axum::Router::new().fallback(answer).with_state(server.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (Client::new(connection).unwrap(), server)
}

impl Server {
    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn a_creation_is_sent_again_under_the_same_name() {
    let (client, server) = client(&[(503, AWAY), (504, UNKNOWN), (201, TASK)]).await;
    let new = serde_json::from_str(r#"{"type": "noop"}"#).unwrap();
    let task = client.create_task(&new).await.unwrap();
    assert_eq!((task.id, task.status), (7, TaskStatus::Created));
    let asked = server.asked();
    assert_eq!(asked.len(), 3);
    assert!(asked.iter().all(|one| *one == asked[0] && one.2.len() == 36), "{asked:?}");
    assert_eq!((asked[0].0.as_str(), asked[0].1.as_str()), ("POST /v1/tasks", "Bearer dtf_id_secret"));
    server.answers.lock().unwrap().push_back((201, TASK));
    client.create_task(&new).await.unwrap();
    assert_ne!(server.asked()[3].2, asked[0].2, "another creation has another name");
}

#[tokio::test]
async fn a_refusal_is_a_line_and_is_not_asked_for_again() {
    let (client, server) = client(&[(409, ENDED)]).await;
    let refused = client.act(7, BulkAction::Pause).await.unwrap_err();
    assert_eq!(refused.to_string(), "task 7 is completed and cannot be paused");
    assert_eq!((refused.code(), refused.is_retryable()), (Some(Code::NotAllowed), false));
    assert!(refused.is_definitely_not_applied());
    assert_eq!(server.asked()[0].0, "POST /v1/tasks/7/pause");
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn what_would_be_made_twice_is_sent_once() {
    let (client, server) = client(&[(504, UNKNOWN); 9]).await;
    let new = serde_json::from_str(r#"{"name": "ada", "role": "reader"}"#).unwrap();
    assert!(client.create_token(&new).await.is_err());
    assert!(client.replace_signing_secret("a b").await.is_err());
    let asked: Vec<_> = server.asked().into_iter().map(|(asked, ..)| asked).collect();
    assert_eq!(asked, ["POST /v1/tokens", "POST /v1/groups/a%20b/signing-secret"]);
}

#[tokio::test]
async fn attempts_come_to_an_end() {
    let (client, server) = client(&[(504, UNKNOWN); 9]).await;
    let failed = client.task(7).await.unwrap_err();
    assert!(failed.is_retryable() && !failed.is_definitely_not_applied());
    assert_eq!(server.asked().len(), 3);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_from_one_that_does_not_answer() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let connect = |timeout| {
        let connection = Connection::to(&address).timeout(timeout).attempts(2, Duration::from_millis(1));
        Client::new(connection).unwrap()
    };
    // It takes connections and says nothing.
    let silent = connect(Duration::from_millis(50)).groups().await.unwrap_err();
    assert!(
        matches!(silent, Error::Unknown { .. }) && silent.to_string().contains("took too long"),
        "{silent}"
    );
    drop(listener);
    let gone = connect(Duration::from_secs(5)).groups().await.unwrap_err();
    assert!(matches!(gone, Error::Unreachable { .. }) && gone.is_definitely_not_applied(), "{gone}");
    assert!(!gone.to_string().contains('\n') && gone.to_string().contains(&address), "{gone}");
}

#[tokio::test]
async fn what_is_no_answer_of_the_api_is_not_taken_for_one() {
    let (client, _) = client(&[(200, "<html>"), (200, "<html>"), (200, "<html>")]).await;
    assert!(matches!(client.groups().await, Err(Error::Unknown { .. })));
    let (client, server) = self::client(&[(302, ""), (302, ""), (302, "")]).await;
    let error = client.groups().await.unwrap_err();
    assert!(error.to_string().contains("302"), "{error}");
    assert!(server.asked().iter().all(|(asked, ..)| asked == "GET /v1/groups"), "the token went elsewhere");
}

#[tokio::test]
async fn names_are_parts_of_the_path_and_conditions_parts_of_the_query() {
    let group =
        r#"{"name": "a/b ?", "quota": 1, "limits": {"running": null, "rate": null}, "description": ""}"#;
    let (client, server) = client(&[(200, group), (200, r#"{"tasks": [], "next": null}"#)]).await;
    client.set_group("a/b ?", &SetGroup::default()).await.unwrap();
    let query = TaskQuery {
        status: Some(TaskStatus::Running),
        name_prefix: Some("a&b=c".to_owned()),
        limit: Some(5),
        ..TaskQuery::default()
    };
    client.tasks(&query).await.unwrap();
    let asked: Vec<_> = server.asked().into_iter().map(|(asked, ..)| asked).collect();
    assert_eq!(asked[0], "PUT /v1/groups/a%2Fb%20%3F");
    assert_eq!(asked[1], "GET /v1/tasks?limit=5&name_prefix=a%26b%3Dc&status=running");
}

#[test]
fn what_cannot_be_used_is_said_at_once_and_the_token_is_told_to_nobody() {
    for wrong in ["", "localhost:7070", "ftp://localhost", "http://"] {
        let error = Client::new(Connection::to(wrong)).unwrap_err();
        assert!(matches!(&error, Error::Usage(why) if why.contains("write a URL")), "{wrong}: {error}");
    }
    let secret = Connection::to("http://localhost").token("dtf_a_hush");
    assert!(!format!("{secret:?} {:?}", Client::new(secret.clone()).unwrap()).contains("hush"));
    assert!(Client::new(secret.token("a\nb")).is_err());
}
