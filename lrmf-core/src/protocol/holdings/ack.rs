//! What a member acknowledges, and when (R7).

use crate::clock::Timestamp;
use crate::protocol::Now;
use crate::records::{AckRecord, Format, Named};

use super::{Holdings, Phase};

impl Holdings {
    /// What is to be acknowledged as things are.
    pub(super) fn ack(&self) -> AckRecord {
        let named = |wanted: fn(Phase) -> bool| {
            let runs = self.runs.values().filter(|run| wanted(run.phase));
            runs.map(|run| Named { key: run.holding.task.key.clone(), token: run.holding.token }).collect()
        };
        AckRecord {
            format: Format,
            incarnation: self.incarnation,
            generation: self.generation,
            releasing: self
                .unwanted
                .iter()
                .map(|(key, token)| Named { key: key.clone(), token: *token })
                .collect(),
            starting: named(|phase| phase == Phase::Starting),
            failed: self.failed.values().cloned().collect(),
            stuck: self.stuck.values().cloned().collect(),
        }
    }

    /// An acknowledgement is due when the leader waits for it; who only gained something owes none.
    pub(super) fn schedule_ack(&mut self, now: Now) {
        let marked = self.chunks.values().map(|chunk| chunk.marked).max().unwrap_or_default();
        let ended = |named: &Named| self.unwanted.get(&named.key) != Some(&named.token);
        let owed = marked > self.acked.generation
            || self.acked.releasing.iter().any(ended)
            || !self.acked.failed.iter().eq(self.failed.values())
            || !self.acked.stuck.iter().eq(self.stuck.values());
        if !owed {
            self.ack_at = None;
        } else if self.unwanted.is_empty() {
            self.ack_at = Some(now.at);
        } else {
            self.ack_at.get_or_insert(now.at + self.companions);
        }
    }

    /// When the next acknowledgement is to be written.
    pub fn ack_at(&self) -> Option<Timestamp> {
        self.ack_at
    }

    /// The acknowledgement to write, if one is due.
    pub fn due_ack(&self, now: Now) -> Option<AckRecord> {
        self.ack_at.filter(|at| *at <= now.at).map(|_| self.ack())
    }

    /// The store has this acknowledgement.
    pub fn on_acked(&mut self, now: Now, ack: AckRecord) {
        self.acked = ack;
        self.ack_at = None;
        self.schedule_ack(now);
    }
}
