//! A network between a process and a server that can be cut.
//!
//! A proxy needs no privileges, cuts the way to one server, or one direction of it. What it does not show is a connection
//! attempt that nobody answers: here one comes about, and is silent. [`crate::wire`] shows that.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What passes a [`Proxy`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Passage {
    /// Everything.
    #[default]
    Open,
    /// What the process sends, and no answer: what it asks for is done, and it does not know.
    Questions,
    /// Nothing, as when a cable is pulled.
    Nothing,
}

/// Forwards connections to one address. What does not pass is kept, and comes late once it may pass again.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    passage: watch::Sender<Passage>,
    target: watch::Sender<String>,
    /// Ends everything with the proxy.
    _runtime: Runtime,
}

impl Proxy {
    /// To `host:port`.
    ///
    /// # Errors
    /// No port or no thread can be had.
    pub fn to(target: &str) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        let passage = watch::Sender::new(Passage::Open);
        let target = watch::Sender::new(target.to_owned());
        runtime.spawn(accept(listener, target.subscribe(), passage.subscribe()));
        Ok(Self { address, passage, target, _runtime: runtime })
    }

    /// Where to connect to, `host:port`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// From now on connections go to another `host:port`; those that are there stay where they are, as when a name or a service is
    /// given to another server.
    pub fn lead_to(&self, target: &str) {
        self.target.send_replace(target.to_owned());
    }

    /// From now on this passes.
    pub fn let_pass(&self, passage: Passage) {
        self.passage.send_replace(passage);
    }
}

async fn accept(listener: TcpListener, target: watch::Receiver<String>, passage: watch::Receiver<Passage>) {
    let mut pipes = JoinSet::new();
    loop {
        while pipes.try_join_next().is_some() {}
        let Ok((near, _)) = listener.accept().await else { continue };
        // A server that is not there is not there for whoever connected, either.
        let target = target.borrow().clone();
        let Ok(far) = TcpStream::connect(target).await else { continue };
        let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
        pipes.spawn(pipe(near_in, far_out, passage.clone(), |passage| passage != Passage::Nothing));
        pipes.spawn(pipe(far_in, near_out, passage.clone(), |passage| passage == Passage::Open));
    }
}

async fn pipe(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut passage: watch::Receiver<Passage>,
    may_pass: fn(Passage) -> bool,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut buffer).await.unwrap_or(0);
        if passage.wait_for(|passage| may_pass(*passage)).await.is_err() || read == 0 {
            return;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
