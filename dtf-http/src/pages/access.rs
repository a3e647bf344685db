//! The pages about who may do what: the way in and out, tokens, the audit.

use askama::Template;
use axum::extract::Extension;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use dtf_api::{AuditPage, AuditQuery, Code, NewToken, Token, TokenRole};
use serde::Deserialize;
use uuid::Uuid;

use super::{Page, render, see};
use crate::auth::{Acting, COOKIE, Caller, Gate, PeerAddress};
use crate::convert::percent;
use crate::extract::{Form, Path, Query};
use crate::problem::Failed;

/// The time for which a browser keeps a token, in seconds.
const COOKIE_SECONDS: u32 = 30 * 24 * 3600;

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage {
    here: &'static str,
    who: Option<Caller>,
    /// True where the request needed no token.
    is_open: bool,
    next: String,
    problem: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Next {
    #[serde(default)]
    next: String,
}

pub(super) async fn login_form(
    Extension(gate): Extension<Gate>,
    PeerAddress(peer): PeerAddress,
    headers: HeaderMap,
    Query(Next { next }): Query<Next>,
) -> Page {
    let who = gate.caller(&headers, peer).await.ok();
    let is_open = who.is_some() && !Gate::is_presented(&headers);
    render(&LoginPage { here: "Access", who, is_open, next: local(&next), problem: None })
}

#[derive(Deserialize)]
pub(super) struct LoginForm {
    token: String,
    #[serde(default)]
    next: String,
}

/// Exchanges a token for a cookie that pages of other sites cannot make the browser send, and that no script can read.
pub(super) async fn login(
    Extension(gate): Extension<Gate>,
    PeerAddress(peer): PeerAddress,
    Form(form): Form<LoginForm>,
) -> Page {
    let token = form.token.trim();
    let mut headers = HeaderMap::new();
    let presented = HeaderValue::try_from(format!("Bearer {token}"));
    let presented = presented.map_err(|_| Failed::new(Code::Unauthenticated, "this is no token"))?;
    headers.insert(header::AUTHORIZATION, presented);
    match gate.caller(&headers, peer).await {
        Ok(_) => with_cookie(see(&local(&form.next))?, token, COOKIE_SECONDS, &gate),
        Err(failed) => {
            let status = failed.status();
            let (next, problem) = (local(&form.next), Some(failed.0.detail));
            let mut page = render(&LoginPage { here: "Access", who: None, is_open: false, next, problem })?;
            *page.status_mut() = status;
            Ok(page)
        }
    }
}

pub(super) async fn logout(Extension(gate): Extension<Gate>) -> Page {
    with_cookie(see("/login")?, "", 0, &gate)
}

fn with_cookie(mut response: Response, value: &str, seconds: u32, gate: &Gate) -> Page {
    let secure = if gate.access.is_tls() { "; Secure" } else { "" };
    let cookie = format!("{COOKIE}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    let cookie = HeaderValue::try_from(cookie);
    let cookie = cookie.map_err(|_| Failed::new(Code::Unauthenticated, "this is no token"))?;
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(response)
}

/// A path of this server, whatever was asked for: a link to the way in must not lead elsewhere.
fn local(next: &str) -> String {
    let is_path =
        next.starts_with('/') && !next[1..].starts_with(['/', '\\']) && !next.contains(char::is_control);
    if is_path { next.to_owned() } else { "/".to_owned() }
}

#[derive(Template)]
#[template(path = "tokens.html")]
struct TokensPage {
    here: &'static str,
    tokens: Vec<Token>,
    roles: [TokenRole; 4],
    created: Option<(Token, String)>,
}

pub(super) async fn tokens(Acting(app): Acting) -> Page {
    let tokens = app.tokens().await?;
    render(&TokensPage { here: "Access", tokens, roles: TokenRole::ALL, created: None })
}

#[derive(Deserialize)]
pub(super) struct TokenForm {
    name: String,
    role: TokenRole,
    #[serde(default)]
    groups: String,
    #[serde(default)]
    types: String,
    #[serde(default)]
    days: String,
}

/// The secret is shown on this page, once: it has no address of its own.
pub(super) async fn create_token(Acting(app): Acting, Form(form): Form<TokenForm>) -> Page {
    let names = |text: &str| {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        names.map(str::to_owned).collect::<Vec<_>>()
    };
    let days = match form.days.trim() {
        "" => None,
        days => {
            Some(days.parse::<u32>().map_err(|_| Failed::invalid(format!("{days:?} is no number of days")))?)
        }
    };
    let new = NewToken {
        name: form.name,
        role: form.role,
        groups: names(&form.groups),
        types: names(&form.types),
        lifetime_s: days.map(|days| u64::from(days) * 24 * 3600),
    };
    let created = app.create_token(new).await?;
    let tokens = app.tokens().await?;
    let created = Some((created.token, created.secret));
    render(&TokensPage { here: "Access", tokens, roles: TokenRole::ALL, created })
}

pub(super) async fn revoke_token(Acting(app): Acting, Path(id): Path<String>) -> Page {
    app.revoke_token(&id).await?;
    see("/tokens")
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
pub(super) struct AuditForm {
    target: String,
    actor: String,
    cursor: Option<Uuid>,
}

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditPageView {
    here: &'static str,
    target: String,
    actor: String,
    page: AuditPage,
    next_page: Option<String>,
}

pub(super) async fn audit(Acting(app): Acting, Query(form): Query<AuditForm>) -> Page {
    let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let AuditForm { target, actor, cursor } = form;
    let query = AuditQuery { target: given(&target), actor: given(&actor), cursor, limit: None };
    let page = app.audit(&query).await?;
    let next_page = page.next.map(|next| {
        let (target, actor) = (percent(&target), percent(&actor));
        format!("/audit?target={target}&actor={actor}&cursor={next}")
    });
    render(&AuditPageView { here: "Audit", target, actor, page, next_page })
}

#[cfg(test)]
mod tests {
    use super::local;

    #[test]
    fn the_way_in_leads_nowhere_else() {
        for (next, leads) in [("/tasks?status=running", "/tasks?status=running"), ("/", "/")] {
            assert_eq!(local(next), leads);
        }
        for next in
            ["", "//evil.example", "/\\evil.example", "https://evil.example", "javascript:1", "/a\r\nb"]
        {
            assert_eq!(local(next), "/", "{next:?}");
        }
    }
}
