use std::collections::BTreeSet;

use dtf_model::{EmitEpoch, RunEpoch, Seq, SubtaskId, TaskId};
use dtf_webhook::AddressRule;
use futures::future::join_all;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::super::HttpCall;
use super::super::tests::{outbound, response, serve};
use super::*;

fn batches(url: String, most: u32, exchange: &Exchange, timeout: Duration) -> HttpBatches {
    let call = HttpCall { batch: Some(most), ..HttpCall::posting(url) };
    let (outbound, prepared) = (outbound(AddressRule::all()), call.prepared().unwrap());
    HttpBatches::new(exchange.clone(), outbound, prepared, most as usize, timeout, Attempts(2))
}

/// Executes so many items at once, and returns each one's result, or whether another attempt may succeed and the error.
async fn execute(batches: &HttpBatches, count: u64) -> Vec<Result<Value, (bool, String)>> {
    let run = |number: u64| async move {
        let id = SubtaskId { task: TaskId(7), run: RunEpoch(1), epoch: EmitEpoch(1), seq: Seq(number) };
        let context = ExecuteContext { id, key: None, attempt: 0, cancelled: CancellationToken::new() };
        match batches.execute(&Bytes::from(number.to_string()), &context).await {
            Ok(result) => Ok(serde_json::from_slice(&result.body).unwrap()),
            Err(error) => Err((matches!(error, ExecuteError::Retryable(_)), error.to_string())),
        }
    };
    join_all((0..count).map(run)).await
}

fn body(request: &str) -> Value {
    serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap()
}

fn items(request: &str) -> Vec<Value> {
    body(request)["items"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn many_items_travel_in_one_signed_request_and_each_has_its_own_outcome() {
    let (url, told) = serve(3, |request| {
        let report = |item: &Value| match item["body"].as_u64().unwrap() {
            3 => json!({"ticket": item["ticket"], "error": "odd", "retryable": false}),
            4 => json!({"ticket": item["ticket"], "error": "later"}),
            5 => json!({"ticket": "of nobody", "result": 1}),
            n => json!({"ticket": item["ticket"], "result": n * n}),
        };
        let reports: Vec<_> = items(request).iter().map(report).collect();
        response("200 OK", "", &json!({ "reports": reports }).to_string())
    });
    let exchange = Exchange::start();
    let batches = batches(url, 10, &exchange, Duration::from_secs(60));
    let results = execute(&batches, 25).await;
    for (number, result) in (0..).zip(&results) {
        match number {
            3 => assert_eq!(result, &Err((false, "odd".to_owned()))),
            4 => assert_eq!(result, &Err((true, "later".to_owned()))),
            5 => assert_eq!(result, &Err((true, "the answer has no report on it".to_owned()))),
            n => assert_eq!(result, &Ok(json!(n * n))),
        }
    }
    let requests: Vec<_> = told.try_iter().collect();
    assert_eq!(requests.iter().map(|request| items(request).len()).sum::<usize>(), 25);
    assert!(requests.len() == 3 && requests.iter().all(|request| items(request).len() <= 10));
    let first = &items(&requests[0])[0];
    assert_eq!((&first["task"], &first["key"], &first["attempt"]), (&json!(7), &json!("7.1.1.0"), &json!(0)));
    let ids: BTreeSet<_> = requests
        .iter()
        .flat_map(|request| request.lines().filter(|line| line.starts_with("webhook-id")))
        .collect();
    assert_eq!(ids.len(), 3, "each request is signed, with an id of its own");
    assert!(exchange.sessions().is_empty() && exchange.functions().borrow().is_empty(), "it is no worker");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_accepts_reports_later_with_the_session_and_the_tickets() {
    let (url, told) = serve(1, |_| response("202 Accepted", "", ""));
    let exchange = Exchange::start();
    let batches = batches(url, 100, &exchange, Duration::from_secs(60));
    let reporter = async {
        let request = tokio::task::spawn_blocking(move || told.recv().unwrap()).await.unwrap();
        let session: Uuid = serde_json::from_value(body(&request)["session"].clone()).unwrap();
        let key = exchange.ticket_key().await.unwrap();
        let report = |item: &Value| {
            let ticket = key.verify(item["ticket"].as_str().unwrap()).unwrap();
            Report { ticket, outcome: ItemOutcome::Succeeded(item["body"].to_string().into()) }
        };
        let reports: Vec<_> = items(&request).iter().map(report).collect();
        exchange.report(session, reports).unwrap()
    };
    let (results, unknown) = tokio::join!(execute(&batches, 3), reporter);
    assert_eq!(results, [Ok(json!(0)), Ok(json!(1)), Ok(json!(2))]);
    assert!(unknown.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_receiver_refuses_or_forgets_fails_and_may_be_tried_again() {
    for (answer, said) in [
        (response("500 Oops", "", "x"), "it answered 500: x"),
        (response("200 OK", "", "[]"), "no reports that can be read"),
        (response("202 Accepted", "", ""), "no report on it within 300ms"),
        ("HTTP/1.1 ".to_owned(), ""),
    ] {
        let (url, _told) = serve(1, move |_| answer.clone());
        let batches = batches(url, 100, &Exchange::start(), Duration::from_millis(300));
        let results = execute(&batches, 2).await;
        let expected = |result: &Result<_, (bool, String)>| {
            result.as_ref().is_err_and(|(retryable, error)| *retryable && error.contains(said))
        };
        assert!(results.iter().all(expected), "{said}: {results:?}");
    }
    let (url, _told) = serve(1, |_| response("403 Forbidden", "", ""));
    let batches = batches(url, 100, &Exchange::start(), Duration::from_secs(60));
    assert_eq!(execute(&batches, 1).await, [Err((false, "it answered 403".to_owned()))]);
}
