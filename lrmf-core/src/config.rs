//! The settings of a member, with defaults, checks and typed durations.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The reaction to another living process that already is the member that this one wants to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Conflict {
    /// Wait as its successor, and take its tasks over when its session ends.
    #[default]
    Wait,
    /// Refuse to start.
    Refuse,
}

/// The reaction of a member that an operator sent away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Evicted {
    /// Stay away for one TTL, so that others take its tasks, then join again.
    #[default]
    Rejoin,
    /// End; the process sees that in its status and decides what to do.
    End,
}

/// The treatment of a member that is out of contact. All members of a group have the same mode; those that have another one
/// than the group are given nothing and are told so.
///
/// | | `exclusive` | `available` |
/// |---|---|---|
/// | a dead or cut-off member's tasks go elsewhere after | `ttl` | a third of `ttl` |
/// | a task runs at two members at once | not while pauses and clocks are within bounds | for as long as the member that lost it is cut off and has not reached its own deadline (`ttl` less `margin` since it was heard of last) |
/// | the token of each holding is higher than the one before | always | always |
///
/// So in mode `available` **every** effect that must not happen twice needs the token or has to be idempotent: a store
/// that compares tokens refuses the former holder at once; a mail or a call of somebody else's API is sent twice.
/// Choose it where a task that stands still costs more than one that runs twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GroupMode {
    /// A task goes to another member when its holder has released it or its holder's session has ended.
    #[default]
    Exclusive,
    /// It does so also when its holder was not heard of for a third of the TTL.
    Available,
}

impl GroupMode {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for GroupMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exclusive => "exclusive",
            Self::Available => "available",
        })
    }
}

/// The settings of a member. Durations are read from and written as text: `"10s"`, `"250ms"`.
///
/// ```
/// use lrmf_core::CoordinatorConfig;
/// let config: CoordinatorConfig = serde_json::from_str(r#"{"ttl": "6s", "margin": "2s"}"#)?;
/// assert_eq!(config.settle, CoordinatorConfig::default().settle);
/// assert!(serde_json::from_str::<CoordinatorConfig>(r#"{"tll": "6s"}"#).is_err());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CoordinatorConfig {
    /// The session TTL: other members take over this long after the last heartbeat of a dead member. Shorter is faster and
    /// less tolerant of pauses.
    #[serde(with = "text")]
    pub ttl: Duration,
    /// The time before the end of its session at which a member that cannot reach the store stops its tasks. It must cover
    /// the time that stopping takes and the difference in the rates of the clocks.
    #[serde(with = "text")]
    pub margin: Duration,
    /// The period of heartbeats; a third of `ttl - margin` when not set.
    #[serde(with = "text_option", skip_serializing_if = "Option::is_none")]
    pub keep_alive: Option<Duration>,
    /// The wait of a starting group's leader after each join for the next one, four times this at most, before it places
    /// anything.
    #[serde(with = "text")]
    pub settle: Duration,
    /// The wait of a handover that is due for others, to share a write with them.
    #[serde(with = "text")]
    pub companions: Duration,
    /// The period at which the leader asks the provider for the tasks.
    #[serde(with = "text")]
    pub provider_period: Duration,
    /// The time that the provider may take.
    #[serde(with = "text")]
    pub provider_timeout: Duration,
    /// The time that `close()` waits for its tasks to be handed over, before it stops them and leaves.
    #[serde(with = "text")]
    pub drain_timeout: Duration,
    /// The time that the assignor may take. Then the plan before stays, and the member leaves the leadership to another one.
    #[serde(with = "text")]
    pub plan_timeout: Duration,
    /// The time that `Worker::assign` may take. Then its future is dropped, the task is revoked, and the leader tries elsewhere.
    #[serde(with = "text")]
    pub assign_timeout: Duration,
    /// The time that `Worker::revoke` may take before that is reported: as an event, to the leader, and to operators. The task
    /// stays this member's until it returns. (Whether to abort the run is the worker's to decide:
    /// [`RunnerConfig::overrun`](crate::runner::RunnerConfig::overrun).)
    #[serde(with = "text")]
    pub revoke_timeout: Duration,
    /// The most tasks that are between two living members at a time.
    pub max_moves: usize,
    /// The most tasks that are on their way from living members of one zone at a time. Members without a zone are one together.
    pub max_zone_moves: usize,
    /// The most tasks that living members of one zone are asked to give back within a minute; any number when not set. What
    /// was lost with a member is placed at once all the same, and so is what a member that leaves hands over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone_moves_per_minute: Option<u32>,
    /// The treatment of members that are out of contact; the same for all members of a group.
    pub mode: GroupMode,
    /// The preference for this member as the leader: of a group's members one with the highest leads. A member takes the
    /// leadership over once it has seen one with a lower preference lead for `settle`; no task moves for it. Whoever had to
    /// leave the leadership to others, because it can not read, write or plan, takes it over from nobody until it joins anew.
    pub leader_preference: u8,
    /// The reaction to another living process that already is this member.
    pub conflict: Conflict,
    /// The reaction after an operator sent this member away.
    pub evicted: Evicted,
    /// The capacity of this member, relative to the others; used by assignors that weigh.
    pub capacity: u32,
    /// By how much, in thousandths, a reported load must differ from the one written last to be written.
    pub load_step: u32,
    /// The failure domain that this member is in; used by assignors that spread.
    pub zone: Option<Arc<str>>,
    /// The labels of this member, for people and tools.
    pub labels: BTreeMap<String, String>,
}

