//! All leases of a store, kept alive over one stream.
//!
//! Answers carry no number of their request: each is credited to the oldest outstanding request of its lease, also where
//! nobody waits for that one any more. A request can so only ever be credited with an answer to itself or to a later one,
//! never to an earlier one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{LeaseKeepAliveStream, LeaseKeeper};
use lrmf_core::coordination::LeaseId;
use lrmf_core::{CoordinationError, session_runtime};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::error::is_lease_gone;
use crate::nodes::{self, Node, Nodes};

/// The number of requests that may wait to be sent.
const QUEUE: usize = 1024;

type Answer = Result<Duration, CoordinationError>;

#[derive(Debug)]
struct Request {
    lease: LeaseId,
    reply: oneshot::Sender<Answer>,
}

/// The handle. The task behind it ends with it.
#[derive(Debug)]
pub(crate) struct KeepAlives {
    requests: mpsc::Sender<Request>,
    nodes: Arc<Nodes>,
    _task: AbortOnDropHandle<()>,
}

impl KeepAlives {
    /// Begins, on the runtime of the sessions.
    pub(crate) fn start(nodes: Arc<Nodes>) -> Result<Self, CoordinationError> {
        let (requests, receiver) = mpsc::channel(QUEUE);
        let task = Sender { nodes: nodes.clone(), requests: receiver, again: VecDeque::new() };
        let runtime = session_runtime().map_err(CoordinationError::Unreachable)?;
        Ok(Self { requests, nodes, _task: AbortOnDropHandle::new(runtime.spawn(task.run())) })
    }

    pub(crate) async fn keep_alive(&self, lease: LeaseId) -> Answer {
        let (reply, answer) = oneshot::channel();
        let asked = async {
            if self.requests.send(Request { lease, reply }).await.is_err() {
                return Err(CoordinationError::Unreachable(
                    "the task that keeps leases alive has ended".into(),
                ));
            }
            answer
                .await
                .unwrap_or_else(|_| Err(CoordinationError::Unknown("the keep-alive was given up".into())))
        };
        let limit = self.nodes.limit();
        let late = |_| Err(CoordinationError::Unknown(format!("no answer to a keep-alive within {limit:?}")));
        timeout(limit, asked).await.unwrap_or_else(late)
    }
}

/// The task: owns the stream, and opens it anew when it is lost and needed again.
struct Sender {
    nodes: Arc<Nodes>,
    requests: mpsc::Receiver<Request>,
    /// Requests of a stream that was lost, which are made again over the next one.
    again: VecDeque<Request>,
}

/// A stream, at one node.
struct Stream {
    keeper: LeaseKeeper,
    answers: LeaseKeepAliveStream,
    node: Arc<Node>,
}

impl Sender {
    async fn run(mut self) {
        while let Some(request) = self.next().await {
            match self.open(request.lease).await {
                Ok((stream, ttl)) => {
                    answer(request, ttl);
                    let why = self.serve(stream).await;
                    tracing::debug!(why, "the stream of keep-alives ended");
                }
                Err(error) => answer(request, Err(error)),
            }
        }
    }

    /// The next request that somebody waits for.
    async fn next(&mut self) -> Option<Request> {
        loop {
            let request = match self.again.pop_front() {
                Some(request) => request,
                None => self.requests.recv().await?,
            };
            if !request.reply.is_closed() {
                return Some(request);
            }
        }
    }

    /// Opens the stream with a first request, and waits for its answer.
    async fn open(&self, lease: LeaseId) -> Result<(Stream, Answer), CoordinationError> {
        let opened =
            self.nodes.ask_within(self.nodes.limit(), "opening the stream of keep-alives", |client| {
                let mut client = client.lease_client();
                async move {
                    let (mut keeper, mut answers) = match client.keep_alive(lease.0).await {
                        Err(error) if is_lease_gone(&error) => return Ok(None),
                        opened => opened?,
                    };
                    // The client keeps the first answer's TTL to itself; ask again for it.
                    keeper.keep_alive().await?;
                    let closed = || etcd_client::Error::LeaseKeepAliveError("closed".to_owned());
                    let second = answers.message().await?.ok_or_else(closed)?;
                    Ok(Some((keeper, answers, second.ttl())))
                }
            });
        let nodes::Answer { value, node } = opened.await?;
        let (keeper, answers, seconds) = value.ok_or(CoordinationError::LeaseGone)?;
        Ok((Stream { keeper, answers, node }, ttl(seconds)))
    }

