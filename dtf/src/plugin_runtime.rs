//! The runtime that plugin code runs on, apart from the one that keeps sessions alive.

use tokio::runtime::{Builder, Handle, Runtime};

/// Threads for plugins. Own ones end, without being waited for, when this is dropped.
#[derive(Debug)]
pub(crate) enum PluginRuntime {
    /// Threads of its own; none only while it is dropped.
    Own(Option<Runtime>, Handle),
    /// Somebody else's.
    Shared(Handle),
}

impl PluginRuntime {
    pub(crate) fn start(threads: usize) -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads.max(1))
            .thread_name("dtf-plugin")
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        Ok(Self::Own(Some(runtime), handle))
    }

    pub(crate) fn handle(&self) -> Handle {
        match self {
            Self::Own(_, handle) | Self::Shared(handle) => handle.clone(),
        }
    }
}

impl Drop for PluginRuntime {
    fn drop(&mut self) {
        // Dropping a runtime waits for blocking code, which an async caller must not.
        if let Self::Own(runtime, _) = self
            && let Some(runtime) = runtime.take()
        {
            runtime.shutdown_background();
        }
    }
}
