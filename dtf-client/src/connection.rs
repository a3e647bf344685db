//! The place of a server, and the token for it.

use std::fmt;
use std::time::Duration;

/// The server that a client asks, and the token that it presents.
#[derive(Clone)]
pub struct Connection {
    pub(crate) server: String,
    pub(crate) token: Option<String>,
    pub(crate) timeout: Duration,
    pub(crate) attempts: u32,
    pub(crate) pause: Duration,
}

impl Connection {
    /// A server at a URL, such as `http://127.0.0.1:7070`, which needs no token.
    pub fn to(server: impl Into<String>) -> Self {
        let server = server.into().trim_end_matches('/').to_owned();
        let (timeout, pause) = (Duration::from_secs(35), Duration::from_millis(250));
        Self { server, token: None, timeout, attempts: 5, pause }
    }

    /// Presents a token. White space around it is left out, so that it may come from a file.
    #[must_use]
    pub fn token(self, token: &str) -> Self {
        Self { token: Some(token.trim().to_owned()), ..self }
    }

    /// The time that each attempt may take. Default 35 s: the server answers within 30 s.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// The number of attempts at each request, and the pause before the second, which doubles from time to time. Default 5, and 250 ms.
    #[must_use]
    pub fn attempts(self, attempts: u32, pause: Duration) -> Self {
        Self { attempts: attempts.max(1), pause, ..self }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the token.
        f.debug_struct("Connection").field("server", &self.server).finish_non_exhaustive()
    }
}
