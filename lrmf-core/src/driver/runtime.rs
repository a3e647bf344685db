//! The threads that sessions live on, apart from everything that the user's code can hold up.

use std::sync::LazyLock;

use tokio::runtime::{Builder, Handle, Runtime};

/// Two, so that a member whose step takes long does not hold up the others of the process.
const THREADS: usize = 2;

static SESSIONS: LazyLock<Result<Runtime, String>> = LazyLock::new(|| {
    let mut runtime = Builder::new_multi_thread();
    runtime.worker_threads(THREADS).thread_name("lrmf-session").enable_all();
    runtime.build().map_err(|error| error.to_string())
});

/// The runtime on which the members of this process keep their sessions alive and watch their deadlines, and on which
/// stores are called. It lives as long as the process. A store's adapter that makes its connections here is not held up
/// by whatever blocks the runtime of the program.
///
/// # Errors
/// When the system gives no threads.
pub fn session_runtime() -> Result<Handle, String> {
    SESSIONS.as_ref().map(|runtime| runtime.handle().clone()).map_err(Clone::clone)
}
