//! The table of roles, route by route; and the bound on wrong tokens, which needs addresses.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, Response, StatusCode};
use dtf::Dtf;
use dtf::embedded::{self, Database, Embedded};
use dtf_control::NewToken;
use dtf_model::token::TokenRole;
use tower::ServiceExt;

use super::Peer;
use super::least::{Least, ROUTES, least_role};
use crate::{Access, App, TokenRule, router};

struct Site {
    router: Router,
    tokens: Vec<(Option<TokenRole>, Option<String>)>,
    _dtf: Dtf,
}

async fn site(access: Access) -> Site {
    let ports = embedded::ports(Database::Memory).await.unwrap();
    let (coordination, config) = (ports.coordination.clone(), Embedded { jobs: 1 }.config());
    let dtf = Dtf::builder(ports).config(config).build().unwrap();
    let mut tokens = vec![(None, None)];
    for role in TokenRole::ALL {
        let new = NewToken {
            name: role.name().to_owned(),
            role,
            groups: Vec::new(),
            types: Vec::new(),
            lifetime: None,
            created_by: String::new(),
        };
        tokens.push((Some(role), Some(dtf.client().create_token(new).await.unwrap().1)));
    }
    let router = router(App::new(dtf.client(), coordination, "default"), access);
    Site { router, tokens, _dtf: dtf }
}

fn guarded() -> Access {
    Access::of("127.0.0.1:7070".parse().unwrap()).tokens(TokenRule::Always)
}

async fn send(site: &Site, method: &str, path: &str, token: Option<&str>) -> Response<Body> {
    let request = Request::builder().method(method).uri(path).header("host", "127.0.0.1:7070");
    let request = match token {
        Some(token) => request.header("authorization", format!("Bearer {token}")),
        None => request,
    };
    site.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

/// A path with something in its variable parts that is not there, so that nothing is changed.
fn filled(path: &str) -> String {
    path.replace("{role}", "manager")
        .replace("{action}", "pause")
        .replace("{id}", "4711")
        .replace("{name}", "nobody")
}

#[tokio::test]
async fn every_route_takes_its_role_and_no_lower_one() {
    let site = site(guarded()).await;
    for (method, path, least) in ROUTES {
        let route = filled(path);
        for (role, token) in &site.tokens {
            let answer = send(&site, method.as_str(), &route, token.as_deref()).await;
            let may = match least {
                Least::Open => true,
                Least::Role(least) => role.is_some_and(|role| role >= *least),
            };
            let is_way_in =
                answer.headers().get("location").is_some_and(|to| to.as_bytes().starts_with(b"/login?"));
            let refused =
                matches!(answer.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) || is_way_in;
            assert_eq!(!refused, may, "{method} {path} as {role:?}: {}", answer.status());
            let known = [StatusCode::METHOD_NOT_ALLOWED, StatusCode::INTERNAL_SERVER_ERROR];
            assert!(!known.contains(&answer.status()), "{method} {path}: {}", answer.status());
        }
    }
}

#[tokio::test]
async fn every_operation_that_is_described_is_in_the_table() {
    let site = site(guarded()).await;
    let answer = send(&site, "GET", "/openapi.json", None).await;
    let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
    let described: serde_json::Value = serde_json::from_slice(&body).unwrap();
    for (path, methods) in described["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let known = least_role(&method.to_uppercase().parse().unwrap(), path);
            assert!(known.is_some(), "{method} {path} has no role");
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    for (method, path, _) in ROUTES {
        assert!(seen.insert((method.as_str(), path)), "{method} {path} is in the table twice");
    }
}

#[tokio::test]
async fn an_address_with_too_many_wrong_tokens_waits_and_others_do_not() {
    let proxy: SocketAddr = "192.0.2.1:5000".parse().unwrap();
    let site = site(guarded().trusting(["192.0.2.0/24".parse().unwrap()])).await;
    let good = site.tokens.last().unwrap().1.clone().unwrap();
    let send = async |from: &str, token: &str| {
        let request = Request::builder()
            .uri("/v1/types")
            .header("host", "127.0.0.1:7070")
            .header("x-forwarded-for", format!("203.0.113.9, {from}"))
            .header("authorization", format!("Bearer {token}"))
            .extension(ConnectInfo(Peer(proxy)));
        site.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    };
    for _ in 0..20 {
        assert_eq!(send("198.51.100.1", "dtf_0_0").await.status(), StatusCode::UNAUTHORIZED);
    }
    let blocked = send("198.51.100.1", &good).await;
    assert_eq!(blocked.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(blocked.headers().contains_key("retry-after"));
    assert_eq!(send("198.51.100.2", &good).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn only_the_machine_itself_needs_no_token_and_only_until_there_is_one() {
    let near: SocketAddr = "127.0.0.1:5000".parse().unwrap();
    let far: SocketAddr = "198.51.100.1:5000".parse().unwrap();
    let ports = embedded::ports(Database::Memory).await.unwrap();
    let coordination = ports.coordination.clone();
    let dtf = Dtf::builder(ports).config(Embedded { jobs: 1 }.config()).build().unwrap();
    let ask = async |listen: &str, peer: SocketAddr| {
        let access = Access::of(listen.parse().unwrap()).tokens(TokenRule::WhereThereAreAny);
        let router = router(App::new(dtf.client(), coordination.clone(), "default"), access);
        let request = Request::builder().uri("/v1/types").header("host", "127.0.0.1:7070");
        let request = request.extension(ConnectInfo(Peer(peer))).body(Body::empty()).unwrap();
        let answer = router.oneshot(request).await.unwrap();
        let status = answer.status();
        (
            status,
            String::from_utf8(axum::body::to_bytes(answer.into_body(), 9999).await.unwrap().to_vec())
                .unwrap(),
        )
    };
    assert_eq!(ask("127.0.0.1:7070", near).await.0, StatusCode::OK);
    // Through a proxy on the machine, or a server that others can reach: everybody is near.
    for (listen, peer) in [("0.0.0.0:7070", near), ("0.0.0.0:7070", far), ("127.0.0.1:7070", far)] {
        let (status, text) = ask(listen, peer).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{listen} {peer}");
        assert!(text.contains("dtf token create"), "{text}");
    }
    let new = NewToken {
        name: "first".to_owned(),
        role: TokenRole::Admin,
        groups: Vec::new(),
        types: Vec::new(),
        lifetime: None,
        created_by: String::new(),
    };
    dtf.client().create_token(new).await.unwrap();
    assert_eq!(ask("127.0.0.1:7070", near).await.0, StatusCode::UNAUTHORIZED);
}
