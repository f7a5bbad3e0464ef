//! Threads that give way, and queries of DuckDB that nobody waits for any more.

use std::sync::Arc;
use std::time::Duration;

use duckdb::InterruptHandle;
use tokio_util::sync::CancellationToken;

/// Gives this thread, and those that it starts, a tenth of the processors while requests want them.
pub fn be_patient() {
    if cfg!(target_os = "linux") {
        // There it is this thread's own; without it requests are slower for a while, and nothing is wrong.
        let _ = rustix::process::setpriority_process(None, 10);
    }
}

/// Interrupts a query when it is dropped, again and again until the query has noticed: one that is about to start would
/// miss a single call.
pub struct InterruptOnDrop {
    handle: Arc<InterruptHandle>,
    /// Cancelled when the query is over.
    over: CancellationToken,
}

impl InterruptOnDrop {
    pub fn new(handle: Arc<InterruptHandle>, over: CancellationToken) -> Self {
        Self { handle, over }
    }
}

impl Drop for InterruptOnDrop {
    fn drop(&mut self) {
        if self.over.is_cancelled() {
            return;
        }
        self.handle.interrupt();
        let (handle, over) = (self.handle.clone(), self.over.clone());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                while tokio::time::timeout(Duration::from_millis(20), over.cancelled()).await.is_err() {
                    handle.interrupt();
                }
            });
        }
    }
}
