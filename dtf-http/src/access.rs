//! The requests that are answered at all.
//!
//! A page of another site can make a browser send requests here. It cannot read the answers, but it could change things, or, once a
//! name of its own resolves to this address (DNS rebinding), read as well. So the host of each request must be one that this
//! server goes by, and changes must not come from another origin.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use dtf_api::Code;

use crate::problem::Failed;

/// The hosts that a server goes by.
#[derive(Clone, Debug)]
pub struct Access {
    hosts: Arc<BTreeSet<String>>,
}

impl Access {
    /// The names of a loopback address: the address itself, `localhost` and, for either, the port.
    pub fn loopback(address: SocketAddr) -> Self {
        let port = address.port();
        let names = [
            address.to_string(),
            format!("localhost:{port}"),
            format!("127.0.0.1:{port}"),
            format!("[::1]:{port}"),
        ];
        Self { hosts: Arc::new(names.into_iter().collect()) }
    }

    fn check(&self, method: &Method, headers: &HeaderMap) -> Result<(), Failed> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let host = text(header::HOST).unwrap_or_default().to_ascii_lowercase();
        if !self.hosts.contains(&host) {
            let known: Vec<_> = self.hosts.iter().map(String::as_str).collect();
            let detail = format!("this server is not {host:?}; it goes by {}", known.join(", "));
            return Err(Failed::new(Code::ForeignOrigin, detail));
        }
        if method.is_safe() {
            return Ok(());
        }
        let origin = text(header::ORIGIN).map(str::to_ascii_lowercase);
        let is_ours = |origin: &str| {
            let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            host.is_some_and(|host| self.hosts.contains(host))
        };
        let site = headers.get("sec-fetch-site").and_then(|value| value.to_str().ok());
        let is_foreign = origin.is_some_and(|origin| !is_ours(&origin))
            || site.is_some_and(|site| !matches!(site, "same-origin" | "none"));
        match is_foreign {
            true => {
                Err(Failed::new(Code::ForeignOrigin, "changes are accepted from pages of this server only"))
            }
            false => Ok(()),
        }
    }
}

/// Refuses requests from elsewhere, and adds the headers that keep a browser from doing more than the pages ask for.
pub(crate) async fn guard(State(access): State<Access>, request: Request, next: Next) -> Response {
    let mut response = match access.check(request.method(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(failed) => failed.into_response(),
    };
    let headers = response.headers_mut();
    let policy =
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'";
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
    ] {
        headers.insert(name, axum::http::HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(axum::http::HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: &Method, headers: &[(&'static str, &'static str)]) -> bool {
        let access = Access::loopback("127.0.0.1:7070".parse().unwrap());
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        access.check(method, &map).is_ok()
    }

    #[test]
    fn only_hosts_of_this_server_are_answered() {
        for host in ["127.0.0.1:7070", "localhost:7070", "LOCALHOST:7070", "[::1]:7070"] {
            assert!(check(&Method::GET, &[("host", host)]), "{host}");
        }
        for host in ["evil.example", "127.0.0.1", "127.0.0.1:7071", "localhost.evil.example:7070", ""] {
            assert!(!check(&Method::GET, &[("host", host)]), "{host}");
        }
        assert!(!check(&Method::GET, &[]));
    }

    #[test]
    fn changes_from_other_origins_are_refused_and_reads_are_not() {
        let host = ("host", "localhost:7070");
        assert!(check(&Method::POST, &[host]), "no browser");
        assert!(check(
            &Method::POST,
            &[host, ("origin", "http://localhost:7070"), ("sec-fetch-site", "same-origin")]
        ));
        assert!(check(&Method::GET, &[host, ("origin", "http://evil.example")]));
        for foreign in [
            ("origin", "http://evil.example"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            assert!(!check(&Method::POST, &[host, foreign]), "{foreign:?}");
            assert!(!check(&Method::DELETE, &[host, foreign]), "{foreign:?}");
        }
    }
}
