//! The connection to the leader.

use std::io;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::coordination::Coordination;
use crate::coordinator::CoordinatorHandle;
use crate::driver::{MemberStage, MemberStatus};
use crate::ids::{Incarnation, InstanceId};
use crate::keys::Keys;
use crate::records::{MemberRecord, decode};

use super::accept::own;
use super::address::LinkAddress;
use super::wire::{Connection, End};
use super::{Hints, LABEL};

/// The wait before the leader is called again, when it could not be reached.
const AGAIN: Duration = Duration::from_secs(1);

/// The time for a connection to come about.
const PATIENCE: Duration = Duration::from_secs(5);

/// A session that a connection is for: this member's, and that of the leader.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    own: Incarnation,
    leader: InstanceId,
}

/// What a call of the leader came to.
enum Called {
    Connected(Connection),
    /// Nobody listens there.
    NobodyThere,
    /// Nobody knows.
    Failed,
}

/// Keeps a connection to whoever leads.
pub(super) async fn run(member: &CoordinatorHandle, store: &dyn Coordination, hints: &Hints) {
    let mut status = member.status();
    loop {
        let Some(wanted) = wanted(&status.borrow_and_update(), member.instance_id()) else {
            if status.changed().await.is_err() {
                return;
            }
            continue;
        };
        follow(member, &wanted, &mut status, store, hints).await;
    }
}

fn wanted(status: &MemberStatus, own: &InstanceId) -> Option<Wanted> {
    let MemberStage::Serving(session) = status.stage else { return None };
    let leader = status.leader.clone().filter(|leader| leader != own)?;
    Some(Wanted { own: session, leader })
}

/// Stays connected to one leader for as long as it leads.
async fn follow(
    member: &CoordinatorHandle,
    wanted: &Wanted,
    status: &mut watch::Receiver<MemberStatus>,
    store: &dyn Coordination,
    hints: &Hints,
) {
    let mut lost = None;
    loop {
        let Some(record) = session_of(member, &wanted.leader, store).await else {
            return pause(wanted, status, member).await;
        };
        let address = record.labels.get(LABEL).and_then(|text| text.parse::<LinkAddress>().ok());
        let Some(address) = address else { return moved_on(wanted, status, member).await };
        match call(member, &address).await {
            Called::Connected(connection) if connection.peer.incarnation == record.incarnation => {
                match stay(connection, wanted, status, member).await {
                    Some(End::Lost) => lost = Some(record.incarnation),
                    // It says good-bye, or leads no longer.
                    Some(End::Bye) => return pause(wanted, status, member).await,
                    None => return,
                }
            }
            Called::Connected(_) | Called::NobodyThere => {
                let candidate = status.borrow().candidate;
                if let Some(incarnation) = lost.take().filter(|_| candidate) {
                    hints.give(&wanted.leader, incarnation).await;
                }
                return pause(wanted, status, member).await;
            }
            Called::Failed => {
                return pause(wanted, status, member).await;
            }
        }
    }
}

async fn session_of(
    member: &CoordinatorHandle,
    leader: &InstanceId,
    store: &dyn Coordination,
) -> Option<MemberRecord> {
    let key = Keys::new(member.group()).session(leader);
    let found = store.list(&key).await.ok()?.entries;
    let session = found.into_iter().find(|entry| entry.key == key)?;
    decode(&session.key, &session.value).ok()
}

async fn call(member: &CoordinatorHandle, address: &LinkAddress) -> Called {
    let Some(own) = own(member) else { return Called::Failed };
    let stream = match timeout(PATIENCE, address.connect()).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) if is_refused(&error) => return Called::NobodyThere,
        Ok(Err(_)) | Err(_) => return Called::Failed,
    };
    match Connection::greet(stream, &own).await {
        Ok(connection) => Called::Connected(connection),
        Err(_) => Called::Failed,
    }
}

/// Returns true where the machine answers and says that nobody listens.
fn is_refused(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound)
}

/// Waits until the connection ends, or is no longer wanted: then it is closed in good order.
async fn stay(
    mut connection: Connection,
    wanted: &Wanted,
    status: &mut watch::Receiver<MemberStatus>,
    member: &CoordinatorHandle,
) -> Option<End> {
    tokio::select! {
        end = connection.ended() => Some(end),
        () = moved_on(wanted, status, member) => {
            connection.close().await;
            None
        }
    }
}

/// Waits until somebody else leads, or this member has another session.
async fn moved_on(wanted: &Wanted, status: &mut watch::Receiver<MemberStatus>, member: &CoordinatorHandle) {
    let own = member.instance_id();
    let is_other = |status: &MemberStatus| self::wanted(status, own).as_ref() != Some(wanted);
    // An error says that the member has ended.
    drop(status.wait_for(is_other).await);
}

async fn pause(wanted: &Wanted, status: &mut watch::Receiver<MemberStatus>, member: &CoordinatorHandle) {
    tokio::select! {
        () = sleep(AGAIN) => {}
        () = moved_on(wanted, status, member) => {}
    }
}
