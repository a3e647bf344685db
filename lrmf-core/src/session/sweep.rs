//! The end of parts: in time, and with all their keys.

use std::sync::Arc;
use std::time::Duration;

use crate::coordination::{Guard, Op, Txn, TxnOutcome};
use crate::error::CoordinationError;

use super::Core;
use super::parts::Leftover;

/// The wait before the keys of an ended part are deleted again, after that failed.
const AGAIN: Duration = Duration::from_secs(1);
/// The longest sleep: a runtime's timers stand still while the machine is suspended, and leases do not.
const LONGEST: Duration = Duration::from_secs(1);

/// Ends the parts that nobody prolongs, until it is aborted.
pub(super) async fn run(core: Arc<Core>) {
    let mut looked = core.clock.now();
    loop {
        let now = core.clock.now();
        let next = core.parts().end_due(now);
        let again = core.parts().look_again().map(|ttl| looked + ttl);
        if core.parts().is_due() || again.is_some_and(|at| at <= now) {
            looked = now;
            if let Err(error) = clear(&core).await {
                tracing::debug!(%error, "the keys of an ended part cannot be deleted yet");
                tokio::time::sleep(AGAIN).await;
                continue;
            }
        }
        let wait = [next, again].into_iter().flatten().min().map_or(LONGEST, |at| at.since(now));
        tokio::select! {
            biased;
            () = core.wake.notified() => {}
            () = tokio::time::sleep(wait.clamp(Duration::from_millis(1), LONGEST)) => {}
        }
    }
}

/// Deletes what parts that have ended have left behind. A lease that is left without a part ends.
pub(super) async fn clear(core: &Core) -> Result<(), CoordinationError> {
    let leftovers = core.parts().leftovers();
    for left in leftovers {
        if core.parts().close(left.lease) {
            core.store.revoke_lease(left.lease).await?;
            core.parts().gone(left.lease);
        } else {
            delete(core, &left).await?;
            core.parts().cleared(left.part);
        }
    }
    Ok(())
}

/// Deletes the keys of a part, all at once, where they are still its own. A key that the process writes again meanwhile, under
/// another part, is that part's: the store's lease is the same, so only the books can tell.
async fn delete(core: &Core, left: &Leftover) -> Result<(), CoordinationError> {
    loop {
        let mut txn = Txn::default();
        for key in &left.keys {
            let snapshot = core.store.list(key).await?;
            let found =
                snapshot.entries.into_iter().find(|kv| kv.key == *key && kv.lease == Some(left.lease));
            // Asked after the store has answered: who writes is in the books before the store has it.
            if let Some(kv) = found.filter(|_| core.parts().owns(left.part, key)) {
                txn.guards.push(Guard::ModifiedAt { key: key.clone(), revision: kv.mod_revision });
                txn.ops.push(Op::Delete { key: key.clone() });
            }
        }
        if txn.ops.is_empty() {
            return Ok(());
        }
        match core.store.commit(txn).await? {
            TxnOutcome::Applied { .. } => return Ok(()),
            // Somebody else has written one of them meanwhile.
            TxnOutcome::Refused => {}
        }
    }
}
