//! Parts of requests, refused with a [`Failed`] where they cannot be read.

use axum::extract::rejection::{BytesRejection, FormRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header;
use axum::http::request::Parts;
use dtf_api::Code;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::problem::Failed;

/// The body of a request, as JSON.
pub(crate) struct Json<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Failed;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failed> {
        let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let is_json = content_type.is_some_and(|value| {
            value.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
        });
        if !is_json {
            return Err(Failed::invalid(
                "the body must be JSON; send it with Content-Type: application/json",
            ));
        }
        let body = axum::body::Bytes::from_request(request, state).await.map_err(|error| unread(&error))?;
        // A list would be read as the fields of an object, in their order.
        if body.iter().find(|byte| !byte.is_ascii_whitespace()).is_some_and(|byte| *byte == b'[') {
            return Err(Failed::invalid("the body is a list; it must be an object"));
        }
        let read = serde_json::from_slice(&body);
        read.map(Self).map_err(|error| Failed::invalid(format!("the body cannot be used: {error}")))
    }
}

/// The body of a request, as lines of JSON.
pub(crate) struct Lines(pub(crate) axum::body::Bytes);

impl<S: Send + Sync> FromRequest<S> for Lines {
    type Rejection = Failed;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failed> {
        // A form of another site can have no such type.
        let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let is_lines = content_type.is_some_and(|value| {
            let kind = value.split(';').next().unwrap_or_default().trim();
            ["application/x-ndjson", "application/jsonl"].iter().any(|known| kind.eq_ignore_ascii_case(known))
        });
        if !is_lines {
            return Err(Failed::invalid(
                "the body must be JSON values, one a line; send it with Content-Type: application/x-ndjson",
            ));
        }
        let body = axum::body::Bytes::from_request(request, state).await;
        body.map(Self).map_err(|error| unread(&error))
    }
}

fn unread(error: &BytesRejection) -> Failed {
    match error.status() {
        axum::http::StatusCode::PAYLOAD_TOO_LARGE => Failed::new(
            Code::TooLarge,
            "the body is too large; at most 1 MiB is read, and 8 MiB of a worker's reports and of items",
        ),
        _ => Failed::invalid(format!("the body cannot be read: {error}")),
    }
}

/// The fields of a form.
pub(crate) struct Form<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Form<T> {
    type Rejection = Failed;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failed> {
        let form = axum::extract::Form::<T>::from_request(request, state).await;
        form.map(|form| Self(form.0)).map_err(|error: FormRejection| match error.status() {
            axum::http::StatusCode::PAYLOAD_TOO_LARGE => Failed::new(Code::TooLarge, "the form is too large"),
            _ => Failed::invalid(format!("the form cannot be used: {}", error.body_text())),
        })
    }
}

/// The query of a request's URL.
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Failed;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failed> {
        let query = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        query.map(|query| Self(query.0)).map_err(|error: QueryRejection| {
            Failed::invalid(format!("the query of the URL cannot be used: {}", error.body_text()))
        })
    }
}

/// The variable parts of a request's path.
pub(crate) struct Path<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Failed;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failed> {
        let path = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        path.map(|path| Self(path.0)).map_err(|error: PathRejection| {
            Failed::not_found(format!("there is nothing at this path: {}", error.body_text()))
        })
    }
}

/// The name of a creation: asking again with the same one finds what was made before. Drawn at random where the request has no
/// `Idempotency-Key`.
pub(crate) struct RequestId(pub(crate) Uuid);

impl<S: Send + Sync> FromRequestParts<S> for RequestId {
    type Rejection = Failed;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Failed> {
        let Some(key) = parts.headers.get("idempotency-key") else { return Ok(Self(Uuid::new_v4())) };
        let id = key.to_str().ok().and_then(|key| key.trim_matches('"').parse().ok());
        id.map(Self)
            .ok_or_else(|| Failed::invalid("Idempotency-Key must be a UUID; draw one for each creation"))
    }
}
