//! A bound on clients that get nowhere: those that send a request bit by bit, take no answer, or say nothing.
//!
//! A response begins within the time of a request, and an open stream sends a comment every 15 seconds. So a connection over which no byte
//! could be sent for longer belongs to a client that is slow, silent or gone, whatever arrives over it, and is closed.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::auth::Peer;

/// The time for which a connection may be open without a byte that was sent: a request's time to arrive, the time until its response begins,
/// and some more.
const LIMIT: Duration = Duration::from_secs(90);

/// A listener whose connections are closed when their clients get nowhere.
pub(crate) struct Bounded<L>(pub(crate) L);

impl<L: Listener<Addr = SocketAddr>> Listener for Bounded<L> {
    type Io = Connection<L::Io>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        let (io, peer) = self.0.accept().await;
        (Connection::new(io), peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl<L: Listener<Addr = SocketAddr>> Connected<IncomingStream<'_, Bounded<L>>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Bounded<L>>) -> Self {
        Self(*stream.remote_addr())
    }
}

/// A connection that fails once no byte could be sent over it for [`LIMIT`].
pub(crate) struct Connection<T> {
    io: T,
    end: Pin<Box<Sleep>>,
}

impl<T> Connection<T> {
    fn new(io: T) -> Self {
        Self { io, end: Box::pin(tokio::time::sleep(LIMIT)) }
    }

    /// Fails where the time is over; else the task is woken when it is.
    fn in_time(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.end.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(()),
        }
    }

    /// Begins the time anew where bytes were sent.
    fn sent(&mut self, sent: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if matches!(sent, Poll::Ready(Ok(bytes)) if bytes > 0) {
            self.end.as_mut().reset(Instant::now() + LIMIT);
        }
        sent
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Connection<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.in_time(context)?;
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Connection<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.in_time(context)?;
        let sent = Pin::new(&mut self.io).poll_write(context, bytes);
        self.sent(sent)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.in_time(context)?;
        let sent = Pin::new(&mut self.io).poll_write_vectored(context, slices);
        self.sent(sent)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn pair() -> (tokio::io::DuplexStream, Connection<tokio::io::DuplexStream>) {
        let (client, server) = tokio::io::duplex(64);
        (client, Connection::new(server))
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_and_one_that_sends_bit_by_bit_are_left() {
        for every in [None, Some(10)] {
            let ((mut client, mut server), begun) = (pair(), Instant::now());
            let sending = tokio::spawn(async move {
                while let Some(seconds) = every {
                    tokio::time::sleep(Duration::from_secs(seconds)).await;
                    if client.write_all(b"x").await.is_err() {
                        break;
                    }
                }
                std::future::pending::<()>().await;
            });
            let error = loop {
                if let Err(error) = server.read_u8().await {
                    break error;
                }
            };
            assert_eq!((error.kind(), begun.elapsed()), (io::ErrorKind::TimedOut, LIMIT));
            sending.abort();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_left_and_one_that_does_stays() {
        let ((_client, mut server), begun) = (pair(), Instant::now());
        let error = server.write_all(&[0; 65]).await.unwrap_err();
        assert_eq!((error.kind(), begun.elapsed()), (io::ErrorKind::TimedOut, LIMIT));

        let (mut client, mut server) = pair();
        let reading = tokio::spawn(async move { while client.read_u8().await.is_ok() {} });
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_secs(15)).await;
            server.write_all(b":").await.unwrap();
        }
        drop(server);
        reading.await.unwrap();
    }
}
