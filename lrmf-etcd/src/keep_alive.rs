//! All leases of a store, kept alive over one stream.
//!
//! Answers carry no number of their request: each is credited to the oldest outstanding request of its lease, also where
//! nobody waits for that one any more. A request can so only ever be credited with an answer to itself or to a later one,
//! never to an earlier one.

use std::collections::VecDeque;
use std::time::Duration;

use etcd_client::{LeaseClient, LeaseKeepAliveStream, LeaseKeeper};
use lrmf_core::StoreError;
use lrmf_core::coordination::LeaseId;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::error::{is_lease_gone, store_error};

/// How many requests may wait to be sent.
const QUEUE: usize = 1024;

type Answer = Result<Duration, StoreError>;

#[derive(Debug)]
struct Request {
    lease: LeaseId,
    reply: oneshot::Sender<Answer>,
}

/// The handle. The task behind it ends with it.
#[derive(Debug)]
pub(crate) struct KeepAlives {
    requests: mpsc::Sender<Request>,
    timeout: Duration,
    _task: AbortOnDropHandle<()>,
}

impl KeepAlives {
    pub(crate) fn start(client: LeaseClient, timeout: Duration) -> Self {
        let (requests, receiver) = mpsc::channel(QUEUE);
        let task = Sender { client, requests: receiver, timeout };
        Self { requests, timeout, _task: AbortOnDropHandle::new(tokio::spawn(task.run())) }
    }

    pub(crate) async fn keep_alive(&self, lease: LeaseId) -> Answer {
        let (reply, answer) = oneshot::channel();
        let asked = async {
            if self.requests.send(Request { lease, reply }).await.is_err() {
                return Err(StoreError::Unreachable("the task that keeps leases alive has ended".into()));
            }
            answer.await.unwrap_or_else(|_| Err(StoreError::Unknown("the keep-alive was given up".into())))
        };
        let late =
            |_| Err(StoreError::Unknown(format!("no answer to a keep-alive within {:?}", self.timeout)));
        timeout(self.timeout, asked).await.unwrap_or_else(late)
    }
}

/// The task: owns the stream, and opens it anew when it is lost and needed again.
struct Sender {
    client: LeaseClient,
    requests: mpsc::Receiver<Request>,
    timeout: Duration,
}

impl Sender {
    async fn run(mut self) {
        while let Some(request) = self.requests.recv().await {
            if request.reply.is_closed() {
                continue;
            }
            match self.open(request.lease).await {
                Ok((keeper, answers, ttl)) => {
                    answer(request, Ok(ttl));
                    let why = self.serve(keeper, answers).await;
                    tracing::debug!(why, "the stream of keep-alives ended");
                }
                Err(error) => answer(request, Err(error)),
            }
        }
    }

    /// Opens the stream with a first request, and waits for its answer.
    async fn open(
        &mut self,
        lease: LeaseId,
    ) -> Result<(LeaseKeeper, LeaseKeepAliveStream, Duration), StoreError> {
        let opened = crate::store::with_retries(self.timeout, "opening the stream of keep-alives", || {
            let mut client = self.client.clone();
            async move {
                match client.keep_alive(lease.0).await {
                    Err(error) if is_lease_gone(&error) => Ok(None),
                    Err(error) => Err(error),
                    Ok(opened) => Ok(Some(opened)),
                }
            }
        });
        let Some((mut keeper, mut answers)) = opened.await? else { return Err(StoreError::LeaseGone) };
        // The client keeps the first answer's TTL to itself; ask again for it.
        let second = async {
            keeper.keep_alive().await?;
            answers.message().await
        };
        let lost = |why: &str| StoreError::Unknown(format!("the stream of keep-alives was lost: {why}"));
        match timeout(self.timeout, second).await {
            Ok(Ok(Some(response))) => Ok((keeper, answers, ttl(response.ttl())?)),
            Ok(Ok(None)) => Err(lost("closed")),
            Ok(Err(error)) => Err(store_error(&error)),
            Err(_) => Err(lost("no answer")),
        }
    }

    /// Serves requests until the stream is lost, and says why.
    async fn serve(&mut self, mut keeper: LeaseKeeper, mut answers: LeaseKeepAliveStream) -> String {
        let mut outstanding = Outstanding::default();
        let why = loop {
            let overdue = outstanding.oldest().map(|sent| sent + self.timeout);
            tokio::select! {
                request = self.requests.recv() => {
                    let Some(request) = request else { break "no longer needed".to_owned() };
                    if request.reply.is_closed() {
                        continue;
                    }
                    keeper.id = request.lease.0;
                    outstanding.sent(request);
                    match timeout(self.timeout, keeper.keep_alive()).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => break error.to_string(),
                        Err(_) => break "it takes no more requests".to_owned(),
                    }
                }
                response = answers.message() => match response {
                    Ok(Some(response)) => outstanding.credit(LeaseId(response.id()), ttl(response.ttl())),
                    Ok(None) => break "closed".to_owned(),
                    Err(error) => break error.to_string(),
                },
                () = sleep_until(overdue.unwrap_or_else(Instant::now)), if overdue.is_some() => {
                    break "no answer".to_owned();
                }
            }
        };
        outstanding.fail(&why);
        why
    }
}

fn ttl(seconds: i64) -> Answer {
    match u64::try_from(seconds) {
        Ok(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds)),
        _ => Err(StoreError::LeaseGone),
    }
}

/// The caller may have given up; that is its right.
fn answer(request: Request, answer: Answer) {
    if request.reply.send(answer).is_err() {
        tracing::trace!(lease = request.lease.0, "nobody waits for this keep-alive any more");
    }
}

/// What was sent and not yet answered, in order.
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

    fn fail(self, why: &str) {
        for (_, request) in self.0 {
            answer(request, Err(StoreError::Unknown(format!("the stream of keep-alives was lost: {why}"))));
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
        outstanding.fail("test");
        assert!(matches!(first_of_two.try_recv(), Ok(Err(StoreError::Unknown(_)))));
    }
}
