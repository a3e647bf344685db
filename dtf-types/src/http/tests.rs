use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};

use dtf_model::{EmitEpoch, RunEpoch, Seq, SubtaskId, TaskId};
use dtf_webhook::{AddressRule, verify};
use lrmf_core::BootClock;
use tokio_util::sync::CancellationToken;

use super::*;

/// Answers each request with the next of these responses, and tells what it was sent.
fn server(responses: &[&str]) -> (String, Receiver<String>) {
    let mut responses: Vec<_> = responses.iter().rev().map(|response| (*response).to_owned()).collect();
    serve(responses.len(), move |_| responses.pop().unwrap())
}

/// Answers so many requests, and tells what it was sent.
pub(super) fn serve(
    count: usize,
    mut respond: impl FnMut(&str) -> String + Send + 'static,
) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for _ in 0..count {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
            let whole = loop {
                let read = stream.read(&mut buffer).unwrap();
                request.extend_from_slice(&buffer[..read]);
                let text = String::from_utf8_lossy(&request).into_owned();
                if let Some((head, body)) = text.split_once("\r\n\r\n") {
                    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                    if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                        break text;
                    }
                }
            };
            let response = respond(&whole);
            tell.send(whole).unwrap();
            stream.write_all(response.as_bytes()).unwrap();
        }
        // Whoever asks once more waits.
        std::mem::forget(listener);
    });
    (url, told)
}

