//! The connections of others, which have this member for their leader.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::clock::Timestamp;
use crate::coordinator::CoordinatorHandle;
use crate::driver::MemberStage;
use crate::ids::MAX_MEMBERS;

use super::address::Stream;
use super::peers::{Heard, Peer, Peers};
use super::wire::{Connection, End, Hello};
use super::{Hints, LivenessLink};

/// The wait before the next try where the system gives no connection.
const AGAIN: Duration = Duration::from_millis(100);

/// Takes connections, and says whose process has ended.
pub(super) async fn run(link: &LivenessLink, member: &CoordinatorHandle, hints: &Hints) {
    let (news, mut heard) = mpsc::channel(64);
    let (mut peers, mut connections) = (Peers::default(), JoinSet::new());
    let begin = Instant::now();
    let now = || Timestamp(begin.elapsed());
    loop {
        let due = peers.next_wake().map(|at| begin + at.0);
        tokio::select! {
            accepted = link.listener.accept() => match accepted {
                // More than there can be members are none.
                Ok(stream) if connections.len() < MAX_MEMBERS => {
                    if let Some(own) = own(member) {
                        connections.spawn(attend(stream, own, news.clone()));
                    }
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "no connection accepted");
                    sleep(AGAIN).await;
                }
            },
            Some((peer, what)) = heard.recv() => {
                peers.hear(now(), &peer, what);
                link.connected.send_replace(peers.connected());
            }
            Some(_) = connections.join_next() => {}
            () = sleep_until(due.unwrap_or(begin)), if due.is_some() => {
                for (peer, incarnation) in peers.ended(now()) {
                    hints.give(&peer, incarnation).await;
                }
            }
        }
    }
}

/// The member as it names itself; none while it has no session.
pub(super) fn own(member: &CoordinatorHandle) -> Option<Hello> {
    let MemberStage::Serving(incarnation) = member.status().borrow().stage else { return None };
    Some(Hello { group: member.group().to_string(), member: member.instance_id().clone(), incarnation })
}

async fn attend(stream: Box<dyn Stream>, own: Hello, news: mpsc::Sender<(Peer, Heard)>) {
    let Ok(mut connection) = Connection::answer(stream, &own).await else { return };
    let peer = (connection.peer.member.clone(), connection.peer.incarnation);
    // Nobody listens any more where the link has ended.
    if news.send((peer.clone(), Heard::Hello)).await.is_err() {
        return;
    }
    let heard = match connection.ended().await {
        End::Bye => Heard::Bye,
        End::Lost => Heard::Lost,
    };
    drop(news.send((peer, heard)).await);
}
