//! Says in the database which remote workers are connected to this process, so that every process can list them.
//!
//! It writes when a worker comes or goes, at most once a second, and once a minute while there is any; else never.

use std::time::Duration;

use dtf_control::Client;
use dtf_model::gateway::{Gateway, MAX_NAMED_WORKERS, NamedWorker};
use dtf_types::Exchange;
use dtf_types::exchange::SessionView;
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;
use uuid::Uuid;

/// The pause after each announcement.
const PAUSE: Duration = Duration::from_secs(1);
/// The time after which it is said again that somebody is connected.
const REPEAT: Duration = Duration::from_secs(60);
/// The time for which an announcement holds.
const HOLDS: Duration = Duration::from_secs(150);

/// Announces the workers of an exchange until it is dropped; at the end of the process what was said is left to run out.
#[must_use = "announcing ends when it is dropped"]
pub struct Announcing(#[expect(dead_code, reason = "held for its end")] AbortOnDropHandle<()>);

/// Begins to announce the workers that are connected to an exchange of the process with this name.
pub fn announce(client: Client, exchange: Exchange, process: &str) -> Announcing {
    let run = run(client, exchange, process.to_owned());
    Announcing(AbortOnDropHandle::new(tokio::spawn(run)))
}

async fn run(client: Client, exchange: Exchange, process: String) {
    let (id, mut changes, mut is_announced) = (Uuid::new_v4(), exchange.workers(), false);
    loop {
        changes.borrow_and_update();
        let sessions = exchange.sessions();
        let written = match (sessions.is_empty(), is_announced) {
            (true, false) => Ok(()),
            (true, true) => client.withdraw_gateway(id).await,
            (false, _) => {
                let until = client.now().saturating_add(u64::try_from(HOLDS.as_millis()).unwrap_or(u64::MAX));
                client.announce_gateway(&gateway(id, &process, &sessions, until)).await
            }
        };
        match written {
            Ok(()) => is_announced = !sessions.is_empty(),
            Err(error) => warn!(%error, "remote workers could not be announced; that is tried again"),
        }
        tokio::time::sleep(PAUSE).await;
        let is_done = is_announced != sessions.is_empty();
        let wait = if sessions.is_empty() && is_done { Duration::MAX } else { REPEAT };
        // The exchange lives as long as this.
        drop(tokio::time::timeout(wait, changes.changed()).await);
    }
}

fn gateway(id: Uuid, process: &str, sessions: &[SessionView], until: u64) -> Gateway {
    let named = |view: &SessionView| NamedWorker {
        session: view.session,
        name: view.worker.name.clone(),
        language: view.worker.language.clone(),
        version: view.worker.version.clone(),
        slots: view.worker.slots,
        functions: view.functions.iter().map(|name| name.to_string()).collect(),
        drained: view.drained,
    };
    Gateway {
        id,
        process: process.to_owned(),
        workers: sessions.iter().take(MAX_NAMED_WORKERS).map(named).collect(),
        connected: u32::try_from(sessions.len()).unwrap_or(u32::MAX),
        until,
    }
}