impl Default for CoordinatorConfig {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(10),
            margin: Duration::from_secs(3),
            keep_alive: None,
            settle: Duration::from_millis(500),
            companions: Duration::from_millis(10),
            provider_period: Duration::from_secs(30),
            provider_timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(30),
            plan_timeout: Duration::from_secs(10),
            assign_timeout: Duration::from_secs(30),
            revoke_timeout: Duration::from_secs(30),
            max_moves: 100_000,
            max_zone_moves: 100_000,
            zone_moves_per_minute: None,
            leader_preference: 0,
            mode: GroupMode::Exclusive,
            conflict: Conflict::Wait,
            evicted: Evicted::Rejoin,
            capacity: 1,
            load_step: 100,
            zone: None,
            labels: BTreeMap::new(),
        }
    }
}

/// A setting that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting} is {value}; {allowed}")]
pub struct InvalidConfig {
    /// The setting.
    pub setting: &'static str,
    /// Its value.
    pub value: String,
    /// The values that are allowed.
    pub allowed: &'static str,
}

impl CoordinatorConfig {
    /// Checks that the settings make sense together.
    ///
    /// # Errors
    /// The first one that does not.
    pub fn check(&self) -> Result<(), InvalidConfig> {
        let refuse = |setting, value: String, allowed| Err(InvalidConfig { setting, value, allowed });
        let shown = |duration: Duration| format!("{duration:?}");
        if self.ttl < Duration::from_millis(100) || self.ttl > Duration::from_secs(3600) {
            return refuse("ttl", shown(self.ttl), "it must be from 100ms to 1h");
        }
        if self.margin.is_zero() || self.margin * 4 > self.ttl * 3 {
            return refuse(
                "margin",
                shown(self.margin),
                "it must be above 0 and at most three quarters of ttl",
            );
        }
        if self.keep_alive_interval().is_zero() || self.keep_alive_interval() * 2 > self.ttl - self.margin {
            let value = shown(self.keep_alive_interval());
            return refuse("keep_alive", value, "it must be above 0 and at most half of ttl - margin");
        }
        if self.provider_period.is_zero() {
            return refuse("provider_period", shown(self.provider_period), "it must be above 0");
        }
        if self.provider_timeout.is_zero() {
            return refuse("provider_timeout", shown(self.provider_timeout), "it must be above 0");
        }
        if self.plan_timeout.is_zero() {
            return refuse("plan_timeout", shown(self.plan_timeout), "it must be above 0");
        }
        if self.assign_timeout.is_zero() {
            return refuse("assign_timeout", shown(self.assign_timeout), "it must be above 0");
        }
        if self.revoke_timeout.is_zero() {
            return refuse("revoke_timeout", shown(self.revoke_timeout), "it must be above 0");
        }
        if self.max_moves == 0 {
            return refuse("max_moves", "0".into(), "it must be at least 1");
        }
        if self.max_zone_moves == 0 {
            return refuse("max_zone_moves", "0".into(), "it must be at least 1");
        }
        if self.zone_moves_per_minute == Some(0) {
            return refuse(
                "zone_moves_per_minute",
                "0".into(),
                "it must be at least 1; leave it out for any number",
            );
        }
        if self.load_step == 0 {
            return refuse("load_step", "0".into(), "it must be at least 1");
        }
        if self.capacity == 0 {
            return refuse("capacity", "0".into(), "it must be at least 1");
        }
        Ok(())
    }

