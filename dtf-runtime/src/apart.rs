//! Plugin code that may block its thread.

use std::future::{Future, poll_fn};
use std::pin::pin;

use tokio::runtime::{Handle, RuntimeFlavor};

/// Awaits a call that may block its thread. On a runtime with several threads, another thread takes over the other work of the
/// blocked one; on a runtime with one thread, all work waits.
pub async fn apart<T>(call: impl Future<Output = T>) -> T {
    let mut call = pin!(call);
    poll_fn(|context| beside(|| call.as_mut().poll(context))).await
}

/// Makes a call that may block its thread, as [`apart`] does.
pub(super) fn beside<T>(call: impl FnOnce() -> T) -> T {
    let several = Handle::try_current().is_ok_and(|on| on.runtime_flavor() == RuntimeFlavor::MultiThread);
    if several { tokio::task::block_in_place(call) } else { call() }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn code_that_blocks_its_thread_blocks_nobody_else() {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (release, blocked) = mpsc::channel::<()>();
        let blocking = runtime.spawn(apart(async move { blocked.recv() }));
        // The only thread is blocked or about to be; another one does this.
        runtime.block_on(async {
            tokio::spawn(async move { release.send(()) }).await.unwrap().unwrap();
            blocking.await.unwrap().unwrap();
        });
    }
}
