//! The conformance suite of [`ShardQueue`]: one function per obligation of the trait, and [`run_all`].
//!
//! A function panics where the store breaks its obligation. Each uses a shard of its own.

use std::sync::Arc;

use bytes::Bytes;
use dtf_model::error::StoreError;
use dtf_model::ids::{EmitEpoch, RunEpoch, Seq, Shard, TaskId, TaskTypeId, TypeVersion};
use dtf_model::key::ShardKey;
use dtf_model::queue::{Parcel, ParcelId};
use dtf_model::shard::{Capacity, ProcessCredit, ShardQueue, Shipment, ShipmentId, SupportedTypes};
use lrmf_core::Token;

use super::{must, unique_number};

macro_rules! obligations {
    ($($name:ident),* $(,)?) => {
        /// Runs the whole suite, one obligation after another.
        pub async fn run_all(store: Arc<dyn ShardQueue>) {
            $(
                tracing::info!(obligation = stringify!($name), "checking");
                $name(&store).await;
            )*
        }
    };
}

obligations!(
    a_shard_that_nobody_held_takes_nothing,
    what_is_shipped_is_claimed_in_order,
    a_shipment_comes_back_as_it_was,
    no_more_is_shipped_than_there_is_room_for,
    what_waits_already_counts_as_put,
    acknowledging_makes_room_once,
    only_what_is_claimed_is_acknowledged,
    a_new_holder_gets_what_was_claimed,
    an_earlier_holder_is_refused,
    a_claim_whose_reply_was_lost_is_repaired,
    a_claim_renews_token_and_window,
    the_highest_token_is_told,
    the_latest_holder_says_what_a_shard_takes,
    contents_are_all_that_is_there,
    shards_do_not_see_each_other,
);

const WINDOW: u32 = 4;

const CREDIT: ProcessCredit = ProcessCredit { process: u64::MAX, window: 17 };

fn offer(window: u32) -> Capacity {
    Capacity { window, kinds: SupportedTypes::all(), credit: CREDIT }
}

struct Desk<'a> {
    store: &'a Arc<dyn ShardQueue>,
    shard: Shard,
    token: Token,
}

