//! A listener that speaks TLS, with a certificate that is read again when its files change.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use axum::serve::Listener;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info, warn};

/// The time that a client has for its handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// The time between two looks at the files; they are looked at when somebody connects.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// The handshakes that are under way at a time. Further clients wait to be accepted.
const HANDSHAKES: usize = 256;
/// The connections that wait to be served.
const READY: usize = 64;

/// The reason why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or has no certificate or key.
    #[error("{}: {cause}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The reason.
        cause: String,
    },
    /// The key is not that of the certificate, or of a kind that is not known.
    #[error("the certificate and its key cannot be used: {0}")]
    Pair(#[from] rustls::Error),
}

/// A certificate and its key, in PEM files.
pub struct Certificate {
    cert: PathBuf,
    key: PathBuf,
    current: Mutex<Current>,
}

struct Current {
    config: Arc<ServerConfig>,
    changed: [Option<SystemTime>; 2],
    looked: Instant,
}

impl Certificate {
    /// Reads a certificate, with the chain behind it, and its key.
    ///
    /// # Errors
    /// A file cannot be read, or the two do not belong together.
    pub fn read(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        let changed = [modified(cert), modified(key)];
        let config = load(cert, key)?;
        let current = Mutex::new(Current { config, changed, looked: Instant::now() });
        Ok(Self { cert: cert.to_owned(), key: key.to_owned(), current })
    }

    /// Returns the configuration of a new connection. New files that cannot be used are said in the log, and the former ones go on.
    fn config(&self) -> Arc<ServerConfig> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.looked.elapsed() < LOOK_AGAIN {
            return current.config.clone();
        }
        current.looked = Instant::now();
        let changed = [modified(&self.cert), modified(&self.key)];
        if changed != current.changed {
            match load(&self.cert, &self.key) {
                Ok(config) => {
                    info!(cert = %self.cert.display(), "the API's certificate was read again");
                    current.config = config;
                    current.changed = changed;
                }
                // Perhaps the other file is still to come.
                Err(error) => warn!(%error, "the API's new certificate cannot be used; the former one stays"),
            }
        }
        current.config.clone()
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

fn load(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let wrong = |path: &Path, cause: String| TlsError::File { path: path.to_owned(), cause };
    let chain = CertificateDer::pem_file_iter(cert).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|error| wrong(cert, error.to_string()))?;
    if chain.is_empty() {
        return Err(wrong(cert, "there is no certificate in it".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, error.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(versions.with_no_client_auth().with_single_cert(chain, key)?))
}

/// A listener whose connections have shaken hands. A client that is slow to do so keeps no other one waiting.
pub(crate) struct TlsListener {
    address: SocketAddr,
    ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    _accepting: AbortOnDropHandle<()>,
}

impl TlsListener {
    pub(crate) fn new(listener: TcpListener, certificate: Arc<Certificate>) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (sender, ready) = mpsc::channel(READY);
        let accepting = tokio::spawn(accept(listener, certificate, sender));
        Ok(Self { address, ready, _accepting: AbortOnDropHandle::new(accepting) })
    }
}

async fn accept(
    mut listener: TcpListener,
    certificate: Arc<Certificate>,
    ready: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>,
) {
    let mut handshakes = tokio::task::JoinSet::new();
    loop {
        while handshakes.len() >= HANDSHAKES {
            handshakes.join_next().await;
        }
        let (stream, peer) = Listener::accept(&mut listener).await;
        let (acceptor, ready) = (TlsAcceptor::from(certificate.config()), ready.clone());
        handshakes.spawn(async move {
            match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                // Where nobody takes it, the server has ended.
                Ok(Ok(stream)) => drop(ready.send((stream, peer)).await),
                Ok(Err(error)) => debug!(%peer, %error, "a TLS handshake failed"),
                Err(_) => debug!(%peer, "a TLS handshake took too long"),
            }
        });
        while handshakes.try_join_next().is_some() {}
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(accepted) => accepted,
            // The accepting task lives as long as this.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(self.address)
    }
}
