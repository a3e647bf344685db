//! A bell that one future waits for and others ring.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Rings before and while somebody waits are one ring, and none is lost.
#[derive(Debug, Default)]
pub struct Bell {
    rung: AtomicBool,
    notify: Notify,
}

impl Bell {
    /// Rings.
    pub fn ring(&self) {
        self.rung.store(true, Ordering::Release);
        self.notify.notify_one();
    }

    /// Waits for the next ring, or returns at once where one has come since the last wait.
    pub async fn wait(&self) {
        while !self.take() {
            self.notify.notified().await;
        }
    }

    /// Whether it was rung since the last wait; that ring is then used up.
    pub fn take(&self) -> bool {
        self.rung.swap(false, Ordering::AcqRel)
    }
}
