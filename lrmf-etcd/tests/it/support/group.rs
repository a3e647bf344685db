//! The members of one group, seen together.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::select_all;
use lrmf_core::{
    Coordinator, CoordinatorBuilder, CoordinatorConfig, CoordinatorHandle, GroupId, InstanceId, Token,
};

pub(crate) use super::PATIENCE;
use super::{connected, prompt};

/// The member that holds each task, and its token.
pub(crate) type Holders = BTreeMap<Arc<str>, (String, Token)>;

/// A session that is not lost because the machine is busy.
pub(crate) const LONG: Duration = Duration::from_secs(120);
/// A session whose end is waited for. A machine that stands still for longer ends it early, and rightly so: nothing may
/// be asserted to stay where it is.
pub(crate) const SHORT: Duration = Duration::from_secs(10);

/// A member to be, whose session lives for as long without a sign of life; it lacks a provider and a worker.
pub(crate) async fn member(endpoint: &str, protocol: &str, name: &str, ttl: Duration) -> CoordinatorBuilder {
    let config = CoordinatorConfig {
        ttl,
        margin: Duration::from_secs(2),
        settle: Duration::from_millis(100),
        ..CoordinatorConfig::default()
    };
    let store = Arc::new(connected(prompt([endpoint])).await);
    Coordinator::builder(store, GroupId::new(protocol, "test", "t").unwrap())
        .instance_id(InstanceId::new(name).unwrap())
        .config(config)
}

/// Waits until what these members hold is as wanted, and returns it.
pub(crate) async fn wait_for(members: &[&CoordinatorHandle], wanted: impl Fn(&Holders) -> bool) -> Holders {
    let mut watches: Vec<_> = members.iter().map(|member| (member.instance_id(), member.held())).collect();
    let mut seen = Holders::new();
    let waiting = async {
        loop {
            seen.clear();
            for (name, held) in &mut watches {
                let holdings = held.borrow_and_update();
                seen.extend(holdings.iter().map(|(key, held)| (key.clone(), (name.to_string(), held.token))));
            }
            if wanted(&seen) {
                return;
            }
            select_all(watches.iter_mut().map(|(_, held)| held.changed().boxed())).await.0.unwrap();
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "still waiting with {seen:?}");
    seen
}

/// Whether these members hold something each, and no one over `spread` more than another: not so in the middle of a move.
pub(crate) fn is_even(holders: &Holders, members: usize, spread: usize) -> bool {
    let mut loads = BTreeMap::<_, usize>::new();
    for (name, _) in holders.values() {
        *loads.entry(name).or_default() += 1;
    }
    let (most, least) = (loads.values().max(), loads.values().min());
    loads.len() == members && most.zip(least).is_some_and(|(most, least)| most - least <= spread)
}