impl<'a> Desk<'a> {
    fn absent(store: &'a Arc<dyn ShardQueue>) -> Desk<'a> {
        // Numbers no cluster uses: they are below 65,536.
        let shard = Shard((1 << 31) | (unique_number() as u32 >> 1));
        Desk { store, shard, token: Token(9) }
    }

    async fn held(store: &'a Arc<dyn ShardQueue>) -> Desk<'a> {
        let desk = Self::absent(store);
        assert!(desk.hold().await.is_empty());
        desk
    }

    async fn hold(&self) -> Vec<Shipment> {
        must(self.store.hold(self.shard, self.token, &offer(WINDOW)).await)
    }

    async fn room(&self) -> u32 {
        let rooms = must(self.store.credits(&[self.shard]).await);
        assert_eq!(rooms.len(), 1);
        rooms[0].free
    }

    async fn ship(&self, numbers: &[u64]) -> usize {
        let shipments: Vec<_> = numbers.iter().copied().map(shipment).collect();
        must(self.store.ship(self.shard, &shipments).await)
    }

    async fn claim(&self, in_hand: &[u64], most: usize) -> Vec<Shipment> {
        must(self.try_claim(self.token, in_hand, most).await)
    }

    async fn try_claim(
        &self,
        token: Token,
        in_hand: &[u64],
        most: usize,
    ) -> Result<Vec<Shipment>, StoreError> {
        let in_hand: Vec<_> = in_hand.iter().map(|number| shipment(*number).id()).collect();
        self.store.claim(self.shard, token, &offer(WINDOW), &in_hand, most).await
    }

    async fn acknowledge(&self, numbers: &[u64]) {
        let done: Vec<_> = numbers.iter().map(|number| shipment(*number).id()).collect();
        must(self.store.acknowledge(self.shard, self.token, &done).await);
    }

    async fn contents(&self) -> Vec<ShipmentId> {
        let mut contents = must(self.store.contents(self.shard).await);
        contents.sort_unstable();
        contents
    }
}

fn shipment(number: u64) -> Shipment {
    Shipment {
        task: TaskId(number),
        run: RunEpoch(2),
        parcel: Parcel {
            id: ParcelId { epoch: EmitEpoch(3), first: Seq::FIRST_FOLLOW_UP.plus(number) },
            attempt: 4,
            executor_losses: 2,
            key: (number % 2 == 1).then(|| ShardKey::new("a key").ordered()),
            bodies: vec![Bytes::from(format!("body {number}")), Bytes::new()],
        },
    }
}

fn numbers(shipments: &[Shipment]) -> Vec<u64> {
    shipments.iter().map(|shipment| shipment.task.0).collect()
}

/// Nobody says how much an unheld shard takes, so it takes nothing.
pub async fn a_shard_that_nobody_held_takes_nothing(store: &Arc<dyn ShardQueue>) {
    let desk = Desk::absent(store);
    assert_eq!(desk.room().await, 0);
    assert_eq!(desk.ship(&[1]).await, 0);
    assert_eq!(desk.ship(&[]).await, 0);
    assert!(desk.contents().await.is_empty());
    assert!(must(store.credits(&[]).await).is_empty());
}

/// Claims come in the order of shipping, and nothing is claimed twice.
pub async fn what_is_shipped_is_claimed_in_order(store: &Arc<dyn ShardQueue>) {
    let desk = Desk::held(store).await;
    assert_eq!(desk.ship(&[5, 3]).await, 2);
    assert_eq!(desk.ship(&[4]).await, 1);
    assert!(desk.claim(&[], 0).await.is_empty());
    assert_eq!(numbers(&desk.claim(&[], 2).await), [5, 3]);
    assert_eq!(numbers(&desk.claim(&[5, 3], 2).await), [4]);
    assert!(desk.claim(&[5, 3, 4], 2).await.is_empty());
}

/// Every part of a shipment is kept, whatever bytes the bodies have.
pub async fn a_shipment_comes_back_as_it_was(store: &Arc<dyn ShardQueue>) {
    let desk = Desk::held(store).await;
    let mut odd = shipment(1 << 49);
    odd.run = RunEpoch(u32::MAX);
    odd.parcel.attempt = 70_000;
    odd.parcel.id.epoch = EmitEpoch(u32::MAX);
    odd.parcel.bodies = vec![Bytes::from((0..=255).collect::<Vec<u8>>()), Bytes::from(vec![0; 100_000])];
    assert_eq!(must(store.ship(desk.shard, std::slice::from_ref(&odd)).await), 1);
    assert_eq!(desk.contents().await, [odd.id()]);
    assert_eq!(desk.claim(&[], 1).await, std::slice::from_ref(&odd));
    assert_eq!(desk.hold().await, [odd]);
}

/// The window counts what is claimed and what is not.
pub async fn no_more_is_shipped_than_there_is_room_for(store: &Arc<dyn ShardQueue>) {
    let desk = Desk::held(store).await;
    assert_eq!(desk.room().await, WINDOW);
    assert_eq!(desk.ship(&[1, 2, 3]).await, 3);
    desk.claim(&[], 2).await;
    assert_eq!(desk.room().await, 1);
    assert_eq!(desk.ship(&[4, 5, 6]).await, 1);
    assert_eq!(desk.room().await, 0);
    assert_eq!(desk.ship(&[5]).await, 0);
    assert_eq!(numbers(&desk.claim(&[1, 2], 9).await), [3, 4]);
}

/// Shipping again puts nothing twice, and nothing that is claimed.
pub async fn what_waits_already_counts_as_put(store: &Arc<dyn ShardQueue>) {
    let desk = Desk::held(store).await;
    desk.ship(&[1, 2]).await;
    assert_eq!(desk.ship(&[1, 2, 3, 4]).await, 4);
    assert_eq!(desk.ship(&[1, 2, 3, 4, 5]).await, 4);
    assert_eq!(desk.room().await, 0);
    // What is claimed is about to be acknowledged, and the new shipment would go with it.
    desk.claim(&[], 1).await;
    assert_eq!(desk.ship(&[1]).await, 0);
    assert_eq!(desk.ship(&[2, 1, 3]).await, 1);
    assert_eq!(numbers(&desk.claim(&[1], 9).await), [2, 3, 4]);
    // Another attempt at the same parcel is another shipment.
    desk.acknowledge(&[1]).await;
    let mut again = shipment(2);
    again.parcel.attempt += 1;
    assert_eq!(must(store.ship(desk.shard, std::slice::from_ref(&again)).await), 1);
    assert_eq!(desk.claim(&[2, 3, 4], 1).await, [again]);
}

/// An acknowledged parcel is gone, and makes room, once.
pub async fn acknowledging_makes_room_once(store: &Arc<dyn ShardQueue>) {
    let desk = Desk::held(store).await;
    desk.ship(&[1, 2, 3, 4]).await;
    desk.claim(&[], 3).await;
    for _ in 0..2 {
        desk.acknowledge(&[2, 1]).await;
        assert_eq!(desk.room().await, 2);
    }
    desk.acknowledge(&[]).await;
    assert_eq!(numbers(&desk.hold().await), [3]);
    assert_eq!(numbers(&desk.claim(&[3], 9).await), [4]);
}

/// A parcel that waits, or was never there, is not acknowledged.
pub async fn only_what_is_claimed_is_acknowledged(store: &Arc<dyn ShardQueue>) {
    let desk = Desk::held(store).await;
    desk.ship(&[1, 2]).await;
    desk.claim(&[], 1).await;
    desk.acknowledge(&[2, 77]).await;
    assert_eq!(desk.room().await, WINDOW - 2);
    assert_eq!(numbers(&desk.claim(&[1], 9).await), [2]);
}

/// A new holder is given what the earlier one had claimed, in its order; what waits still waits.
pub async fn a_new_holder_gets_what_was_claimed(store: &Arc<dyn ShardQueue>) {
    let desk = Desk::held(store).await;
    desk.ship(&[3, 1, 2]).await;
    desk.claim(&[], 2).await;
    let new = Desk { token: Token(10), ..desk };
    assert_eq!(must(store.hold(new.shard, new.token, &offer(7)).await), [shipment(3), shipment(1)]);
    assert_eq!(new.room().await, 4);
    assert_eq!(numbers(&new.claim(&[3, 1], 9).await), [2]);
    // Holding again is no change.
    assert_eq!(numbers(&new.hold().await), [3, 1, 2]);
    assert_eq!(new.room().await, WINDOW - 3);
}

/// Once a new holder has come, the earlier one can do nothing.
pub async fn an_earlier_holder_is_refused(store: &Arc<dyn ShardQueue>) {
    let old = Desk::held(store).await;
    old.ship(&[1, 2]).await;
    old.claim(&[], 1).await;
    for seen in [10, u64::MAX] {
        must(store.hold(old.shard, Token(seen), &offer(WINDOW)).await);
        let late = Token(seen - 1);
        let refused = |answer: Result<(), StoreError>| {
            assert!(matches!(answer, Err(StoreError::Fenced { seen: by }) if by == seen), "{answer:?}");
        };
        refused(store.hold(old.shard, late, &offer(99)).await.map(drop));
        refused(old.try_claim(late, &[], 9).await.map(drop));
        refused(store.acknowledge(old.shard, late, &[shipment(1).id()]).await);
    }
    assert_eq!(old.room().await, WINDOW - 2);
}

/// A holder that did not get the reply to its claim gets the same with the next one.
pub async fn a_claim_whose_reply_was_lost_is_repaired(store: &Arc<dyn ShardQueue>) {
    let desk = Desk::held(store).await;
    desk.ship(&[1, 2, 3, 4]).await;
    desk.claim(&[], 1).await;
    desk.claim(&[1], 2).await; // lost
    assert_eq!(numbers(&desk.claim(&[1], 1).await), [2]);
    assert_eq!(numbers(&desk.claim(&[1], 3).await), [2, 3, 4]);
    assert_eq!(numbers(&desk.claim(&[1, 3], 9).await), [2, 4]);
    // What it has in hand may be acknowledged already, or forgotten.
    desk.acknowledge(&[1]).await;
    assert!(desk.claim(&[1, 2, 3, 4, 77], 9).await.is_empty());
}

/// A claim tells the store the token and the window anew, as it may have lost them.
pub async fn a_claim_renews_token_and_window(store: &Arc<dyn ShardQueue>) {
    let desk = Desk::absent(store);
    assert!(desk.claim(&[1], 9).await.is_empty());
    assert_eq!(desk.room().await, WINDOW);
    let late = desk.try_claim(Token(desk.token.0 - 1), &[], 9).await;
    assert!(matches!(late, Err(StoreError::Fenced { seen: 9 })), "{late:?}");
    must(store.claim(desk.shard, desk.token, &offer(1), &[], 9).await);
    assert_eq!(desk.ship(&[1, 2]).await, 1);
    must(store.claim(desk.shard, desk.token, &offer(0), &[], 0).await);
    assert_eq!(desk.room().await, 0);
}

/// The highest token, below which calls are refused, can be read.
pub async fn the_highest_token_is_told(store: &Arc<dyn ShardQueue>) {
    let (absent, desk) = (Desk::absent(store), Desk::held(store).await);
    let tokens = async || must(store.tokens(&[absent.shard, desk.shard]).await);
    assert_eq!(tokens().await, [Token(0), Token(9)]);
    let high = Token(1 << 52);
    must(store.claim(desk.shard, high, &offer(WINDOW), &[], 0).await);
    assert_eq!(tokens().await, [Token(0), high]);
    assert!(desk.try_claim(desk.token, &[], 1).await.is_err());
    assert_eq!(tokens().await, [Token(0), high]);
    assert!(must(store.tokens(&[]).await).is_empty());
}

/// Contents are what is claimed and what waits.
pub async fn contents_are_all_that_is_there(store: &Arc<dyn ShardQueue>) {
    let desk = Desk::held(store).await;
    desk.ship(&[2, 1, 3]).await;
    desk.claim(&[], 1).await;
    assert_eq!(desk.contents().await, [1, 2, 3].map(|number| shipment(number).id()));
    desk.acknowledge(&[2]).await;
    assert_eq!(desk.contents().await, [1, 3].map(|number| shipment(number).id()));
}

/// Changes of one shard are not seen on another.
pub async fn shards_do_not_see_each_other(store: &Arc<dyn ShardQueue>) {
    let (one, two, absent) = (Desk::held(store).await, Desk::held(store).await, Desk::absent(store));
    one.ship(&[1, 2]).await;
    two.ship(&[1]).await;
    let rooms = must(store.credits(&[two.shard, absent.shard, one.shard, two.shard]).await);
    let free: Vec<_> = rooms.iter().map(|room| room.free).collect();
    assert_eq!(free, [WINDOW - 1, 0, WINDOW - 2, WINDOW - 1]);
    must(store.hold(one.shard, Token(20), &offer(WINDOW)).await);
    assert_eq!(numbers(&two.claim(&[], 9).await), [1]);
}

/// The types that a shard takes are those that its holder named last, with a claim too.
pub async fn the_latest_holder_says_what_a_shard_takes(store: &Arc<dyn ShardQueue>) {
    let desk = Desk::absent(store);
    let kinds = async || must(store.credits(&[desk.shard]).await).remove(0).kinds;
    assert_eq!(kinds().await, SupportedTypes::all());
    let some: SupportedTypes = [TaskTypeId(7), TaskTypeId(70)].into_iter().collect();
    let offer = Capacity { kinds: some.clone(), ..offer(WINDOW) };
    must(store.hold(desk.shard, desk.token, &offer).await);
    assert_eq!(kinds().await, some);
    assert!(some.has(TaskTypeId(7)) && some.has(TaskTypeId(70)) && !some.has(TaskTypeId(0)));
    let none = Capacity { kinds: SupportedTypes::from_iter([] as [TypeVersion; 0]), ..offer };
    must(store.claim(desk.shard, desk.token, &none, &[], 1).await);
    assert!(!kinds().await.has(TaskTypeId(7)));
    must(store.hold(desk.shard, Token(desk.token.0 + 1), &self::offer(1)).await);
    assert!(kinds().await.has(TaskTypeId(7)));
}
