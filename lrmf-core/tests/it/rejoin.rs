//! Members that are told to end while they are losing their session, or are about to come back.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{Group, holds};
use async_trait::async_trait;
use lrmf_core::memory::Outage;
use lrmf_core::protocol::Exit;
use lrmf_core::{CoordinatorHandle, Event, Holding, MemberStage, Worker};
use tokio::sync::Semaphore;

/// Long enough for everything, in time that is the test's own.
const LONG: Duration = Duration::from_secs(600);

async fn end(member: &CoordinatorHandle, restarts: bool) {
    let ending = async { if restarts { member.restart().await } else { member.close().await } };
    tokio::time::timeout(LONG, ending).await.unwrap();
    assert_eq!(member.status().borrow().stage, MemberStage::Ended(Exit::Asked));
    assert!(member.held().borrow().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_member_that_waits_to_come_back_ends_at_once() {
    for restarts in [false, true] {
        let group = Group::new(20);
        let connection = group.store.connection();
        let a = group.join("a").await;
        let b = group.member_over("b", &connection).start().await.unwrap();
        holds(&a, 10).await;
        holds(&b, 10).await;
        connection.set_outage(Some(Outage::Unreachable));
        b.status().wait_for(|status| status.stage == MemberStage::Joining).await.unwrap();
        end(&b, restarts).await;
        // It does not come back by itself, also not when it could.
        connection.set_outage(None);
        holds(&a, 20).await;
        tokio::time::sleep(LONG).await;
        assert_eq!(group.books.holders().values().filter(|holder| *holder == "a").count(), 20);
    }
}

/// A worker whose tasks stop when the test lets them.
struct Reluctant(Arc<Semaphore>);

#[async_trait]
impl Worker for Reluctant {
    async fn assign(&self, _: &[Holding]) -> anyhow::Result<()> {
        Ok(())
    }

    async fn revoke(&self, holdings: &[Holding]) -> anyhow::Result<()> {
        self.0.acquire_many(u32::try_from(holdings.len())?).await?.forget();
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_that_is_losing_its_session_ends_when_its_tasks_have_stopped() {
    for restarts in [false, true] {
        let (group, stops) = (Group::new(4), Arc::new(Semaphore::new(0)));
        let connection = group.store.connection();
        let worker = Reluctant(stops.clone());
        let member = group.member_over("a", &connection).worker(worker).start().await.unwrap();
        holds(&member, 4).await;
        let mut events = member.events();
        connection.set_outage(Some(Outage::Unreachable));
        while !matches!(events.next().await.unwrap(), Event::Fenced { .. }) {}
        let ending = end(&member, restarts);
        tokio::pin!(ending);
        // Its tasks are being stopped for the loss of the session; it is asked to end meanwhile.
        assert!(tokio::time::timeout(LONG / 30, &mut ending).await.is_err());
        stops.add_permits(4);
        ending.await;
        connection.set_outage(None);
        let next = group.join("a").await;
        holds(&next, 4).await;
    }
}
