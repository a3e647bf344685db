//! Ends the sessions of workers that are silent. It sleeps until the first one can end, and while there is none.

use std::sync::Weak;

use tokio::time::Instant;
use tracing::warn;

use super::Shared;

pub(super) async fn keep(shared: Weak<Shared>) {
    loop {
        let Some(exchange) = shared.upgrade() else { return };
        let next = {
            let mut state = exchange.state();
            let silent = state.expire(Instant::now());
            for worker in &silent {
                warn!(%worker, "a worker is silent, and what it had is offered again");
            }
            if !silent.is_empty() {
                exchange.tell_workers(&state);
            }
            state.next_end()
        };
        let leased = exchange.leased.notified();
        match next {
            Some(end) => tokio::time::sleep_until(end).await,
            None => leased.await,
        }
    }
}
