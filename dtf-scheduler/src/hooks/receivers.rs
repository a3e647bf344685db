//! The room of receivers: how many messages are under way to each, and when the next one may be sent.

use std::collections::HashMap;
use std::time::Duration;

use dtf_model::hook::Receiver;

/// The most messages under way to a receiver: to a host, or to a callback.
const PER_RECEIVER: u32 = 8;
/// The bounds of the time between two messages to a receiver that has no room.
const SPACING: (Duration, Duration) = (Duration::from_millis(2), Duration::from_secs(2));

#[derive(Debug, Default)]
struct Load {
    under_way: u32,
    /// How long the last message took.
    took: Duration,
    /// The place in the line that was given out last, in milliseconds since the Unix epoch.
    last_place: u64,
}

/// The receivers that are busy.
#[derive(Debug, Default)]
pub(super) struct Receivers(HashMap<String, Load>);

impl Receivers {
    /// Takes room for a message. Where there is none, it returns the time at which there is likely to be some: behind all that were put
    /// off before.
    pub(super) fn room(&mut self, receiver: &Receiver, now: u64) -> Option<u64> {
        let load = self.0.entry(key(receiver)).or_default();
        if load.under_way < PER_RECEIVER {
            load.under_way += 1;
            return None;
        }
        let spacing = (load.took / PER_RECEIVER).clamp(SPACING.0, SPACING.1);
        load.last_place = load.last_place.max(now) + u64::try_from(spacing.as_millis()).unwrap_or(1);
        Some(load.last_place)
    }

    /// Gives room back after a message that took so long.
    pub(super) fn answered(&mut self, receiver: &Receiver, now: u64, took: Duration) {
        let key = key(receiver);
        let Some(load) = self.0.get_mut(&key) else { return };
        (load.under_way, load.took) = (load.under_way.saturating_sub(1), took);
        if load.under_way == 0 && load.last_place <= now {
            self.0.remove(&key);
        }
    }
}

/// Requests to one host and port share their room.
fn key(receiver: &Receiver) -> String {
    match receiver {
        Receiver::Callback(name) => format!("callback {name}"),
        Receiver::Url(url) => url.split(['/', '?', '#']).take(3).collect::<Vec<_>>().join("/").to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_receiver_gives_out_places_in_line_and_others_have_room() {
        let mut receivers = Receivers::default();
        let (slow, other) = (Receiver::Url("http://a/x".into()), Receiver::Url("http://b/x".into()));
        for path in 0..PER_RECEIVER {
            assert_eq!(receivers.room(&Receiver::Url(format!("http://A/{path}")), 1000), None);
        }
        assert_eq!(receivers.room(&slow, 1000), Some(1002));
        assert_eq!(receivers.room(&slow, 1000), Some(1004));
        assert_eq!(receivers.room(&other, 1000), None);
        receivers.answered(&slow, 1001, Duration::from_secs(8));
        assert_eq!(receivers.room(&slow, 1001), None);
        assert_eq!(receivers.room(&slow, 1001), Some(2004), "as slow as it answers");
    }

    #[test]
    fn receivers_with_nothing_under_way_are_forgotten() {
        let mut receivers = Receivers::default();
        let callback = Receiver::Callback("bill".into());
        assert_eq!(receivers.room(&callback, 1000), None);
        receivers.answered(&callback, 1000, Duration::ZERO);
        assert!(receivers.0.is_empty());
    }
}
