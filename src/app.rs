//! Builds the concrete parts and runs them: the only file that picks implementations.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use poem::Server;
use poem::http::uri::Scheme;
use poem::listener::{Acceptor, Listener, TcpAcceptor, TcpListener};
use poem::web::{LocalAddr, RemoteAddr};
use tokio::sync::{Mutex, Notify, Semaphore, watch};
use tokio::task::JoinHandle;

use crate::api::{self, Api, Connections, Events, HttpSettings, Watched, WebhookShaper};
use crate::catalog::{Catalog, CatalogSettings, LocalStore, OpenError, StoreError};
use crate::clock::Clock;
use crate::config::{Config, QueryEngine};
use crate::events::{Delivery, EventSettings, Poster, PosterError, Targets, Vault, run_delivery};
use crate::media::{LocalMedia, MediaError, UrlSigner, load_or_create_key};
use crate::operations::{
    OperationError, Settings, Tams, ensure_storage_id, run_collector, run_deleter, storage_backends,
};
use crate::query::export::{ExportError, ExportSettings, Exports};
use crate::query::flight::{self, FlightSettings};
use crate::query::postgres::{self, PostgresSettings};
use crate::query::{Backend, Engine, Sql, SqlSettings};

/// Requests at one time on one HTTP/2 connection.
const MAX_STREAMS: u32 = 256;

/// A store that is open and worked on, but not served yet.
pub struct App {
    pub tams: Arc<Tams>,
    api: Arc<Api>,
    exports: Exports,
    config: Config,
    /// Turns true when the server begins to stop.
    closing: watch::Sender<bool>,
    stop_collector: watch::Sender<bool>,
    collector: JoinHandle<()>,
    deleter: JoinHandle<()>,
}

