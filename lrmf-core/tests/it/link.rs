//! Liveness links over real sockets. The TTL is so long that within these tests nothing would move without them.

use std::time::Duration;

use crate::support::{Books, Group, config, holds};
use lrmf_core::link::{LABEL, LinkAddress, LivenessLink};
use lrmf_core::{CoordinatorConfig, CoordinatorHandle, Event, GroupMode};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

const ANY_PORT: &str = "tcp://127.0.0.1:0";

fn patient(mode: GroupMode) -> CoordinatorConfig {
    CoordinatorConfig { mode, ttl: Duration::from_secs(3600), margin: Duration::from_secs(60), ..config() }
}

/// A member with a link, as in a process of its own. Its books are its own, too: what the dead one runs is not known to others.
struct Linked {
    member: CoordinatorHandle,
    address: LinkAddress,
    connected: watch::Receiver<usize>,
    link: JoinHandle<()>,
}

impl Linked {
    async fn join(group: &Group, name: &str, address: &str, mode: GroupMode) -> Self {
        let link = LivenessLink::listen(&address.parse().unwrap()).await.unwrap();
        let (address, connected) = (link.address().clone(), link.connected());
        let worker = Books::default().worker(name);
        let config = link.announced_in(patient(mode));
        let member = group.member(name).worker(worker).config(config).start().await.unwrap();
        let link = tokio::spawn(link.serve(member.clone(), group.store.clone()));
        Self { member, address, connected, link }
    }

    /// The same for one that is to lead: whoever campaigns first does.
    async fn leads(group: &Group, address: &str, mode: GroupMode) -> Self {
        let linked = Self::join(group, "a", address, mode).await;
        linked.member.status().wait_for(|status| status.leading).await.unwrap();
        linked
    }

    async fn has_connected(&mut self, members: usize) {
        let connected = self.connected.wait_for(|connected| *connected == members);
        timeout(Duration::from_secs(30), connected).await.unwrap().unwrap();
    }

    /// The death of its process: nothing of it runs on, its sockets close, its session and its contact stay.
    async fn dies(self) {
        // Aborted first, or it would say good-bye.
        self.link.abort();
        assert!(self.link.await.unwrap_err().is_cancelled());
        self.member.kill().await;
    }

    async fn leaves(self) {
        self.member.close().await;
        self.link.await.unwrap();
    }
}

#[tokio::test]
async fn the_tasks_of_a_dead_process_go_elsewhere_at_once() {
    let group = Group::new(10);
    let mut a = Linked::leads(&group, ANY_PORT, GroupMode::Available).await;
    let b = Linked::join(&group, "b", ANY_PORT, GroupMode::Available).await;
    holds(&b.member, 5).await;
    a.has_connected(1).await;
    b.dies().await;
    holds(&a.member, 10).await;
    assert!(a.member.status().borrow().leading);
    a.leaves().await;
}

#[tokio::test]
async fn so_do_those_of_a_dead_leader_and_the_leadership() {
    let group = Group::new(10);
    let directory = std::env::temp_dir().join(format!("lrmf-link-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let socket = |name: &str| format!("unix://{}/{name}.sock", directory.display());
    let mut a = Linked::leads(&group, &socket("a"), GroupMode::Available).await;
    let b = Linked::join(&group, "b", &socket("b"), GroupMode::Available).await;
    holds(&b.member, 5).await;
    a.has_connected(1).await;
    b.member.status().wait_for(|status| status.candidate).await.unwrap();
    a.dies().await;
    holds(&b.member, 10).await;
    assert!(b.member.status().borrow().leading);
    // What the dead one left at its path is in nobody's way.
    let again = LivenessLink::listen(&socket("a").parse().unwrap()).await.unwrap();
    let in_use = LivenessLink::listen(&socket("a").parse().unwrap()).await.unwrap_err();
    assert_eq!(in_use.kind(), std::io::ErrorKind::AddrInUse);
    drop(again);
    b.leaves().await;
    std::fs::remove_dir_all(&directory).unwrap();
}

/// Where P1 holds, a hint does nothing.
#[tokio::test]
async fn in_mode_exclusive_the_tasks_of_a_dead_process_wait_for_the_end_of_its_session() {
    let group = Group::new(10);
    let mut a = Linked::leads(&group, ANY_PORT, GroupMode::Exclusive).await;
    let b = Linked::join(&group, "b", ANY_PORT, GroupMode::Exclusive).await;
    holds(&b.member, 5).await;
    a.has_connected(1).await;
    b.dies().await;
    a.has_connected(0).await;
    // Far longer than a hint takes, which is what does not come.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(a.member.held().borrow().len(), 5);
    a.leaves().await;
}

/// A wrong hint moves tasks, once, and costs the one that it is about nothing else.
#[tokio::test]
async fn a_member_whose_link_alone_is_gone_is_back_in_contact() {
    let group = Group::new(10);
    let mut a = Linked::leads(&group, ANY_PORT, GroupMode::Available).await;
    let b = Linked::join(&group, "b", ANY_PORT, GroupMode::Available).await;
    holds(&b.member, 5).await;
    a.has_connected(1).await;
    let mut events = b.member.events();
    b.link.abort();
    let lost = async { while events.next().await.is_some_and(|event| event != Event::OutOfContact) {} };
    timeout(Duration::from_secs(30), lost).await.unwrap();
    holds(&a.member, 5).await;
    holds(&b.member, 5).await;
    b.member.close().await;
    a.leaves().await;
}

#[tokio::test]
async fn whoever_leaves_in_good_order_or_says_nonsense_is_not_taken_for_dead() {
    let group = Group::new(10);
    let mut a = Linked::leads(&group, ANY_PORT, GroupMode::Available).await;
    let b = Linked::join(&group, "b", ANY_PORT, GroupMode::Available).await;
    holds(&b.member, 5).await;
    a.has_connected(1).await;
    let LinkAddress::Tcp(at) = a.address.clone() else { panic!("{}", a.address) };
    assert_eq!(a.member.status().borrow().leader.as_ref(), Some(a.member.instance_id()));

    let b_session = match &b.member.status().borrow().stage {
        lrmf_core::MemberStage::Serving(session) => *session,
        stage => panic!("{stage:?}"),
    };
    let long = "x".repeat(100_000);
    let other = format!(r#"{{"group":"p/b/other","member":"b","incarnation":"{b_session}"}}"#);
    for line in ["", "nonsense", "{}", long.as_str(), other.as_str()] {
        let mut stream = TcpStream::connect(&at).await.unwrap();
        // It may have closed the connection by then.
        drop(stream.write_all(format!("{line}\n").as_bytes()).await);
        let mut answer = String::new();
        drop(BufReader::new(stream).read_line(&mut answer).await);
        assert_eq!(answer, "", "{line:.40}");
    }
    b.leaves().await;
    a.has_connected(0).await;
    holds(&a.member, 10).await;
    assert_eq!(LABEL, "liveness-link");
    a.leaves().await;
}