    /// Returns the period of heartbeats.
    pub fn keep_alive_interval(&self) -> Duration {
        self.keep_alive.unwrap_or((self.ttl.saturating_sub(self.margin)) / 3)
    }

    /// In mode [`GroupMode::Available`], how long after its last sign of life a member is out of contact: a third of the
    /// TTL. Stores may have a minimum: with etcd it is 2 s, and whole seconds.
    pub fn contact_ttl(&self) -> Duration {
        self.ttl / 3
    }
}

/// Durations as text.
pub mod text {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    /// Reads a number with a unit: `ms`, `s`, `m` or `h`.
    ///
    /// # Errors
    /// A sentence that says what is allowed.
    pub fn parse(text: &str) -> Result<Duration, String> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let number: u64 = digits.parse().map_err(|_| {
            format!("{text:?} is no duration; write a whole number and ms, s, m or h, as in \"10s\"")
        })?;
        let scale = match &text[digits.len()..] {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            other => return Err(format!("{other:?} is no unit of time; ms, s, m and h are")),
        };
        number.checked_mul(scale).map(Duration::from_millis).ok_or_else(|| format!("{text:?} is too long"))
    }

    /// Writes a duration so that [`parse`] reads it; below a millisecond is cut off.
    pub fn show(duration: Duration) -> String {
        let millis = duration.as_millis();
        if millis.is_multiple_of(1000) { format!("{}s", millis / 1000) } else { format!("{millis}ms") }
    }

    /// For `#[serde(with)]`.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&show(*duration))
    }

    /// For `#[serde(with)]`.
    ///
    /// # Errors
    /// What is no duration.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

mod text_option {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        duration.map(super::text::show).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Option::<String>::deserialize(deserializer)?
            .map(|text| super::text::parse(&text).map_err(serde::de::Error::custom))
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_read_back() {
        let config = CoordinatorConfig::default();
        assert_eq!(config.check(), Ok(()));
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<CoordinatorConfig>(&text).unwrap(), config);
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let default = CoordinatorConfig::default;
        let refused = [
            CoordinatorConfig { ttl: Duration::ZERO, ..default() },
            CoordinatorConfig { margin: Duration::from_secs(9), ..default() },
            CoordinatorConfig { margin: Duration::ZERO, ..default() },
            CoordinatorConfig { keep_alive: Some(Duration::from_secs(4)), ..default() },
            CoordinatorConfig { keep_alive: Some(Duration::ZERO), ..default() },
            CoordinatorConfig { provider_period: Duration::ZERO, ..default() },
            CoordinatorConfig { provider_timeout: Duration::ZERO, ..default() },
            CoordinatorConfig { plan_timeout: Duration::ZERO, ..default() },
            CoordinatorConfig { assign_timeout: Duration::ZERO, ..default() },
            CoordinatorConfig { revoke_timeout: Duration::ZERO, ..default() },
            CoordinatorConfig { max_moves: 0, ..default() },
            CoordinatorConfig { max_zone_moves: 0, ..default() },
            CoordinatorConfig { zone_moves_per_minute: Some(0), ..default() },
            CoordinatorConfig { capacity: 0, ..default() },
            CoordinatorConfig { load_step: 0, ..default() },
        ];
        let named: Vec<_> = refused.iter().map(|config| config.check().unwrap_err().setting).collect();
        assert_eq!(
            named,
            [
                "ttl",
                "margin",
                "margin",
                "keep_alive",
                "keep_alive",
                "provider_period",
                "provider_timeout",
                "plan_timeout",
                "assign_timeout",
                "revoke_timeout",
                "max_moves",
                "max_zone_moves",
                "zone_moves_per_minute",
                "capacity",
                "load_step"
            ]
        );
    }

    #[test]
    fn durations_are_read_with_their_unit() {
        assert_eq!(text::parse("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(text::parse("2m"), Ok(Duration::from_secs(120)));
        for wrong in ["", "10", "s", "1.5s", "-1s", "1d", "99999999999999999999s", "9999999999999999h"] {
            assert!(text::parse(wrong).is_err(), "{wrong}");
        }
    }
}
