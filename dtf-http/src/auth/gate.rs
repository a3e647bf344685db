//! The gate that every request to a known route passes: who asks, and may that be done?

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use dtf_api::Code;
use tracing::error;

use super::caller::Caller;
use super::least::{Least, least_role};
use super::verifier::Verifier;
use crate::access::{Access, TokenRule};
use crate::convert::percent;
use crate::pages;
use crate::problem::Failed;

/// The name of the cookie that holds a browser's token.
pub(crate) const COOKIE: &str = "dtf_token";

/// The address of a connection's other end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// The address of the other end of a request's connection; none where the router is asked without a connection.
pub(crate) struct PeerAddress(pub(crate) Option<SocketAddr>);

impl PeerAddress {
    fn of(extensions: &Extensions) -> Self {
        Self(extensions.get::<ConnectInfo<Peer>>().map(|info| info.0.0))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for PeerAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.extensions))
    }
}

/// The rights at a server: how requests are told apart, and where their tokens are looked up.
#[derive(Clone)]
pub(crate) struct Gate {
    pub(crate) access: Access,
    pub(crate) verifier: Arc<Verifier>,
}

impl Gate {
    /// Returns the caller of a request.
    pub(crate) async fn caller(
        &self,
        headers: &HeaderMap,
        peer: Option<SocketAddr>,
    ) -> Result<Caller, Failed> {
        let address = peer.map(|peer| self.access.address(peer.ip(), headers));
        if let Some(token) = bearer(headers).or_else(|| cookie(headers)) {
            return self.verifier.verify(token, address).await;
        }
        self.without_token(address).await
    }

    /// Returns true if a request presents a token.
    pub(crate) fn is_presented(headers: &HeaderMap) -> bool {
        bearer(headers).or_else(|| cookie(headers)).is_some()
    }

    async fn without_token(&self, address: Option<IpAddr>) -> Result<Caller, Failed> {
        let shown = address.map(|address| address.to_string()).unwrap_or_default();
        let is_near =
            address.is_none_or(|address| address.to_canonical().is_loopback()) && self.access.is_loopback();
        let detail = match self.access.rule() {
            TokenRule::None if is_near => return Ok(Caller::trusted("local", &shown)),
            TokenRule::WhereThereAreAny if !self.verifier.has_tokens().await? => {
                if is_near {
                    return Ok(Caller::trusted("local", &shown));
                }
                "no token has been made yet, so this server answers on loopback addresses only; \
                 `dtf token create --role admin --name NAME` makes the first one"
            }
            _ => "this takes a token; send it as Authorization: Bearer dtf_ID_SECRET",
        };
        Err(Failed::new(Code::Unauthenticated, detail))
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().unwrap_or("?");
    let is_bearer = value.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer "));
    Some(if is_bearer { &value[7..] } else { value })
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(|(name, value)| *name == COOKIE && !value.is_empty()).map(|(_, value)| value).next()
}

/// Lets a request pass to its handler as what its caller may do, or refuses it.
pub(crate) async fn authorize(
    State(gate): State<Gate>,
    route: Option<MatchedPath>,
    mut request: Request,
    next: Next,
) -> Response {
    let path = route.as_ref().map_or("", MatchedPath::as_str);
    let method = if request.method() == Method::HEAD { &Method::GET } else { request.method() };
    let least = match least_role(method, path) {
        Some(Least::Open) => return next.run(request).await,
        Some(Least::Role(role)) => role,
        None => {
            error!(%method, path, "a route has no role, and is refused to everybody");
            let detail = "nobody may do this: the server does not know which role it takes";
            return Failed::new(Code::Forbidden, detail).into_response();
        }
    };
    let PeerAddress(peer) = PeerAddress::of(request.extensions());
    let caller = gate.caller(request.headers(), peer).await;
    match caller.and_then(|caller| caller.check_role(least).map(|()| caller)) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(failed) => refuse(&request, failed),
    }
}

/// A browser is sent to where it can give a token.
fn refuse(request: &Request, failed: Failed) -> Response {
    let path = request.uri().path();
    if path.starts_with("/v1/") {
        return failed.into_response();
    }
    if failed.0.code == Code::Unauthenticated && request.method() == Method::GET {
        let here = request.uri().path_and_query().map_or("/", |here| here.as_str());
        return Redirect::to(&format!("/login?next={}", percent(here))).into_response();
    }
    pages::failed(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_token_is_found_in_either_header() {
        for (value, token) in
            [("Bearer abc", "abc"), ("bearer abc", "abc"), ("Basic abc", "Basic abc"), ("", "")]
        {
            assert_eq!(bearer(&headers(&[(header::AUTHORIZATION, value)])), Some(token), "{value}");
        }
        for (value, token) in [
            ("dtf_token=abc", Some("abc")),
            ("a=b; dtf_token=abc;c=d", Some("abc")),
            ("xdtf_token=abc", None),
            ("dtf_token=", None),
            ("dtf_token", None),
        ] {
            assert_eq!(cookie(&headers(&[(header::COOKIE, value)])), token, "{value}");
        }
        assert_eq!((bearer(&HeaderMap::new()), cookie(&HeaderMap::new())), (None, None));
    }
}
