//! The greeting: a line of JSON from each side, the caller first. After it the caller says at most one more line, [`BYE`].

use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::time::timeout;

use crate::ids::{Incarnation, InstanceId};

use super::address::Stream;

/// The time that a greeting may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The most bytes of a line: far more than names may have.
const LINE_BYTES: u64 = 4096;

/// The line before a connection is closed in good order.
const BYE: &[u8] = b"bye\n";

/// A member as it names itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hello {
    /// The group's name.
    pub(super) group: String,
    pub(super) member: InstanceId,
    pub(super) incarnation: Incarnation,
}

/// A connection on which both sides have greeted each other.
pub(super) struct Connection {
    stream: BufReader<Box<dyn Stream>>,
    /// The other side.
    pub(super) peer: Hello,
}

/// The way in which a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Bye,
    Lost,
}

impl Connection {
    /// Greets first, as who calls does.
    pub(super) async fn greet(stream: Box<dyn Stream>, own: &Hello) -> io::Result<Self> {
        within(async {
            let mut stream = BufReader::new(stream);
            say(&mut stream, own).await?;
            let peer = hear(&mut stream).await?;
            Ok(Self { stream, peer })
        })
        .await
    }

    /// Is greeted first. A caller of another group is an error.
    pub(super) async fn answer(stream: Box<dyn Stream>, own: &Hello) -> io::Result<Self> {
        within(async {
            let mut stream = BufReader::new(stream);
            let peer = hear(&mut stream).await?;
            if peer.group != own.group {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a member of another group"));
            }
            say(&mut stream, own).await?;
            Ok(Self { stream, peer })
        })
        .await
    }

    /// Waits until it has ended.
    pub(super) async fn ended(&mut self) -> End {
        let mut line = Vec::new();
        match (&mut self.stream).take(LINE_BYTES).read_until(b'\n', &mut line).await {
            Ok(_) if line == BYE => End::Bye,
            Ok(_) | Err(_) => End::Lost,
        }
    }

    /// Ends it in good order.
    pub(super) async fn close(mut self) {
        let said = within(async {
            self.stream.write_all(BYE).await?;
            self.stream.shutdown().await
        });
        if let Err(error) = said.await {
            tracing::debug!(peer = %self.peer.member, %error, "no good-bye");
        }
    }
}

async fn within<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(PATIENCE, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn say(stream: &mut BufReader<Box<dyn Stream>>, hello: &Hello) -> io::Result<()> {
    let mut line = serde_json::to_vec(hello)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    stream.flush().await
}

async fn hear(stream: &mut BufReader<Box<dyn Stream>>) -> io::Result<Hello> {
    let mut line = Vec::new();
    stream.take(LINE_BYTES).read_until(b'\n', &mut line).await?;
    serde_json::from_slice(&line).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
