//! Errors as responses.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use dtf_api::{Code, Problem};
use dtf_control::ClientError;
use dtf_model::InvalidInput;
use lrmf_core::admin::AdminError;

/// A request that failed, and how the response says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed(pub Problem);

impl Failed {
    /// A failure with this code. `detail` is a sentence: what is wrong, what is allowed, what to do.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let status = status(code);
        let title = status.canonical_reason().unwrap_or_default().to_owned();
        Self(Problem { code, status: status.as_u16(), title, detail: detail.into() })
    }

    /// A request that cannot be read or asks for what is not allowed.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(Code::InvalidRequest, detail)
    }

    /// Something that is not there.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(Code::NotFound, detail)
    }

    /// Returns true if asking again may be answered otherwise: a store failed.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self.0.code, Code::Unavailable | Code::Unknown | Code::Timeout)
    }

    pub(crate) fn status(&self) -> StatusCode {
        status(self.0.code)
    }
}

fn status(code: Code) -> StatusCode {
    match code {
        Code::InvalidRequest => StatusCode::UNPROCESSABLE_ENTITY,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::NotAllowed | Code::CountDiffers | Code::ItemsMissing => StatusCode::CONFLICT,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::ForeignOrigin | Code::Forbidden => StatusCode::FORBIDDEN,
        Code::TooManyAttempts | Code::Full => StatusCode::TOO_MANY_REQUESTS,
        Code::NoSession => StatusCode::GONE,
        Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::TooManyStreams | Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unknown | Code::Timeout => StatusCode::GATEWAY_TIMEOUT,
        Code::Refused => StatusCode::BAD_GATEWAY,
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let (status, code) = (self.status(), self.0.code);
        let content_type = [(header::CONTENT_TYPE, "application/problem+json")];
        let mut response = (status, content_type, Json(self.0)).into_response();
        let (name, value) = match status {
            StatusCode::UNAUTHORIZED => (header::WWW_AUTHENTICATE, "Bearer"),
            StatusCode::TOO_MANY_REQUESTS if code == Code::Full => (header::RETRY_AFTER, "1"),
            StatusCode::TOO_MANY_REQUESTS => (header::RETRY_AFTER, "60"),
            _ => return response,
        };
        response.headers_mut().insert(name, HeaderValue::from_static(value));
        response
    }
}

impl From<InvalidInput> for Failed {
    fn from(invalid: InvalidInput) -> Self {
        let code = match invalid {
            InvalidInput::NoSuchTask(_)
            | InvalidInput::NoSuchSchedule(_)
            | InvalidInput::NoSuchFlow(_)
            | InvalidInput::NoSuchHook { .. } => Code::NotFound,
            InvalidInput::ScheduleTaken(_) | InvalidInput::HookUnsettled { .. } => Code::NotAllowed,
            InvalidInput::NotAllowed { .. } | InvalidInput::NoFailures(_) | InvalidInput::TakesNoItems(_) => {
                Code::NotAllowed
            }
            _ => Code::InvalidRequest,
        };
        Self::new(code, invalid.to_string())
    }
}

impl From<ClientError> for Failed {
    fn from(error: ClientError) -> Self {
        let code = match &error {
            ClientError::Invalid(invalid) => return invalid.clone().into(),
            ClientError::NoSuchTask(_) => Code::NotFound,
            ClientError::NotAllowed { .. } => Code::NotAllowed,
            ClientError::Unavailable(_) if error.is_definitely_not_applied() => Code::Unavailable,
            ClientError::Unavailable(_) => Code::Unknown,
            _ => Code::Refused,
        };
        Self::new(code, error.to_string())
    }
}

impl From<AdminError> for Failed {
    fn from(error: AdminError) -> Self {
        let code = match &error {
            AdminError::NoGroup { .. } => Code::NotFound,
            AdminError::Store(store) if store.is_definitely_not_applied() => Code::Unavailable,
            AdminError::Store(_) => Code::Unknown,
            _ => Code::NotAllowed,
        };
        Self::new(code, error.to_string())
    }
}
