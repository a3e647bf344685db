//! One watch, as a stream.

use std::sync::Arc;

use futures::Stream;
use tokio::sync::{Notify, watch};

use super::fault::Link;
use super::state::HistoryGone;
use super::{Shared, locked};
use crate::coordination::{Revision, WatchBatch, WatchError};

/// A registered watcher; dropping it takes it off the books.
struct Watching {
    shared: Arc<Shared>,
    id: u64,
    wake: Arc<Notify>,
    breaks: watch::Receiver<u64>,
}

impl Drop for Watching {
    fn drop(&mut self) {
        locked(&self.shared.state).remove_watcher(self.id);
    }
}

impl Watching {
    async fn next(&mut self) -> Result<WatchBatch, WatchError> {
        loop {
            // Lost comes before what is still to be delivered: a broken connection delivers nothing.
            if self.breaks.has_changed().unwrap_or(true) {
                return Err(WatchError::Lost("broken by the test".into()));
            }
            let next = self.shared.state().next_batch(self.id);
            match next {
                Ok(Some(batch)) => return Ok(batch),
                Err(HistoryGone) => return Err(WatchError::Compacted),
                Ok(None) => {}
            }
            tokio::select! {
                () = self.wake.notified() => {}
                _ = self.breaks.changed() => return Err(WatchError::Lost("broken by the test".into())),
            }
        }
    }
}

pub(super) fn watch(
    shared: &Arc<Shared>,
    link: &Arc<Link>,
    prefix: &str,
    after: Revision,
) -> impl Stream<Item = Result<WatchBatch, WatchError>> + Send + use<> {
    let wake = Arc::new(Notify::new());
    let id = shared.state().add_watcher(prefix, after, wake.clone());
    let mut breaks = link.watch_breaks();
    if link.is_out() {
        breaks.mark_changed();
    }
    let watching = Watching { shared: shared.clone(), id, wake, breaks };
    // The link is held so that its end of the signal lives as long as the watch.
    futures::stream::unfold(Some((watching, link.clone())), |watching| async move {
        let (mut watching, link) = watching?;
        match watching.next().await {
            Ok(batch) => Some((Ok(batch), Some((watching, link)))),
            Err(error) => Some((Err(error), None)),
        }
    })
}
