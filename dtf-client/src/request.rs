//! Sending requests, again where no answer came.

use dtf_api::Problem;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Response, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::connection::Connection;
use crate::error::Error;

/// The largest answer that is read, in bytes.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// A request, which may be sent several times.
pub(crate) struct Request {
    pub(crate) method: Method,
    /// The path below the server's address, with the query.
    pub(crate) path: String,
    /// The name of a creation, the same in all attempts.
    pub(crate) key: Option<Uuid>,
    pub(crate) body: Option<Vec<u8>>,
    /// The media type of the body.
    pub(crate) content_type: &'static str,
}

impl Request {
    pub(crate) fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), key: None, body: None, content_type: "application/json" }
    }

    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    pub(crate) fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path)
    }

    /// The fields of a value as the query.
    pub(crate) fn query(mut self, fields: &impl Serialize) -> Result<Self, Error> {
        let fields = serde_json::to_value(fields).map_err(|error| Error::Usage(error.to_string()))?;
        for (name, value) in fields.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            self.path.push(if self.path.contains('?') { '&' } else { '?' });
            self.path.push_str(&format!("{name}={}", escaped(&text)));
        }
        Ok(self)
    }

    pub(crate) fn json(self, body: &impl Serialize) -> Result<Self, Error> {
        let body = serde_json::to_vec(body).map_err(|error| Error::Usage(error.to_string()))?;
        Ok(Self { body: Some(body), ..self })
    }

    /// JSON values, one a line.
    pub(crate) fn lines<T: AsRef<[u8]>>(self, lines: &[T]) -> Self {
        let mut body = Vec::with_capacity(lines.iter().map(|line| line.as_ref().len() + 1).sum());
        for line in lines {
            body.extend_from_slice(line.as_ref());
            body.push(b'\n');
        }
        Self { body: Some(body), content_type: "application/x-ndjson", ..self }
    }

    pub(crate) fn key(self, key: Uuid) -> Self {
        Self { key: Some(key), ..self }
    }
}

/// A text as part of a URL.
pub(crate) fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

/// Sends requests to one server.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    http: reqwest::Client,
    server: Url,
    token: Option<HeaderValue>,
    connection: Connection,
}

impl Sender {
    pub(crate) fn new(connection: Connection) -> Result<Self, Error> {
        let shown = &connection.server;
        let wrong = |why: &str| {
            Error::Usage(format!(
                "the server {shown:?} cannot be used: {why}; write a URL, as in http://127.0.0.1:7070"
            ))
        };
        let server: Url = shown.parse().map_err(|error| wrong(&format!("{error}")))?;
        match server.scheme() {
            "http" => {}
            "https" if cfg!(feature = "tls") => {}
            "https" => return Err(wrong("this program was built without TLS")),
            _ => return Err(wrong("it is no http or https address")),
        }
        let bearer = |token: &String| {
            let value = HeaderValue::try_from(format!("Bearer {token}"));
            value
                .map(sensitive)
                .map_err(|_| Error::Usage("the token has characters that no token has".to_owned()))
        };
        let token = connection.token.as_ref().map(bearer).transpose()?;
        #[cfg(feature = "tls")]
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // Whoever was faster has installed one as well.
            drop(rustls::crypto::ring::default_provider().install_default());
        }
        let http = reqwest::Client::builder()
            .timeout(connection.timeout)
            // A token goes to the server that was named, and nowhere else.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("dtf-client/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Error::Usage(one_line(&error)))?;
        Ok(Self { http, server, token, connection })
    }

    /// Sends a request until it is answered, and reads the answer.
    pub(crate) async fn send<T: DeserializeOwned>(&self, request: &Request) -> Result<T, Error> {
        self.read_answer(&self.answered(request).await?)
    }

    /// Sends a request once: one that makes something anew each time.
    pub(crate) async fn send_once<T: DeserializeOwned>(&self, request: &Request) -> Result<T, Error> {
        self.read_answer(&self.attempt(request).await?)
    }

    fn read_answer<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, Error> {
        serde_json::from_slice(body)
            .map_err(|error| self.unknown(&format!("its answer cannot be read: {error}")))
    }

    /// Sends a request until it is answered; the answer has no body.
    pub(crate) async fn send_only(&self, request: &Request) -> Result<(), Error> {
        self.answered(request).await.map(drop)
    }

    async fn answered(&self, request: &Request) -> Result<Vec<u8>, Error> {
        let mut pause = self.connection.pause;
        let mut attempt = 1;
        loop {
            match self.attempt(request).await {
                Err(error) if error.is_retryable() && attempt < self.connection.attempts => {}
                outcome => return outcome,
            }
            tokio::time::sleep(pause).await;
            (pause, attempt) = (pause * 2, attempt + 1);
        }
    }

    async fn attempt(&self, request: &Request) -> Result<Vec<u8>, Error> {
        let url = format!("{}{}", self.server.as_str().trim_end_matches('/'), request.path);
        let mut sent = self.http.request(request.method.clone(), url).header(ACCEPT, "application/json");
        if let Some(token) = &self.token {
            sent = sent.header(AUTHORIZATION, token);
        }
        if let Some(key) = request.key {
            sent = sent.header("idempotency-key", key.to_string());
        }
        if let Some(body) = &request.body {
            sent = sent.header(CONTENT_TYPE, request.content_type).body(body.clone());
        }
        let response = sent.send().await.map_err(|error| self.failed(&error))?;
        let status = response.status();
        let body = self.read(response).await?;
        if status.is_success() {
            return Ok(body);
        }
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => Err(Error::Refused(problem)),
            // A proxy, say.
            Err(_) => Err(self.unknown(&format!("it answered {status} with no problem document"))),
        }
    }

    async fn read(&self, mut response: Response) -> Result<Vec<u8>, Error> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unknown(&one_line(&error)))? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(self.unknown("its answer is too large"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn failed(&self, error: &reqwest::Error) -> Error {
        let (server, cause) = (self.connection.server.clone(), one_line(error));
        if error.is_connect() {
            Error::Unreachable { server, cause }
        } else {
            Error::Unknown { server, cause }
        }
    }

    fn unknown(&self, cause: &str) -> Error {
        Error::Unknown { server: self.connection.server.clone(), cause: cause.to_owned() }
    }
}

fn sensitive(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}

/// The innermost cause, on one line: those around it say that a request failed.
fn one_line(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    if error.is_timeout() { "it took too long".to_owned() } else { cause.to_string().replace('\n', " ") }
}