pub(super) fn response(status: &str, more: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{more}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

fn secret() -> Secret {
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap()
}

/// A way to receivers, which signs.
pub(super) fn outbound(addresses: AddressRule) -> Outbound {
    let conf = SenderConf { addresses, ..SenderConf::default() };
    Outbound::new(conf, vec![secret()], Arc::new(BootClock)).unwrap()
}

fn function(call: &HttpCall, addresses: AddressRule) -> HttpFunction {
    HttpFunction::new(outbound(addresses), call.prepared().unwrap(), Duration::from_secs(60), Attempts(3))
}

fn context(attempt: u32) -> ExecuteContext {
    let id = SubtaskId { task: TaskId(7), run: RunEpoch(1), epoch: EmitEpoch(1), seq: Seq(3) };
    ExecuteContext { id, key: None, attempt, cancelled: CancellationToken::new() }
}

async fn execute(function: &HttpFunction, item: &Value, attempt: u32) -> Result<Value, ExecuteError> {
    let result = function.execute(&Bytes::from(item.to_string()), &context(attempt)).await?;
    Ok(serde_json::from_slice(&result.body).unwrap())
}

#[tokio::test]
async fn an_item_fills_the_request_and_the_answer_is_the_result() {
    let (url, told) = server(&[&response("201 Created", "", "{\"ok\": true}")]);
    let call = HttpCall {
        method: "PUT".to_owned(),
        url: format!("{url}/users/{{name}}?q={{q}}"),
        headers: BTreeMap::from([("X-From".to_owned(), "dtf".to_owned())]),
        body: None,
        batch: None,
    };
    let item = json!({"name": "a b/ü?", "q": [1, "&"]});
    let result = execute(&function(&call, AddressRule::all()), &item, 0).await.unwrap();
    assert_eq!(result, json!({"status": 201, "body": {"ok": true}}));
    let request = told.recv().unwrap();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert_eq!(head.lines().next(), Some("PUT /users/a%20b%2F%C3%BC%3F?q=%5B1%2C%22%26%22%5D HTTP/1.1"));
    assert_eq!(body, item.to_string());
    let header = |name: &str| {
        let prefix = format!("{name}: ");
        head.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap_or_else(|| panic!("{name}: {head}"))
    };
    assert_eq!((header("x-from"), header("content-type")), ("dtf", "application/json"));
    assert_eq!(header("webhook-id"), context(0).id.to_string());
    let signed = Signed {
        id: header("webhook-id").to_owned(),
        timestamp: header("webhook-timestamp").parse().unwrap(),
        signatures: header("webhook-signature").to_owned(),
    };
    let now = BootClock.unix_millis() / 1000;
    assert_eq!(verify(&secret(), &signed, body.as_bytes(), now, dtf_webhook::TOLERANCE), Ok(()));
}

#[tokio::test]
async fn an_answer_is_a_result_or_a_failure_and_some_failures_are_worth_another_attempt() {
    for (answer, attempt, expected) in [
        (response("200 OK", "", "plain"), 0, Ok(json!({"status": 200, "body": "plain"}))),
        (response("204 No Content", "", ""), 0, Ok(json!({"status": 204, "body": ""}))),
        (response("404 Not Found", "", " no such\n"), 0, Err((false, "it answered 404: no such"))),
        (
            response("302 Found", "Location: http://127.0.0.1/\r\n", ""),
            0,
            Err((false, "redirects are not followed")),
        ),
        (response("408 Request Timeout", "", ""), 0, Err((true, "it answered 408"))),
        (response("425 Too Early", "", ""), 0, Err((true, "it answered 425"))),
        (response("500 Oops", "", "x"), 1, Err((true, "it answered 500: x"))),
        (response("500 Oops", "", "x"), 2, Err((false, "it answered 500: x"))),
        (response("503 Away", "Retry-After: 3600\r\n", ""), 0, Err((true, "it answered 503"))),
        ("HTTP/1.1 ".to_owned(), 0, Err((true, ""))),
    ] {
        let (url, _told) = server(&[&answer]);
        let got = execute(&function(&HttpCall::posting(url), AddressRule::all()), &json!(1), attempt).await;
        match (got, expected) {
            (Ok(result), Ok(expected)) => assert_eq!(result, expected, "{answer}"),
            (Err(error), Err((retryable, said))) => {
                assert!(error.to_string().contains(said), "{answer}: {error}");
                assert_eq!(matches!(error, ExecuteError::Retryable(_)), retryable, "{answer}: {error}");
            }
            (got, _) => panic!("{answer}: {got:?}"),
        }
    }
}

#[tokio::test]
async fn who_asks_for_a_moment_is_asked_again_within_the_attempt() {
    let busy = response("429 Slow Down", "Retry-After: 0\r\n", "");
    let (url, told) = server(&[&busy, &busy, &response("200 OK", "", "1")]);
    let result =
        execute(&function(&HttpCall::posting(url), AddressRule::all()), &json!({"a": 1}), 0).await.unwrap();
    assert_eq!(result, json!({"status": 200, "body": 1}));
    let requests: Vec<_> = told.iter().collect();
    assert_eq!(requests.len(), 3);
    assert!(requests.iter().all(|request| request.ends_with("{\"a\":1}")), "{requests:?}");
}

#[tokio::test]
async fn nothing_is_sent_to_private_addresses_or_where_a_value_would_lead() {
    let (url, told) = server(&[&response("200 OK", "", "1")]);
    let port = url.rsplit_once(':').unwrap().1.to_owned();
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433"] {
        let call = HttpCall::posting(format!("http://{host}:{port}/"));
        let refused = execute(&function(&call, AddressRule::PUBLIC), &json!(1), 0).await.unwrap_err();
        assert!(matches!(refused, ExecuteError::Final(_)), "{host}: {refused}");
        assert!(refused.to_string().contains("private network"), "{host}: {refused}");
    }
    let call = HttpCall::posting(format!("{url}/public/{{}}"));
    let refused = execute(&function(&call, AddressRule::all()), &json!(".."), 0).await.unwrap_err();
    assert!(refused.to_string().contains("lead elsewhere"), "{refused}");
    assert!(told.try_recv().is_err(), "nothing was sent");
}

#[tokio::test]
async fn a_receiver_that_does_not_answer_costs_an_attempt_its_time_and_a_cancelled_item_nothing() {
    let (url, _told) = server(&[]);
    let function = HttpFunction {
        timeout: Duration::from_millis(100),
        ..function(&HttpCall::posting(url), AddressRule::all())
    };
    let late = execute(&function, &json!(1), 0).await.unwrap_err();
    assert!(
        matches!(late, ExecuteError::Retryable(_)) && late.to_string().contains("within 100ms"),
        "{late}"
    );
    let function = HttpFunction { timeout: Duration::from_secs(600), ..function };
    let cancelled = context(0);
    cancelled.cancelled.cancel();
    let ended = function.execute(&Bytes::from("1"), &cancelled).await.unwrap_err();
    assert_eq!(ended.to_string(), "cancelled");
}
