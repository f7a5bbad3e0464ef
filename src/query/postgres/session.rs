//! What lives as long as a connection: its running query, its settings, and what it has prepared.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use pgwire::messages::startup::SecretKey;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

/// What one connection may keep prepared.
const MAX_PREPARED: usize = 1_000;
const MAX_PREPARED_BYTES: usize = 8 << 20;

pub struct Session {
    /// Whose limits its queries have.
    pub caller: String,
    gone: CancellationToken,
    running: Mutex<Option<CancellationToken>>,
    prepared: Mutex<HashMap<String, usize>>,
    cancels: Arc<Cancels>,
    id: OnceLock<(i32, Vec<u8>)>,
    /// Its place among the connections, once it is welcome.
    place: OnceLock<OwnedSemaphorePermit>,
}

impl Session {
    pub fn new(caller: String, gone: CancellationToken, cancels: Arc<Cancels>) -> Arc<Self> {
        Arc::new(Self {
            caller,
            gone,
            running: Mutex::default(),
            prepared: Mutex::default(),
            cancels,
            id: OnceLock::new(),
            place: OnceLock::new(),
        })
    }

    /// Known from now on to those who want to cancel its query.
    pub fn introduce(self: &Arc<Self>, place: OwnedSemaphorePermit, pid: i32, secret: &SecretKey) {
        let id = (pid, secret.to_bytes().to_vec());
        self.cancels.known().insert(id.clone(), Arc::downgrade(self));
        // A second introduction is not taken by the protocol.
        let _ = (self.id.set(id), self.place.set(place));
    }

    /// Cancelled when its query should end.
    pub fn begin(&self) -> CancellationToken {
        let token = self.gone.child_token();
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
        token
    }

    /// Counts what is prepared; false if it is too much.
    pub fn keep(&self, name: String, bytes: usize) -> bool {
        let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        prepared.insert(name.clone(), bytes);
        let fits = prepared.len() <= MAX_PREPARED && prepared.values().sum::<usize>() <= MAX_PREPARED_BYTES;
        if !fits {
            prepared.remove(&name);
        }
        fits
    }

    pub fn forget(&self, is: impl Fn(&str) -> bool) {
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner).retain(|name, _| !is(name));
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(id) = self.id.get() {
            self.cancels.known().remove(id);
        }
    }
}

/// The connections whose queries can be cancelled: by who knows their secret.
#[derive(Default)]
pub struct Cancels(Mutex<Secrets>);

/// By process number and secret.
type Secrets = HashMap<(i32, Vec<u8>), Weak<Session>>;

impl Cancels {
    fn known(&self) -> MutexGuard<'_, Secrets> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn cancel(&self, pid: i32, secret: &SecretKey) {
        let session = self.known().get(&(pid, secret.to_bytes().to_vec())).and_then(Weak::upgrade);
        if let Some(session) = session
            && let Some(running) = session.running.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            running.cancel();
        }
    }
}
