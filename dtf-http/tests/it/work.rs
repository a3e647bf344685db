//! Remote workers, over the routes that they use.

use std::time::Duration;

use axum::http::StatusCode;
use dtf_model::token::TokenRole;
use serde_json::{Value, json};

use crate::support::Site;

fn poll(most: u32) -> Value {
    json!({"worker": {"name": "w", "language": "test", "slots": 8}, "functions": ["square"], "most": most, "wait_ms": 2000})
}

fn squares(to: u64) -> Value {
    json!({"type": "map", "param": {"source": {"range": {"to": to}}, "function": {"worker": "square"}, "sink": "keep", "attempts": 2}})
}

async fn call(site: &Site, path: &str, body: &Value) -> Value {
    let answer = site.send_json("POST", path, body).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
    answer.json()
}

/// Takes items and reports what `outcome` makes of each, until so many have been reported, or a few more. Returns their number.
async fn work(site: &Site, count: usize, outcome: impl Fn(&Value) -> Value) -> usize {
    let first = call(site, "/v1/work/poll", &poll(10)).await;
    let session = first["session"].clone();
    let (mut items, mut done) = (first["items"].as_array().unwrap().clone(), 0);
    loop {
        let reports: Vec<_> = items
            .iter()
            .map(|item| {
                let mut report = outcome(item);
                report["ticket"] = item["ticket"].clone();
                report
            })
            .collect();
        done += reports.len();
        let reported = call(site, "/v1/work/report", &json!({"session": session, "reports": reports})).await;
        assert_eq!(reported["unknown"], json!([]));
        if done >= count {
            break;
        }
        let next =
            call(site, "/v1/work/poll", &json!({"session": session, "most": 10, "wait_ms": 2000})).await;
        items = next["items"].as_array().unwrap().clone();
    }
    let left = site.send_json("POST", "/v1/work/leave", &json!({"session": session})).await;
    assert_eq!(left.status, StatusCode::NO_CONTENT);
    done
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_in_any_language_runs_the_items_of_a_task_and_the_books_are_exact() {
    let site = Site::running().await;
    let created = site.send_json("POST", "/v1/tasks", &squares(50)).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.text);
    let id = created.json()["id"].as_u64().unwrap();
    assert_eq!(created.json()["type"], "map:square");
    // 7 fails once and then succeeds, 8 for good at once, 9 each time.
    let failed_once = std::sync::atomic::AtomicBool::new(false);
    work(&site, 52, |item| {
        let n = item["body"].as_u64().unwrap();
        assert_eq!((&item["function"], &item["task"]), (&json!("square"), &json!(id)));
        match n {
            7 if !failed_once.swap(true, std::sync::atomic::Ordering::Relaxed) => json!({"error": "once"}),
            8 => json!({"error": "never", "retryable": false}),
            9 => json!({"error": "always"}),
            n => json!({"result": {"square": n * n}}),
        }
    })
    .await;
    let row = site.task(id).wait().await.unwrap();
    assert_eq!((row.counts.created, row.counts.succeeded, row.counts.failed), (50, 48, 2));
    let task = site.get(&format!("/v1/tasks/{id}")).await.json();
    assert_eq!(task["result"]["data"], json!({"items": 50, "succeeded": 48, "failed": 2, "kept": 48}));
    let mut squares = Vec::new();
    loop {
        let path = format!("/v1/tasks/{id}/results?limit=20&from={}", squares.len());
        let page = site.get(&path).await.json();
        let results = page["results"].as_array().unwrap().clone();
        assert!(
            results.iter().zip(squares.len()..).all(|(result, n)| result["number"] == json!(n)),
            "{page}"
        );
        squares.extend(results.iter().map(|result| result["value"]["square"].as_u64().unwrap()));
        if page["more"] != json!(true) {
            break;
        }
    }
    squares.sort_unstable();
    let expected: Vec<_> = (0..50).filter(|n| ![8, 9].contains(n)).map(|n: u64| n * n).collect();
    assert_eq!(squares, expected);
    let failures = site.get(&format!("/v1/tasks/{id}/failures")).await.json();
    let errors: Vec<_> =
        failures["failures"].as_array().unwrap().iter().map(|f| f["error"].clone()).collect();
    assert_eq!(errors, ["never", "always"]);
    assert_eq!(site.get("/v1/tasks?type=map:square").await.json()["tasks"].as_array().unwrap().len(), 1);
    assert_eq!(site.get("/v1/tasks?type=map:other").await.json()["tasks"].as_array().unwrap().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_without_a_worker_waits_and_starves_nobody() {
    let site = Site::running().await;
    let blocked = site.send_json("POST", "/v1/tasks", &squares(5000)).await.json()["id"].as_u64().unwrap();
    let noop = site.create("beside", json!({"count": 200})).await;
    site.task(noop).wait().await.unwrap();
    assert_eq!(site.get(&format!("/v1/tasks/{blocked}")).await.json()["progress"]["succeeded"], 0);
    // A worker comes, takes some, goes, and another one does the rest.
    let done = work(&site, 100, |_| json!({})).await;
    work(&site, 5000 - done, |_| json!({"result": 1})).await;
    let row = site.task(blocked).wait().await.unwrap();
    assert_eq!((row.counts.succeeded, row.counts.failed), (5000, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_task_drops_what_a_worker_has() {
    let site = Site::running().await;
    let id = site.send_json("POST", "/v1/tasks", &squares(3)).await.json()["id"].as_u64().unwrap();
    let first = call(&site, "/v1/work/poll", &poll(1)).await;
    let ticket = first["items"][0]["ticket"].clone();
    let beat = json!({"session": first["session"], "running": [ticket], "wait_ms": 20_000});
    let cancel = async {
        site.post(&format!("/v1/tasks/{id}/cancel")).await;
    };
    let (news, ()) = tokio::join!(call(&site, "/v1/work/beat", &beat), cancel);
    assert_eq!(news["dropped"], json!([ticket]));
    let row = tokio::time::timeout(Duration::from_secs(60), site.task(id).wait()).await.unwrap().unwrap();
    assert_eq!(row.counts.cancelled + row.counts.succeeded + row.counts.failed, row.counts.created);
}

/// The process that gave items out has gone, as far as their worker can see: it begins anew with another one, and reports what it still
/// has. Its successes count there; its failures do not, and run again, as nobody knows whose they are.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_success_counts_wherever_it_is_reported_and_a_late_failure_does_not() {
    let site = Site::running().await;
    let id = site.send_json("POST", "/v1/tasks", &squares(20)).await.json()["id"].as_u64().unwrap();
    let first = call(&site, "/v1/work/poll", &poll(20)).await;
    let (session, mut items) = (&first["session"], first["items"].as_array().unwrap().clone());
    loop {
        let body = json!({"session": session, "most": 20, "wait_ms": 300});
        let more = call(&site, "/v1/work/poll", &body).await["items"].as_array().unwrap().clone();
        if more.is_empty() {
            break;
        }
        items.extend(more);
    }
    assert!(items.len() > 1);
    let tickets: Vec<_> = items.iter().map(|item| item["ticket"].clone()).collect();
    let successes = tickets[1..].iter().map(|ticket| json!({"ticket": ticket, "result": "late"}));
    let failure = json!({"ticket": tickets[0], "error": "late", "retryable": false});
    let reports: Vec<_> = successes.chain([failure]).collect();

    let neighbour = site.neighbour();
    let anew = json!({"worker": {"name": "w"}, "functions": ["square"], "most": 0, "wait_ms": 0});
    let anew = call(&neighbour, "/v1/work/poll", &anew).await;
    let report = json!({"session": anew["session"], "reports": reports});
    let taken = call(&neighbour, "/v1/work/report", &report).await;
    assert_eq!(taken, json!({"accepted": tickets.len() - 1, "unknown": [tickets[0]]}));
    let again = call(&neighbour, "/v1/work/report", &report).await;
    assert_eq!((&again["accepted"], again["unknown"].as_array().unwrap().len()), (&json!(0), tickets.len()));

    let left = site.send_json("POST", "/v1/work/leave", &json!({"session": session})).await;
    assert_eq!(left.status, StatusCode::NO_CONTENT);
    // What was offered again runs again, and what it comes to is passed over.
    work(&site, 20, |_| json!({"result": "again"})).await;
    let row = site.task(id).wait().await.unwrap();
    assert_eq!((row.counts.created, row.counts.succeeded, row.counts.failed), (20, 20, 0));
    let page = site.get(&format!("/v1/tasks/{id}/results?limit=100")).await.json();
    let late = page["results"].as_array().unwrap().iter().filter(|result| result["value"] == "late");
    assert_eq!(late.count(), tickets.len() - 1);
}

#[tokio::test]
async fn what_a_worker_sends_wrongly_is_refused_and_nothing_is_done() {
    let site = Site::running().await;
    let session = call(
        &site,
        "/v1/work/poll",
        &json!({"worker": {"name": "w"}, "functions": ["f"], "most": 0, "wait_ms": 0}),
    )
    .await["session"]
        .clone();
    let other = "6c2b9b3a-7d1c-4a61-9d0a-0a2f0b8d6c11";
    for (path, body, refusal) in [
        ("poll", json!({"worker": {"name": "w"}, "functions": [], "most": 1}), (422, "invalid_request")),
        ("poll", json!({"worker": {"name": ""}, "functions": ["f"], "most": 1}), (422, "invalid_request")),
        ("poll", json!({"worker": {"name": "w"}, "functions": ["a b"], "most": 1}), (422, "invalid_request")),
        ("poll", json!({"session": session, "most": 1001}), (422, "invalid_request")),
        ("poll", json!({"session": other, "most": 1}), (410, "no_session")),
        ("beat", json!({"session": other, "running": []}), (410, "no_session")),
        (
            "report",
            json!({"session": session, "reports": [{"ticket": other, "result": 1, "error": "e"}]}),
            (422, "invalid_request"),
        ),
        ("report", json!({"session": session, "reports": [{"ticket": 7}]}), (422, "invalid_request")),
        ("report", json!({"session": session, "reports": [], "more": 1}), (422, "invalid_request")),
    ] {
        let refused = site.send_json("POST", &format!("/v1/work/{path}"), &body).await.problem();
        assert_eq!((refused.0, refused.1.as_str()), refusal, "{path} {body}");
    }
    let large =
        json!({"session": session, "reports": [{"ticket": other, "result": "x".repeat(1024 * 1024)}]});
    assert_eq!(site.send_json("POST", "/v1/work/report", &large).await.problem().1, "too_large");
    let most: Vec<_> =
        (0..7).map(|_| json!({"ticket": other, "result": "x".repeat(1024 * 1024 - 2)})).collect();
    let most = json!({"session": session, "reports": most});
    assert_eq!(call(&site, "/v1/work/report", &most).await["accepted"], json!(0), "it is read");
    let unknown = json!({"session": session, "reports": [{"ticket": other, "result": 1}]});
    assert_eq!(call(&site, "/v1/work/report", &unknown).await, json!({"accepted": 0, "unknown": [other]}));
    for param in [
        json!({"source": {"range": {"to": 1}}, "function": {"worker": "f"}, "sink": "drain"}),
        json!({"source": {"lines": "relative"}, "function": {"worker": "f"}}),
        json!({"function": {"worker": "f"}}),
    ] {
        let refused = site.send_json("POST", "/v1/tasks", &json!({"type": "map", "param": param})).await;
        assert_eq!(refused.problem().0, 422, "{param}");
    }
    assert_eq!(site.count().await, 0);
    let workers = site.get("/v1/work/workers").await.json();
    assert_eq!((&workers[0]["worker"]["name"], &workers[0]["functions"]), (&json!("w"), &json!(["f"])));
}

#[tokio::test]
async fn a_worker_token_is_for_its_functions_only() {
    let (site, _) = Site::guarded().await;
    let admin = site.token(TokenRole::Admin, &[]).await;
    let new = json!({"name": "w", "role": "worker", "types": ["square"]});
    let token = site.as_bearer(&admin, "POST", "/v1/tokens", Some(&new)).await.json()["secret"]
        .as_str()
        .unwrap()
        .to_owned();
    let ask =
        |function: &str| json!({"worker": {"name": "w"}, "functions": [function], "most": 1, "wait_ms": 0});
    let mine = site.as_bearer(&token, "POST", "/v1/work/poll", Some(&ask("square"))).await;
    assert_eq!(mine.status, StatusCode::OK, "{}", mine.text);
    let other = site.as_bearer(&token, "POST", "/v1/work/poll", Some(&ask("cube"))).await;
    assert_eq!(other.problem(), (403, "forbidden".to_owned()));
}