#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error(transparent)]
    Folder(#[from] StoreError),
    #[error(transparent)]
    Catalog(#[from] OpenError),
    #[error("media: {0}")]
    Media(#[from] MediaError),
    #[error(transparent)]
    Operation(#[from] OperationError),
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("stopped, because the outcome of a write is not known: {0}. Start again: the log tells what was written")]
    Halted(String),
    #[error(transparent)]
    Poster(#[from] PosterError),
    #[error("the cipher for the secrets of webhooks does not take its key")]
    Cipher,
    #[error("the threads of queries do not start: {0}")]
    Threads(std::io::Error),
    #[error("exports: {0}")]
    Exports(#[from] ExportError),
    #[error("serving stopped: {0}")]
    Serve(std::io::Error),
}

/// Which implementation TLS uses, for the whole process: it is built with two, and would refuse to choose.
pub fn choose_cryptography() {
    // Refused when it was chosen before, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

impl App {
    /// Opens the data folder, making what is missing.
    pub async fn open(config: Config, clock: Clock) -> Result<Self, AppError> {
        choose_cryptography();
        let dir = &config.data.dir;
        // Taken first: it keeps a second process away from the media too.
        let store = LocalStore::open(dir.join("catalog"))?;
        let catalog = Catalog::open(Arc::new(store), clock.clone(), catalog_settings(&config)).await?;
        let opened = catalog.opened();
        tracing::info!(
            catalogue = opened.catalogue,
            created = opened.created,
            checkpoint = opened.checkpoint,
            replayed = opened.replayed,
            "catalogue open"
        );
        let media = LocalMedia::open(dir.join("media"))?;
        let key_file = dir.join("signing.key");
        if !opened.created && !key_file.exists() {
            tracing::warn!(
                file = %key_file.display(),
                "the key is missing and is made anew: URLs that were given out are void, and keys of webhooks have to be set \
                 again. Restore this file from a backup if you have one"
            );
        }
        let key = load_or_create_key(&key_file, || clock.random_bytes())?;
        let tams = Arc::new(Tams {
            catalog,
            media,
            clock,
            settings: Settings {
                object_timeout: config.media.object_timeout.0,
                storage_label: config.media.label.clone(),
                max_delete_segments: config.catalog.max_delete_segments,
                min_free: config.media.min_free.0,
            },
            collect: Notify::new(),
            delete: Notify::new(),
            collecting: Mutex::default(),
        });
        ensure_storage_id(&tams).await?;
        let events = event_settings(&config);
        let targets = Targets::new(events.allow_private_targets, &events.allowed_hosts);
        let vault = Vault::new(crate::media::derived_key(key, b"webhook secrets"), tams.clock.clone());
        let poster = Arc::new(Poster::new(&events, targets, vault.ok_or(AppError::Cipher)?)?);
        let closing = watch::Sender::new(false);
        let sql = sql(&tams, &config).map_err(AppError::Threads)?;
        let exports = ExportSettings {
            dir: std::path::absolute(config.data.dir.join("exports")).map_err(AppError::Threads)?,
            max_running: config.query.max_exports,
            retention: config.query.export_retention.0,
            space_bytes: config.query.exports_space.0,
            min_free_bytes: config.media.min_free.0,
        };
        let exports = Exports::open(sql.clone(), tams.clock.clone(), exports)?;
        let api = Arc::new(Api {
            sql,
            connections: Connections::default(),
            tams: tams.clone(),
            signer: UrlSigner::new(key),
            settings: http_settings(&config, key),
            events: Events {
                poster,
                history: Arc::default(),
                streams: Arc::new(Semaphore::new(config.events.max_streams)),
                heartbeat: config.events.heartbeat.0,
                closing: closing.subscribe(),
            },
            exports: exports.clone(),
        });
        let (stop_collector, stop) = watch::channel(false);
        let deleter = tokio::spawn(run_deleter(tams.clone(), stop.clone()));
        let collector = tokio::spawn(run_collector(tams.clone(), stop));
        Ok(Self { tams, api, exports, config, closing, stop_collector, collector, deleter })
    }

    /// Takes the address; requests wait until [`Listening::serve`].
    pub async fn listen(&self) -> Result<Listening, AppError> {
        let address = self.config.http.listen;
        let failed = |source| AppError::Listen { address, source };
        let acceptor = TcpListener::bind(address).into_acceptor().await.map_err(failed)?;
        // With port 0 the system chose one.
        let address = acceptor.local_addr().iter().find_map(|local| local.as_socket_addr().copied()).unwrap_or(address);
        let postgres = listen_for(self.config.query.postgres_listen).await?;
        let flight = listen_for(self.config.query.flight_listen).await?;
        Ok(Listening {
            acceptor: Patient { inner: acceptor, connections: self.api.connections.clone() },
            address,
            postgres,
            flight,
        })
    }

    /// Serves until `stop`, lets requests in flight finish, and leaves the data folder to whoever comes next.
    pub async fn serve(self, listening: Listening, stop: impl Future<Output = ()>) -> Result<(), AppError> {
        let grace = self.config.http.shutdown_grace.0;
        let (catalog, closing) = (self.tams.catalog.clone(), self.closing.clone());
        // A server that cannot write any more must not look alive: a supervisor can start it again, which is the remedy.
        let stop = async move {
            tokio::select! {
                () = stop => {}
                _ = catalog.halted() => {}
            }
            // Streams of events never end by themselves.
            closing.send_replace(true);
        };
        let delivery = self.delivery(listening.address);
        let delivery = tokio::spawn(run_delivery(delivery, self.closing.subscribe()));
        let fronts = self.serve_sql(listening.postgres, listening.flight);
        let served = Server::new_with_acceptor(listening.acceptor)
            .idle_timeout(self.config.http.idle_timeout.0)
            .http2_max_concurrent_streams(MAX_STREAMS)
            .run_with_graceful_shutdown(api::endpoint(self.api.clone()), stop, Some(grace))
            .await;
        self.closing.send_replace(true);
        if let Err(error) = delivery.await {
            tracing::error!(%error, "the delivery of events stopped");
        }
        for front in fronts {
            if let Err(error) = front.await {
                tracing::error!(%error, "a way into SQL stopped");
            }
        }
        let halted = self.tams.catalog.halted().now_or_never();
        self.close().await;
        match halted {
            Some(reason) => Err(AppError::Halted(reason)),
            None => served.map_err(AppError::Serve),
        }
    }

    /// The ways into SQL besides HTTP, as far as they are wanted; each ends with the server.
    fn serve_sql(&self, postgres: Option<Socket>, flight: Option<Socket>) -> Vec<JoinHandle<()>> {
        let (sql, grace) = (self.api.sql.clone(), self.config.http.shutdown_grace.0);
        let max_connections = self.config.query.max_connections;
        let closing = || {
            let mut closing = self.closing.subscribe();
            async move { drop(closing.wait_for(|closing| *closing).await) }
        };
        let mut fronts = Vec::new();
        if let Some(socket) = postgres {
            let settings = PostgresSettings { max_connections, grace };
            fronts.push(tokio::spawn(postgres::serve(sql.clone(), socket.listener, settings, closing())));
        }
        if let Some(socket) = flight {
            let settings = FlightSettings { max_connections, grace };
            let (serving, stop) = (sql, closing());
            fronts.push(tokio::spawn(async move {
                if let Err(error) = flight::serve(serving, socket.listener, settings, stop).await {
                    tracing::error!(%error, "Flight SQL is not served any more");
                }
            }));
        }
        fronts
    }

    fn delivery(&self, address: SocketAddr) -> Delivery {
        // No request tells under which URL the receiver of an event could reach this server.
        let base = match &self.config.http.public_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None if address.ip().is_unspecified() => format!("http://localhost:{}", address.port()),
            None => format!("http://{address}"),
        };
        Delivery {
            tams: self.tams.clone(),
            settings: event_settings(&self.config),
            poster: self.api.events.poster.clone(),
            history: self.api.events.history.clone(),
            shape: Arc::new(WebhookShaper { api: self.api.clone(), base }),
        }
    }

    /// Finishes the work in the background and closes the catalogue.
    pub async fn close(self) {
        // An error means that the collector is gone already.
        let _ = self.stop_collector.send(true);
        if let Err(error) = self.collector.await {
            tracing::error!(%error, "the collector stopped");
        }
        if let Err(error) = self.deleter.await {
            tracing::error!(%error, "the deleter stopped");
        }
        self.exports.close().await;
        self.tams.catalog.close().await;
        tracing::info!("catalogue closed");
    }

    pub fn data_dir(&self) -> PathBuf {
        self.config.data.dir.clone()
    }
}

/// An acceptor that pauses after a failure: out of file descriptors, the server would otherwise ask again without end. Handlers
/// hear when the clients of its connections go.
struct Patient<A> {
    inner: A,
    connections: Connections,
}

impl<A: Acceptor> Acceptor for Patient<A> {
    type Io = Watched<A::Io>;

    fn local_addr(&self) -> Vec<LocalAddr> {
        self.inner.local_addr()
    }

    async fn accept(&mut self) -> std::io::Result<(Self::Io, LocalAddr, RemoteAddr, Scheme)> {
        match self.inner.accept().await {
            Ok((io, local, remote, scheme)) => {
                let client = remote.as_socket_addr().copied();
                // There are no others: only TCP is listened to.
                let client = client.ok_or_else(|| std::io::Error::other("a client without an address"))?;
                Ok((self.connections.watch(client, io), local, remote, scheme))
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be taken");
                tokio::time::sleep(Duration::from_millis(100)).await;
                Err(error)
            }
        }
    }
}

/// Taken addresses.
pub struct Listening {
    acceptor: Patient<TcpAcceptor>,
    pub address: SocketAddr,
    pub postgres: Option<Socket>,
    pub flight: Option<Socket>,
}

/// The address of a way into SQL.
pub struct Socket {
    pub address: SocketAddr,
    listener: tokio::net::TcpListener,
}

async fn listen_for(wanted: Option<SocketAddr>) -> Result<Option<Socket>, AppError> {
    let Some(address) = wanted else { return Ok(None) };
    let failed = |source| AppError::Listen { address, source };
    let listener = tokio::net::TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(Some(Socket { address, listener }))
}

pub fn catalog_settings(config: &Config) -> CatalogSettings {
    let catalog = &config.catalog;
    CatalogSettings {
        checkpoint_entries: catalog.checkpoint_entries,
        checkpoint_bytes: catalog.checkpoint_bytes.0,
        log_retention: catalog.log_retention.0,
        log_retention_entries: catalog.log_retention_entries,
        max_batch_bytes: catalog.max_batch_bytes.as_usize(),
        max_batch_operations: catalog.max_batch_operations,
        queue_operations: catalog.queue_operations,
        queue_bytes: catalog.queue_bytes.as_usize(),
        flush_bytes: catalog.flush_bytes.as_usize(),
        max_hot_bytes: catalog.max_hot_bytes.as_usize(),
        index_cache_bytes: catalog.index_cache_bytes.0,
        page_cache_bytes: catalog.page_cache_bytes.0,
        merge_runs: catalog.merge_runs,
        publish_interval: catalog.publish_interval.0,
    }
}

/// What queries may do.
pub fn sql_settings(config: &Config, scratch: PathBuf) -> SqlSettings {
    let query = &config.query;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    SqlSettings {
        engine: match query.engine {
            QueryEngine::DataFusion => Engine::DataFusion,
            QueryEngine::DuckDb => Engine::DuckDb,
        },
        threads: if query.threads == 0 { processors } else { query.threads },
        timeout: query.timeout.0,
        memory_bytes: query.memory.0,
        scratch,
        scratch_bytes: query.scratch.0,
        max_rows: query.max_rows,
        max_sql_bytes: query.max_sql.as_usize(),
        max_running: query.max_running,
        max_running_of_caller: query.max_running_of_caller,
        patience: query.patience.0,
    }
}

/// SQL over the catalogue, with room for what does not fit into memory beside it.
fn sql(tams: &Arc<Tams>, config: &Config) -> std::io::Result<Sql> {
    let scratch = config.data.dir.join("scratch");
    // What a crash left there is of no use to anybody.
    if let Err(error) = std::fs::remove_dir_all(&scratch)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(error);
    }
    std::fs::create_dir_all(&scratch)?;
    let settings = sql_settings(config, std::path::absolute(scratch)?);
    let known = tams.clone();
    let backends = move || {
        let space = known.media.space().ok();
        let backend = |backend: crate::operations::StorageBackend| Backend {
            id: backend.id.to_string(),
            label: Some(backend.label),
            provider: Some(backend.provider),
            region: None,
            product: Some(backend.store_product),
            is_default: backend.default_storage,
            capacity_bytes: space.map(|space| space.capacity),
            free_bytes: space.map(|space| space.free),
        };
        storage_backends(&known, &known.catalog.snapshot()).into_iter().map(backend).collect()
    };
    Sql::new(tams.catalog.clone(), settings, Arc::new(backends))
}

fn event_settings(config: &Config) -> EventSettings {
    let events = &config.events;
    EventSettings {
        first_retry: events.first_retry.0,
        longest_retry: events.longest_retry.0,
        give_up_after: events.give_up_after.0,
        timeout: events.timeout.0,
        allow_private_targets: events.allow_private_targets,
        allowed_hosts: events.allowed_hosts.clone(),
    }
}

fn http_settings(config: &Config, key: [u8; 32]) -> HttpSettings {
    HttpSettings {
        public_url: config.http.public_url.clone(),
        max_body: config.http.max_body.0,
        max_bodies: config.http.max_bodies.0,
        max_object: config.http.max_object.0,
        uploads: Arc::new(Semaphore::new(config.http.max_uploads)),
        url_ttl: config.media.url_ttl.0,
        compression: config.http.compression,
        cors_allow_origins: config.cors.allow_origins.clone(),
        cors_max_age: config.cors.max_age.0,
        page_token_key: crate::media::derived_key(key, b"page tokens"),
    }
}
