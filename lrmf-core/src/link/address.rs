//! The addresses of links, and the sockets behind them.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// The place at which a member listens: `tcp://HOST:PORT`, or `unix:///PATH` for members of one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkAddress {
    /// A host and a port.
    Tcp(String),
    /// The path of a socket.
    Unix(PathBuf),
}

/// A text that is no address of a link.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address of a link; write tcp://HOST:PORT or unix:///PATH")]
pub struct InvalidAddress(String);

impl FromStr for LinkAddress {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let invalid = || InvalidAddress(text.to_owned());
        if let Some(path) = text.strip_prefix("unix://").filter(|path| path.starts_with('/')) {
            return Ok(Self::Unix(path.into()));
        }
        let rest = text.strip_prefix("tcp://").ok_or_else(invalid)?;
        let (host, port) = rest.rsplit_once(':').ok_or_else(invalid)?;
        match port.parse::<u16>() {
            Ok(_) if !host.is_empty() => Ok(Self::Tcp(rest.to_owned())),
            Ok(_) | Err(_) => Err(invalid()),
        }
    }
}

impl fmt::Display for LinkAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(at) => write!(f, "tcp://{at}"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

/// Both ways of a connection.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl LinkAddress {
    pub(super) async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Tcp(at) => Box::new(TcpStream::connect(at.as_str()).await?),
            Self::Unix(path) => Box::new(UnixStream::connect(path).await?),
        })
    }
}

/// A socket that listens.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

impl Listener {
    /// Listens. A socket that a process before left at a path, at which nobody listens any more, is replaced.
    pub(super) async fn bind(address: &LinkAddress) -> io::Result<(Self, LinkAddress)> {
        match address {
            LinkAddress::Tcp(at) => {
                let listener = TcpListener::bind(at.as_str()).await?;
                let host = at.rsplit_once(':').map_or(at.as_str(), |(host, _)| host);
                let address = LinkAddress::Tcp(format!("{host}:{}", listener.local_addr()?.port()));
                Ok((Self::Tcp(listener), address))
            }
            LinkAddress::Unix(path) => {
                let in_use = |error: &io::Error| error.kind() == io::ErrorKind::AddrInUse;
                let listener = match UnixListener::bind(path) {
                    Err(error) if in_use(&error) && UnixStream::connect(path).await.is_err() => {
                        std::fs::remove_file(path)?;
                        UnixListener::bind(path)?
                    }
                    outcome => outcome?,
                };
                Ok((Self::Unix(listener, path.clone()), address.clone()))
            }
        }
    }

    pub(super) async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Tcp(listener) => Box::new(listener.accept().await?.0),
            Self::Unix(listener, _) => Box::new(listener.accept().await?.0),
        })
    }

    /// Takes the path away; a port goes by itself.
    pub(super) fn close(&self) {
        if let Self::Unix(_, path) = self
            && let Err(error) = std::fs::remove_file(path)
        {
            tracing::debug!(path = %path.display(), %error, "socket stays");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_back_and_others_are_refused() {
        for text in ["tcp://127.0.0.1:7411", "tcp://host.example:0", "tcp://[::1]:80", "unix:///run/a.sock"] {
            assert_eq!(text.parse::<LinkAddress>().map(|address| address.to_string()), Ok(text.to_owned()));
        }
        for text in
            ["", "10.0.0.1:80", "tcp://host", "tcp://:80", "tcp://host:65536", "unix://a.sock", "http://a:80"]
        {
            assert_eq!(text.parse::<LinkAddress>(), Err(InvalidAddress(text.to_owned())));
        }
    }
}
