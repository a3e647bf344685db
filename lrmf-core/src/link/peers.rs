//! Who is connected, and whose process seems to have ended.

use std::collections::BTreeMap;

use crate::clock::Timestamp;
use crate::ids::{Incarnation, InstanceId};

use super::GRACE;

/// A member in one session.
pub(super) type Peer = (InstanceId, Incarnation);

/// What was heard of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// A connection of it has begun.
    Hello,
    /// A connection of it has ended, as it said it would.
    Bye,
    /// A connection of it has ended.
    Lost,
}

#[derive(Clone, Copy, Debug, Default)]
struct Presence {
    connections: u32,
    /// Since when it has none.
    missing_since: Option<Timestamp>,
}

/// The peers that are connected, or were until a moment ago.
#[derive(Debug, Default)]
pub(super) struct Peers(BTreeMap<Peer, Presence>);

impl Peers {
    pub(super) fn hear(&mut self, now: Timestamp, peer: &Peer, heard: Heard) {
        let presence = self.0.entry(peer.clone()).or_default();
        match heard {
            Heard::Hello => {
                presence.connections += 1;
                presence.missing_since = None;
            }
            Heard::Bye | Heard::Lost => presence.connections = presence.connections.saturating_sub(1),
        }
        if presence.connections > 0 {
            return;
        }
        match heard {
            Heard::Lost => presence.missing_since = Some(now),
            // Whoever says good-bye is not missed, though another connection of it was lost before.
            Heard::Bye | Heard::Hello => drop(self.0.remove(peer)),
        }
    }

    /// The number of peers that are connected.
    pub(super) fn connected(&self) -> usize {
        self.0.values().filter(|presence| presence.connections > 0).count()
    }

    /// Those that have been missing for too long. Each is named once.
    pub(super) fn ended(&mut self, now: Timestamp) -> Vec<Peer> {
        let is_over = |presence: &Presence| presence.missing_since.is_some_and(|since| now >= since + GRACE);
        let ended: Vec<Peer> =
            self.0.iter().filter(|(_, presence)| is_over(presence)).map(|(peer, _)| peer.clone()).collect();
        self.0.retain(|_, presence| !is_over(presence));
        ended
    }

    /// The time at which [`ended`](Self::ended) names somebody, unless that one connects again.
    pub(super) fn next_wake(&self) -> Option<Timestamp> {
        self.0.values().filter_map(|presence| Some(presence.missing_since? + GRACE)).min()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn peer(session: u128) -> Peer {
        (InstanceId::new("a").unwrap(), Incarnation(uuid::Uuid::from_u128(session)))
    }

    fn at(millis: u64) -> Timestamp {
        Timestamp(Duration::from_millis(millis))
    }

    fn heard(story: &[(u64, Heard)]) -> Peers {
        let mut peers = Peers::default();
        story.iter().for_each(|(millis, heard)| peers.hear(at(*millis), &peer(1), *heard));
        peers
    }

    #[test]
    fn whoever_is_lost_and_does_not_come_back_has_ended() {
        use Heard::{Bye, Hello, Lost};
        let mut lost = heard(&[(0, Hello), (100, Lost)]);
        assert_eq!((lost.next_wake(), lost.ended(at(349))), (Some(at(350)), vec![]));
        assert_eq!(
            (lost.ended(at(350)), lost.ended(at(351)), lost.next_wake()),
            (vec![peer(1)], vec![], None)
        );
        for lives in [
            &[(0, Hello), (100, Lost), (200, Hello)][..],
            // The new connection is heard of before the end of the old one.
            &[(0, Hello), (100, Hello), (110, Lost)],
            &[(0, Hello), (100, Bye)],
            &[(0, Hello), (90, Hello), (100, Lost), (110, Bye)],
        ] {
            let mut peers = heard(lives);
            assert_eq!((peers.next_wake(), peers.ended(at(10_000))), (None, vec![]), "{lives:?}");
        }
    }

    #[test]
    fn a_new_session_does_not_vouch_for_the_one_before() {
        let mut peers = heard(&[(0, Heard::Hello), (100, Heard::Lost)]);
        peers.hear(at(150), &peer(2), Heard::Hello);
        assert_eq!(peers.ended(at(350)), [peer(1)]);
    }
}
