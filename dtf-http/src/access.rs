//! The requests that are answered at all.
//!
//! A page of another site can make a browser send requests here. It cannot read the answers, but it could change things, or, once a
//! name of its own resolves to this address (DNS rebinding), read as well. So the host of each request must be one that this
//! server goes by, and changes must not come from another origin.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use dtf_api::Code;
use ipnet::IpNet;

use crate::problem::Failed;

/// The requests that need a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenRule {
    /// None, on a loopback address.
    None,
    /// All, once there is any token; until then only requests from the machine itself are answered.
    WhereThereAreAny,
    /// All.
    Always,
}

/// The hosts that a server goes by, and the requests that it answers.
#[derive(Clone, Debug)]
pub struct Access {
    /// Any where empty.
    hosts: Arc<BTreeSet<String>>,
    rule: TokenRule,
    loopback: bool,
    tls: bool,
    proxies: Arc<[IpNet]>,
}

impl Access {
    /// The access to a server that listens on this address. On a loopback address it goes by the address itself and `localhost`, and
    /// needs no token; elsewhere by any host, and always needs one.
    pub fn of(address: SocketAddr) -> Self {
        let loopback = address.ip().to_canonical().is_loopback();
        let port = address.port();
        let names = [
            address.to_string(),
            format!("localhost:{port}"),
            format!("127.0.0.1:{port}"),
            format!("[::1]:{port}"),
        ];
        Self {
            hosts: Arc::new(names.into_iter().filter(|_| loopback).collect()),
            rule: if loopback { TokenRule::None } else { TokenRule::Always },
            loopback,
            tls: false,
            proxies: Arc::new([]),
        }
    }

    /// Sets the requests that need a token. [`TokenRule::None`] holds on loopback addresses only.
    #[must_use]
    pub fn tokens(self, rule: TokenRule) -> Self {
        Self { rule, ..self }
    }

    /// Adds hosts that the server goes by, as `HOST` or `HOST:PORT`, such as the name that a proxy has for it.
    #[must_use]
    pub fn hosts(self, further: impl IntoIterator<Item = String>) -> Self {
        let mut hosts = (*self.hosts).clone();
        hosts.extend(further.into_iter().map(|host| host.to_ascii_lowercase()));
        Self { hosts: Arc::new(hosts), ..self }
    }

    /// Believes these proxies when they say, in `X-Forwarded-For`, on whose behalf they ask.
    #[must_use]
    pub fn trusting(self, proxies: impl IntoIterator<Item = IpNet>) -> Self {
        Self { proxies: proxies.into_iter().collect(), ..self }
    }

    /// Says that browsers reach the server through TLS.
    #[must_use]
    pub fn tls(self, tls: bool) -> Self {
        Self { tls, ..self }
    }

    /// Returns true if every request needs a token, wherever it comes from.
    pub fn needs_tokens(&self) -> bool {
        self.rule == TokenRule::Always
    }

    pub(crate) fn rule(&self) -> TokenRule {
        self.rule
    }

    pub(crate) fn is_loopback(&self) -> bool {
        self.loopback
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.tls
    }

    /// Returns the address that a request comes from: the last one that no trusted proxy vouches for.
    pub(crate) fn address(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let is_trusted = |address: &IpAddr| {
            let address = address.to_canonical();
            self.proxies.iter().any(|proxy| proxy.contains(&address))
        };
        let forwarded = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
        let mut named: Vec<&str> = forwarded.flat_map(|value| value.split(',')).map(str::trim).collect();
        let mut address = peer;
        while is_trusted(&address) {
            let Some(Ok(before)) = named.pop().map(str::parse) else { break };
            address = before;
        }
        address
    }

    fn check(&self, method: &Method, headers: &HeaderMap) -> Result<(), Failed> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let host = text(header::HOST).unwrap_or_default().to_ascii_lowercase();
        if !self.hosts.is_empty() && !self.hosts.contains(&host) {
            let known: Vec<_> = self.hosts.iter().map(String::as_str).collect();
            let detail = format!("this server is not {host:?}; it goes by {}", known.join(", "));
            return Err(Failed::new(Code::ForeignOrigin, detail));
        }
        if method.is_safe() {
            return Ok(());
        }
        let origin = text(header::ORIGIN).map(str::to_ascii_lowercase);
        let is_ours = |origin: &str| {
            let named = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            named.is_some_and(|named| named == host || self.hosts.contains(named))
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
        let access = Access::of("127.0.0.1:7070".parse().unwrap());
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
