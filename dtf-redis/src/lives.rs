//! The lives of the servers: each start of a server has a name of its own.

use std::time::Duration;

use dtf_model::StoreError;
use dtf_model::queue::Incarnation;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::connection::ServerInfo;

/// The time for which an answer is good. All buckets of a process ask, and one question serves them.
const FRESH: Duration = Duration::from_secs(1);

/// The latest answers of the servers.
#[derive(Default)]
pub(crate) struct Lives {
    last: Mutex<Option<(Instant, Incarnation)>>,
}

impl Lives {
    /// Returns the latest answers, or asks the servers. Callers that ask at the same time wait for one answer.
    pub(crate) async fn known_or(
        &self,
        ask: impl AsyncFnOnce() -> Result<Incarnation, StoreError>,
    ) -> Result<Incarnation, StoreError> {
        let mut last = self.last.lock().await;
        if let Some((_, known)) = last.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            return Ok(known.clone());
        }
        let said = ask().await?;
        *last = Some((Instant::now(), said.clone()));
        Ok(said)
    }
}

/// The life that servers are in together, from what each says of itself, in whichever order.
pub(crate) fn incarnation_of(infos: &[String]) -> Incarnation {
    let mut lives: Vec<_> = infos.iter().map(|info| ServerInfo(info).field("run_id").to_owned()).collect();
    lives.sort_unstable();
    Incarnation(lives.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_started_again_is_another_life_and_the_order_of_answers_is_none() {
        let info = |id: &str| format!("redis_mode:cluster\r\nrun_id:{id}\r\n");
        let both = incarnation_of(&[info("b"), info("a")]);
        assert_eq!(both, incarnation_of(&[info("a"), info("b")]));
        assert_ne!(both, incarnation_of(&[info("a"), info("c")]));
    }
}