    /// Serves requests until the stream is lost, and says why. What was not answered is asked again over the next one: it may
    /// be, and a later answer counts for an earlier request.
    async fn serve(&mut self, stream: Stream) -> &'static str {
        let mut outstanding = Outstanding::default();
        let why = self.serve_over(stream, &mut outstanding).await;
        self.again.extend(outstanding.0.into_iter().map(|(_, request)| request));
        why
    }

    async fn serve_over(&mut self, stream: Stream, outstanding: &mut Outstanding) -> &'static str {
        let Stream { mut keeper, mut answers, node } = stream;
        let mut given_up = std::pin::pin!(node.given_up());
        let nodes = self.nodes.clone();
        // When it was last found out that a node that answered late does not hang.
        let mut cleared: Option<Instant> = None;
        loop {
            let limit = nodes.limit();
            if let Some(request) = self.again.pop_front() {
                match send(&mut keeper, outstanding, request, limit).await {
                    Some(why) => return why,
                    None => continue,
                }
            }
            let oldest = outstanding.oldest();
            let overdue = oldest.map(|sent| sent + limit);
            let doubtful = oldest
                .zip(nodes.patience(limit))
                .map(|(sent, patience)| sent.max(cleared.unwrap_or(sent)) + patience);
            let looked_into = async {
                match (oldest, doubtful) {
                    (Some(sent), Some(at)) => {
                        sleep_until(at).await;
                        nodes.give_up_if_it_hangs(&node, sent).await
                    }
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                request = self.requests.recv() => {
                    let Some(request) = request else { return "no longer needed" };
                    if let Some(why) = send(&mut keeper, outstanding, request, limit).await {
                        return why;
                    }
                }
                response = answers.message() => match response {
                    Ok(Some(response)) => {
                        node.answered();
                        outstanding.credit(LeaseId(response.id()), ttl(response.ttl()));
                    }
                    Ok(None) => return "closed",
                    Err(_) => return "broken",
                },
                hangs = looked_into => {
                    if hangs {
                        return "its node hangs";
                    }
                    cleared = Some(Instant::now());
                }
                () = &mut given_up => return "its node was given up",
                () = sleep_until(overdue.unwrap_or_else(Instant::now)), if overdue.is_some() => return "no answer",
            }
        }
    }
}

/// Sends a request; says why the stream is of no more use, if it is not.
async fn send(
    keeper: &mut LeaseKeeper,
    outstanding: &mut Outstanding,
    request: Request,
    limit: Duration,
) -> Option<&'static str> {
    if request.reply.is_closed() {
        return None;
    }
    keeper.id = request.lease.0;
    outstanding.sent(request);
    match timeout(limit, keeper.keep_alive()).await {
        Ok(Ok(())) => None,
        Ok(Err(_)) => Some("closed"),
        Err(_) => Some("it takes no more requests"),
    }
}

fn ttl(seconds: i64) -> Answer {
    match u64::try_from(seconds) {
        Ok(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds)),
        _ => Err(CoordinationError::LeaseGone),
    }
}

/// The caller may have given up; that is its right.
fn answer(request: Request, answer: Answer) {
    if request.reply.send(answer).is_err() {
        tracing::trace!(lease = request.lease.0, "nobody waits for this keep-alive any more");
    }
}

/// The requests that were sent and not yet answered, in order.
#[derive(Debug, Default)]
struct Outstanding(VecDeque<(Instant, Request)>);

impl Outstanding {
    fn sent(&mut self, request: Request) {
        self.0.push_back((Instant::now(), request));
    }

    fn oldest(&self) -> Option<Instant> {
        self.0.front().map(|(sent, _)| *sent)
    }

    fn credit(&mut self, lease: LeaseId, ttl: Answer) {
        let oldest = self.0.iter().position(|(_, request)| request.lease == lease);
        match oldest.and_then(|index| self.0.remove(index)) {
            Some((_, request)) => answer(request, ttl),
            None => tracing::warn!(lease = lease.0, "an answer to a keep-alive that was not asked"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_counts_for_the_oldest_request_of_its_lease() {
        let mut outstanding = Outstanding::default();
        let mut send = |lease: i64| {
            let (reply, answer) = oneshot::channel();
            outstanding.sent(Request { lease: LeaseId(lease), reply });
            answer
        };
        let (given_up, mut first_of_two, mut second_of_one) = (send(1), send(2), send(1));
        drop(given_up);
        let ttl = Duration::from_secs(5);
        outstanding.credit(LeaseId(1), Ok(ttl));
        assert!(second_of_one.try_recv().is_err(), "the answer was to the request before");
        outstanding.credit(LeaseId(1), Ok(ttl));
        assert_eq!(second_of_one.try_recv().unwrap().unwrap(), ttl);
        assert!(first_of_two.try_recv().is_err());
        outstanding.credit(LeaseId(3), Ok(ttl));
        assert!(first_of_two.try_recv().is_err());
    }
}
