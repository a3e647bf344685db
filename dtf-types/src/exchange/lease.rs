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
            for worker in state.expire(Instant::now()) {
                warn!(%worker, "a worker is silent, and what it had is offered again");
            }
            exchange.tell_functions(&state);
            state.next_end()
        };
        let leased = exchange.leased.notified();
        match next {
            Some(end) => tokio::time::sleep_until(end).await,
            None => leased.await,
        }
    }
}
