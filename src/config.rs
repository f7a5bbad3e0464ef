//! One typed configuration: defaults < TOML file < environment < flags. Unknown keys are errors; units are part of the
//! text ("10s", "8 MiB"). `config.example.toml` explains each key.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::{Environment, File, FileFormat};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const ENVIRONMENT_PREFIX: &str = "TAMSLAKE";
/// Signed URLs and unregistered storage must live at least as long as TAMS asks.
const SHORTEST_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// Longer ones leave the range of dates when they are added to now.
const LONGEST_SPAN: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
/// DuckDB does not start with much less.
const SMALLEST_QUERY_MEMORY: u64 = 64 << 20;
const SHORTEST_RETENTION: Duration = Duration::from_secs(10 * 60);

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub data: Data,
    pub http: Http,
    pub cors: Cors,
    pub media: Media,
    pub catalog: Catalog,
    pub query: Query,
    pub events: Events,
    pub log: Log,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Data {
    pub dir: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    pub listen: SocketAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_url: Option<String>,
    pub max_body: Size,
    pub max_bodies: Size,
    pub max_object: Size,
    pub max_uploads: usize,
    pub idle_timeout: Span,
    pub shutdown_grace: Span,
    pub compression: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cors {
    pub allow_origins: Vec<String>,
    pub max_age: Span,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Media {
    pub url_ttl: Span,
    pub object_timeout: Span,
    pub min_free: Size,
    pub label: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Catalog {
    pub checkpoint_entries: u64,
    pub checkpoint_bytes: Size,
    pub log_retention: Span,
    pub log_retention_entries: u64,
    pub max_batch_bytes: Size,
    pub max_batch_operations: usize,
    pub max_delete_segments: usize,
    pub queue_operations: usize,
    pub queue_bytes: Size,
    pub flush_bytes: Size,
    pub max_hot_bytes: Size,
    pub index_cache_bytes: Size,
    pub page_cache_bytes: Size,
    pub merge_runs: usize,
    pub publish_interval: Span,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Query {
    pub engine: QueryEngine,
    /// 0 for as many as there are processors.
    pub threads: usize,
    pub timeout: Span,
    pub memory: Size,
    pub scratch: Size,
    pub max_rows: u64,
    pub max_sql: Size,
    pub max_running: usize,
    pub max_running_of_caller: usize,
    pub patience: Span,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postgres_listen: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flight_listen: Option<SocketAddr>,
    pub max_connections: usize,
    pub max_exports: usize,
    pub export_retention: Span,
    pub exports_space: Size,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QueryEngine {
    DataFusion,
    DuckDb,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Events {
    pub first_retry: Span,
    pub longest_retry: Span,
    pub give_up_after: Span,
    pub timeout: Span,
    pub allow_private_targets: bool,
    pub allowed_hosts: Vec<String>,
    pub heartbeat: Span,
    pub max_streams: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    pub level: String,
    pub format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

impl Default for Data {
    fn default() -> Self {
        Self { dir: "./data".into() }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8000)),
            public_url: None,
            max_body: Size(8 << 20),
            max_bodies: Size(256 << 20),
            max_object: Size(64 << 30),
            max_uploads: 256,
            idle_timeout: Span(Duration::from_secs(75)),
            shutdown_grace: Span(Duration::from_secs(10)),
            compression: true,
        }
    }
}

impl Default for Cors {
    fn default() -> Self {
        Self { allow_origins: vec!["*".into()], max_age: Span(Duration::from_secs(60 * 60)) }
    }
}

impl Default for Media {
    fn default() -> Self {
        Self {
            url_ttl: Span(Duration::from_secs(60 * 60)),
            object_timeout: Span(Duration::from_secs(24 * 60 * 60)),
            min_free: Size(64 << 20),
            label: "local".into(),
        }
    }
}

impl Default for Catalog {
    fn default() -> Self {
        Self {
            checkpoint_entries: 10_000,
            checkpoint_bytes: Size(64 << 20),
            log_retention: Span(Duration::from_secs(24 * 60 * 60)),
            log_retention_entries: 1_000_000,
            max_batch_bytes: Size(4 << 20),
            max_batch_operations: 4_096,
            max_delete_segments: 10_000,
            queue_operations: 8_192,
            queue_bytes: Size(64 << 20),
            flush_bytes: Size(48 << 20),
            max_hot_bytes: Size(128 << 20),
            index_cache_bytes: Size(256 << 20),
            page_cache_bytes: Size(160 << 20),
            merge_runs: 6,
            publish_interval: Span(Duration::from_secs(60)),
        }
    }
}

impl Default for Query {
    fn default() -> Self {
        Self {
            engine: QueryEngine::DataFusion,
            threads: 0,
            timeout: Span(Duration::from_secs(60)),
            memory: Size(512 << 20),
            scratch: Size(4 << 30),
            max_rows: 1_000_000,
            max_sql: Size(256 << 10),
            max_running: 4,
            max_running_of_caller: 4,
            patience: Span(Duration::from_secs(10)),
            postgres_listen: None,
            flight_listen: None,
            max_connections: 64,
            max_exports: 1,
            export_retention: Span(Duration::from_secs(7 * 24 * 60 * 60)),
            exports_space: Size(100 << 30),
        }
    }
}

impl Default for Events {
    fn default() -> Self {
        Self {
            first_retry: Span(Duration::from_secs(1)),
            longest_retry: Span(Duration::from_secs(10 * 60)),
            give_up_after: Span(Duration::from_secs(6 * 60 * 60)),
            timeout: Span(Duration::from_secs(10)),
            allow_private_targets: false,
            allowed_hosts: Vec::new(),
            heartbeat: Span(Duration::from_secs(15)),
            max_streams: 256,
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".into(), format: LogFormat::Text }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error(transparent)]
    Read(#[from] config::ConfigError),
    #[error("{key}: {reason}")]
    Value { key: &'static str, reason: String },
}

impl Config {
    /// Reads the file, if one is named, then the environment. Flags come after, then [`Config::check`].
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let environment = Environment::with_prefix(ENVIRONMENT_PREFIX)
            .prefix_separator("__")
            .separator("__")
            .try_parsing(true)
            .list_separator(",")
            .with_list_parse_key("cors.allow_origins")
            .with_list_parse_key("events.allowed_hosts");
        Self::from_sources(file, environment)
    }

    fn from_sources(file: Option<&Path>, environment: Environment) -> Result<Self, ConfigError> {
        let mut builder = config::Config::builder();
        if let Some(file) = file {
            builder = builder.add_source(File::from(file).format(FileFormat::Toml));
        }
        Ok(builder.add_source(environment).build()?.try_deserialize()?)
    }

    /// Rules that a type alone cannot hold.
    pub fn check(&self) -> Result<(), ConfigError> {
        let wrong = |key, reason: &str| Err(ConfigError::Value { key, reason: reason.to_owned() });
        if self.media.url_ttl.0 < SHORTEST_TIMEOUT {
            return wrong("media.url_ttl", "TAMS asks for at least 5m");
        }
        if self.media.object_timeout.0 < SHORTEST_TIMEOUT {
            return wrong("media.object_timeout", "TAMS asks for at least 5m");
        }
        if self.media.object_timeout.0 < self.media.url_ttl.0 {
            return wrong("media.object_timeout", "must be at least media.url_ttl, or uploads outlive their storage");
        }
        if self.media.label.is_empty() || self.media.label.contains(',') {
            return wrong("media.label", "cannot be empty or hold a comma: clients name labels in comma lists");
        }
        if let Some(url) = &self.http.public_url {
            let host = ["http://", "https://"].iter().find_map(|scheme| url.strip_prefix(scheme));
            let odd = |c: char| c.is_whitespace() || c.is_control() || !c.is_ascii() || "?#<>\"\\".contains(c);
            if host.is_none_or(str::is_empty) || url.contains(odd) {
                return wrong(
                    "http.public_url",
                    "must be an http or https URL without query, like https://tams.example.com",
                );
            }
        }
        if self.http.max_bodies < self.http.max_body {
            return wrong("http.max_bodies", "must be at least http.max_body, or no body of that length ever gets in");
        }
        if self.http.max_body.0 == 0 || self.http.max_object.0 == 0 {
            return wrong("http.max_body, http.max_object", "must be more than 0");
        }
        let events = &self.events;
        if events.first_retry.0.is_zero() || events.timeout.0.is_zero() || events.heartbeat.0.is_zero() {
            return wrong("events", "first_retry, timeout and heartbeat must be more than 0");
        }
        if events.heartbeat.0 >= self.http.idle_timeout.0 {
            return wrong("events.heartbeat", "must be less than http.idle_timeout, or streams are taken for dead");
        }
        let query = &self.query;
        let counts = [query.max_running, query.max_connections, query.max_exports];
        if query.timeout.0.is_zero() || query.max_rows == 0 || counts.contains(&0) {
            return wrong(
                "query",
                "timeout, max_rows, max_running, max_connections and max_exports must be more than 0",
            );
        }
        if query.max_running_of_caller == 0 || query.max_running_of_caller > query.max_running {
            return wrong("query.max_running_of_caller", "must be from 1 to query.max_running");
        }
        if query.memory.0 < SMALLEST_QUERY_MEMORY {
            return wrong("query.memory", "must be at least 64 MiB");
        }
        let catalog = &self.catalog;
        if catalog.log_retention.0 < SHORTEST_RETENTION {
            return wrong(
                "catalog.log_retention",
                "must be at least 10m: a writer that stalled has to find the log's end",
            );
        }
        if catalog.max_delete_segments == 0 {
            return wrong("catalog.max_delete_segments", "must be more than 0, or deletions never end");
        }
        if catalog.max_hot_bytes.0 <= catalog.flush_bytes.0 {
            return wrong(
                "catalog.max_hot_bytes",
                "must be more than catalog.flush_bytes, or writes are refused for ever",
            );
        }
        if catalog.merge_runs < 2 {
            return wrong("catalog.merge_runs", "must be at least 2");
        }
        if catalog.checkpoint_entries == 0 || catalog.max_batch_operations == 0 || catalog.queue_operations == 0 {
            return wrong(
                "catalog",
                "checkpoint_entries, max_batch_operations and queue_operations must be more than 0",
            );
        }
        Ok(())
    }

    /// The effective values as TOML. Nothing secret is in the configuration.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        // JSON's strings, numbers, booleans and lists read the same in TOML.
        if let Ok(serde_json::Value::Object(sections)) = serde_json::to_value(self) {
            for (section, keys) in sections {
                text += &format!("[{section}]\n");
                for (key, value) in keys.as_object().into_iter().flatten() {
                    text += &format!("{key} = {value}\n");
                }
                text.push('\n');
            }
        }
        text
    }
}

/// A duration as people write it: `250ms`, `10s`, `24h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(self.0))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text)
            .map_err(|error| error.to_string())
            .and_then(|span| if span <= LONGEST_SPAN { Ok(Self(span)) } else { Err("100 years at most".into()) })
            .map_err(|error| D::Error::custom(format!("{text:?} is not a duration like \"10s\" or \"24h\": {error}")))
    }
}

/// A number of bytes: `64 KiB`, `8 MiB`; powers of 1,024.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub struct Size(pub u64);

const UNITS: [(&str, u64); 5] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl Size {
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let unit = match unit.trim() {
            "" => 1,
            unit => UNITS.iter().find(|(name, _)| *name == unit)?.1,
        };
        number.parse::<u64>().ok()?.checked_mul(unit).map(Self)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = UNITS.iter().find(|(_, unit)| self.0 >= *unit && self.0.is_multiple_of(*unit));
        let (name, unit) = exact.unwrap_or(&("B", 1));
        write!(f, "{} {name}", self.0 / unit)
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| D::Error::custom(format!("{text:?} is not a size like \"64 KiB\" or \"8 MiB\"")))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn load(toml: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, toml).unwrap();
        let map: HashMap<String, String> =
            environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let environment = Environment::with_prefix(ENVIRONMENT_PREFIX)
            .prefix_separator("__")
            .separator("__")
            .try_parsing(true)
            .list_separator(",")
            .with_list_parse_key("cors.allow_origins")
            .with_list_parse_key("events.allowed_hosts")
            .source(Some(map));
        Config::from_sources(Some(&path), environment)
    }

    #[test]
    fn the_environment_beats_the_file_and_the_file_the_defaults() {
        let config = load(
            "[http]\nlisten = \"127.0.0.1:1\"\nmax_body = \"1 MiB\"\n[log]\nformat = \"json\"",
            &[("TAMSLAKE__HTTP__LISTEN", "0.0.0.0:2"), ("TAMSLAKE__CORS__ALLOW_ORIGINS", "https://a,https://b")],
        )
        .unwrap();
        assert_eq!(config.http.listen, "0.0.0.0:2".parse().unwrap());
        assert_eq!(config.http.max_body, Size(1 << 20));
        assert_eq!(config.log.format, LogFormat::Json);
        assert_eq!(config.cors.allow_origins, ["https://a", "https://b"]);
        assert_eq!(config.media, Media::default());
    }

    #[test]
    fn unknown_keys_and_wrong_units_are_refused_with_their_name() {
        for (toml, word) in [
            ("[http]\nlisen = \"x\"", "lisen"),
            ("[htp]\n", "htp"),
            ("[media]\nurl_ttl = \"ten\"", "ten"),
            ("[http]\nmax_body = \"8 MB\"", "8 MB"),
            ("[log]\nformat = \"xml\"", "xml"),
        ] {
            let error = load(toml, &[]).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
        assert!(load("", &[("TAMSLAKE__HTTP__LISEN", "x")]).unwrap_err().to_string().contains("lisen"));
    }

    #[test]
    fn the_example_file_holds_every_key_with_its_default() {
        let example = include_str!("../config.example.toml");
        assert_eq!(load(example, &[]).unwrap(), Config::default());
        for line in Config::default().to_toml().lines().filter(|line| line.contains(" = ")) {
            let key = line.split(" = ").next().unwrap();
            assert!(example.contains(&format!("\n{key} = ")), "{key} is not in config.example.toml");
        }
    }

    #[test]
    fn what_check_config_prints_can_be_read_again() {
        let mut config = Config::default();
        config.http.public_url = Some("https://tams.example.com".into());
        assert_eq!(load(&config.to_toml(), &[]).unwrap(), config);
    }

    #[test]
    fn a_timeout_shorter_than_tams_allows_is_refused() {
        let mut config = Config::default();
        config.media.url_ttl = Span(Duration::from_secs(60));
        assert!(config.check().unwrap_err().to_string().contains("media.url_ttl"));
    }
}
