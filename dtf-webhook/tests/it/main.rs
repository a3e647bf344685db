//! Requests to receivers on the loopback network.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect};
use axum::routing::{get, post};
use dtf_webhook::{
    AddressRule, Method, Outgoing, Secret, SendError, Sender, SenderConf, Signed, TOLERANCE, check_url,
    header, verify,
};
use tokio::sync::Semaphore;

const NOW: u64 = 1_800_000_000;

async fn serve(router: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

fn sender(conf: &SenderConf) -> Sender {
    Sender::new(SenderConf { addresses: AddressRule::all(), ..conf.clone() }).unwrap()
}

fn outgoing(url: &str) -> Outgoing {
    Outgoing {
        method: Method::POST,
        url: url.parse().unwrap(),
        headers: header::HeaderMap::new(),
        body: "body".into(),
        signed: None,
        most_bytes: 0,
    }
}

#[tokio::test]
async fn a_receiver_can_verify_what_it_is_sent() {
    let secret = Secret::random().unwrap();
    let known = secret.clone();
    let receive = async move |headers: HeaderMap, body: Bytes| {
        let text = |name: &str| headers[name].to_str().unwrap().to_owned();
        let signed = Signed {
            id: text("webhook-id"),
            timestamp: text("webhook-timestamp").parse().unwrap(),
            signatures: text("webhook-signature"),
        };
        match verify(&known, &signed, &body, NOW, TOLERANCE) {
            Ok(()) => StatusCode::NO_CONTENT,
            Err(_) => StatusCode::UNAUTHORIZED,
        }
    };
    let address = serve(Router::new().route("/", post(receive))).await;
    let sender = sender(&SenderConf::default());
    let url = format!("http://{address}/");
    let good = Signed::new(&[secret], "m1", NOW, b"body");
    let answer = sender.send(Outgoing { signed: Some(good), ..outgoing(&url) }).await.unwrap();
    assert_eq!(answer.status, 204);
    let bad = Signed::new(&[Secret::random().unwrap()], "m1", NOW, b"body");
    let answer = sender.send(Outgoing { signed: Some(bad), ..outgoing(&url) }).await.unwrap();
    assert_eq!(answer.status, 401);
}

#[tokio::test]
async fn private_addresses_are_refused_by_number_and_by_name() {
    let reached = Arc::new(AtomicUsize::new(0));
    let count = reached.clone();
    let router = Router::new().route(
        "/",
        post(async move || {
            count.fetch_add(1, Ordering::Relaxed);
        }),
    );
    let port = serve(router).await.port();
    let sender = Sender::new(SenderConf::default()).unwrap();
    for host in ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "0"] {
        let refused = sender.send(outgoing(&format!("http://{host}:{port}/"))).await;
        assert!(matches!(refused, Err(SendError::Private(_))), "{host}: {refused:?}");
    }
    assert_eq!(reached.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn redirects_are_answers_and_are_not_followed() {
    let router = Router::new()
        .route("/", post(async || Redirect::temporary("/there")))
        .route("/there", post(async || -> StatusCode { panic!("followed") }));
    let address = serve(router).await;
    let answer = sender(&SenderConf::default()).send(outgoing(&format!("http://{address}/"))).await.unwrap();
    assert_eq!(answer.status, 307);
    assert!(!answer.is_success() && !answer.is_temporary());
}

#[tokio::test]
async fn answers_are_bounded_in_size_and_time() {
    let router = Router::new()
        .route("/long", get(async || "x".repeat(1_000_000)))
        .route("/never", get(async || std::future::pending::<()>().await));
    let address = serve(router).await;
    let short = sender(&SenderConf { most_bytes: 1000, ..SenderConf::default() });
    let hasty = sender(&SenderConf { timeout: Duration::from_millis(200), ..SenderConf::default() });
    let get = |path: &str| Outgoing { method: Method::GET, ..outgoing(&format!("http://{address}{path}")) };
    let answer = short.send(get("/long")).await.unwrap();
    assert_eq!((answer.body.len(), answer.is_cut), (1000, true));
    assert_eq!(hasty.send(get("/never")).await, Err(SendError::NoAnswer("no answer in time".to_owned())));
}

#[tokio::test]
async fn a_receiver_says_when_it_wants_to_be_asked_again() {
    let answer = async || (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "7")]).into_response();
    let address = serve(Router::new().route("/", post(answer))).await;
    let answer = sender(&SenderConf::default()).send(outgoing(&format!("http://{address}/"))).await.unwrap();
    assert_eq!(answer.retry_after, Some(Duration::from_secs(7)));
    assert!(answer.is_temporary());
}

/// The receiver lets none go before as many as allowed are there, and would notice one more.
#[tokio::test]
async fn no_more_requests_than_allowed_are_under_way_to_a_host() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let gate = Arc::new(Semaphore::new(0));
    let (counted, seen, opened) = (now.clone(), most.clone(), gate.clone());
    let router = Router::new().route(
        "/",
        post(async move || {
            let under_way = counted.fetch_add(1, Ordering::SeqCst) + 1;
            seen.fetch_max(under_way, Ordering::SeqCst);
            if under_way == 3 {
                opened.add_permits(100);
            }
            opened.acquire().await.unwrap().forget();
            tokio::task::yield_now().await;
            counted.fetch_sub(1, Ordering::SeqCst);
        }),
    );
    let address = serve(router).await;
    let sender = sender(&SenderConf { per_host: 3, ..SenderConf::default() });
    let url = format!("http://{address}/");
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..12 {
        let (sender, url) = (sender.clone(), url.clone());
        tasks.spawn(async move { sender.send(outgoing(&url)).await.unwrap().status });
    }
    while let Some(status) = tasks.join_next().await {
        assert_eq!(status.unwrap(), 200);
    }
    assert_eq!(most.load(Ordering::SeqCst), 3);
}

#[test]
fn what_is_no_address_is_refused_in_one_line() {
    for wrong in
        ["", "/there", "ftp://example.com/", "http://", "http://me:secret@example.com/", "file:///etc/passwd"]
    {
        let refused = check_url(wrong);
        assert!(matches!(refused, Err(SendError::Url(_))), "{wrong}: {refused:?}");
    }
    assert!(check_url("https://example.com/hook?a=b").is_ok());
}
