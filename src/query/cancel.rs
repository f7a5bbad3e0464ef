//! Queries of DuckDB that nobody waits for any more.

use std::sync::Arc;
use std::time::Duration;

use duckdb::InterruptHandle;
use tokio_util::sync::CancellationToken;

/// Interrupts a query again and again: one that is about to start would miss a single call.
pub async fn keep_interrupting(handle: Arc<InterruptHandle>) {
    loop {
        handle.interrupt();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Interrupts a query when it is dropped, until the query has noticed.
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
                tokio::select! {
                    () = keep_interrupting(handle) => {}
                    () = over.cancelled() => {}
                }
            });
        }
    }
}
