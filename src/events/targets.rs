//! Where webhooks may point to. The server calls URLs that its clients choose; without a rule they could make it call
//! what only it can reach: other services of its network, the metadata service of its cloud, itself.
//!
//! Literal addresses are judged when a webhook is registered and again at each delivery. Names are judged by what they
//! resolve to, in the resolver that the HTTP client connects with: there is no second look-up that could differ.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;

const MAX_LOOKUPS: usize = 16;
const LONGEST_LOOKUP: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum TargetError {
    #[error("is not an http or https URL")]
    NotHttp,
    #[error("cannot hold a user name or a password: use api_key_name and api_key_value")]
    UserInfo,
    #[error("{0} is not a public address; an operator can allow it with events.allowed_hosts")]
    Private(String),
}

/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct Targets(Arc<Rules>);

#[derive(Debug)]
struct Rules {
    allow_private: bool,
    allowed_hosts: Vec<String>,
    /// Names looked up at one time: each holds a thread that media files need too, for as long as the name server takes.
    lookups: Arc<Semaphore>,
}

impl Targets {
    pub fn new(allow_private: bool, allowed_hosts: &[String]) -> Self {
        let allowed_hosts = allowed_hosts.iter().map(|host| bare(host)).collect();
        Self(Arc::new(Rules { allow_private, allowed_hosts, lookups: Arc::new(Semaphore::new(MAX_LOOKUPS)) }))
    }

    /// Judges what can be told from the text alone.
    pub fn check(&self, url: &str) -> Result<Url, TargetError> {
        let url = Url::parse(url).map_err(|_| TargetError::NotHttp)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(TargetError::NotHttp);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(TargetError::UserInfo);
        }
        // The parser has brought 0x7f.1, 2130706433 and their like into the usual form.
        let host = bare(url.host_str().ok_or(TargetError::NotHttp)?);
        if host.is_empty() {
            return Err(TargetError::NotHttp);
        }
        if self.allows_host(&host) {
            return Ok(url);
        }
        let local_name = host == "localhost" || host.ends_with(".localhost");
        if local_name || host.parse().is_ok_and(|address| !is_public(address)) {
            return Err(TargetError::Private(host));
        }
        Ok(url)
    }

    fn allows_host(&self, host: &str) -> bool {
        self.0.allow_private || self.0.allowed_hosts.iter().any(|allowed| *allowed == bare(host))
    }

    fn keep_allowed(&self, host: &str, addresses: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, TargetError> {
        if self.allows_host(host) {
            return Ok(addresses);
        }
        // One private address among public ones is an attempt, not an accident.
        match addresses.iter().find(|address| !is_public(address.ip())) {
            Some(_) => Err(TargetError::Private(host.to_owned())),
            None => Ok(addresses),
        }
    }
}

/// In lower case, without the brackets of IPv6 and the dot of an absolute name.
fn bare(host: &str) -> String {
    host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase()
}

impl Resolve for Targets {
    fn resolve(&self, name: Name) -> Resolving {
        let targets = self.clone();
        Box::pin(async move {
            let turn = targets.0.lookups.clone().acquire_owned().await?;
            let wanted = name.as_str().to_owned();
            // A task of its own: who gives up waiting must not give the turn to the next while the thread is still held.
            let lookup = tokio::spawn(async move {
                let _turn = turn;
                Ok::<Vec<SocketAddr>, std::io::Error>(tokio::net::lookup_host((wanted, 0)).await?.collect())
            });
            let found = tokio::time::timeout(LONGEST_LOOKUP, lookup).await???;
            let allowed = targets.keep_allowed(name.as_str(), found)?;
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

/// Whether an address belongs to the public internet.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = a == 0
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || a >= 240
        // Shared by providers and their customers (RFC 6598), protocol assignments (RFC 6890), 6to4 relays, benchmarks.
        || (a == 100 && (64..128).contains(&b))
        || (a, b, c) == (192, 0, 0)
        || (a, b, c) == (192, 88, 99)
        || (a == 198 && (b == 18 || b == 19));
    !special
}

/// Only global unicast, and of that nothing that leads to an IPv4 address in disguise.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let global_unicast = segments[0] & 0xe000 == 0x2000;
    let teredo_and_assignments = segments[0] == 0x2001 && segments[1] < 0x0200;
    let documentation = segments[0] == 0x2001 && segments[1] == 0x0db8 || segments[0] == 0x3fff;
    let six_to_four = segments[0] == 0x2002;
    global_unicast && !teredo_and_assignments && !documentation && !six_to_four
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strict() -> Targets {
        Targets::new(false, &[])
    }

    #[test]
    fn private_targets_are_refused_in_every_spelling() {
        for host in [
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0177.0.0.1",
            "0",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "192.0.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "[::1]",
            "[::]",
            "[fe80::1]",
            "[fc00::1]",
            "[fd12::1]",
            "[ff02::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:8.8.8.8]",
            "[::127.0.0.1]",
            "[64:ff9b::a00:1]",
            "[2002:7f00:1::]",
            "[2001:db8::1]",
            "[2001::1]",
            "localhost",
            "LOCALHOST",
            "localhost.",
            "a.localhost",
            "127.0.0.1.",
            "１２７.0.0.1",
        ] {
            let url = format!("http://{host}/hook");
            assert!(matches!(strict().check(&url), Err(TargetError::Private(_) | TargetError::NotHttp)), "{url}");
        }
    }

    #[test]
    fn public_targets_are_taken() {
        for url in
            ["https://hooks.example/x?y=z", "http://8.8.8.8:8080/", "https://[2606:4700::1111]/", "http://172.32.0.1"]
        {
            assert!(strict().check(url).is_ok(), "{url}");
        }
    }

    #[test]
    fn only_http_without_user_info_is_taken() {
        for url in ["", "x", "ftp://a.example", "file:///etc/passwd", "gopher://a.example", "javascript:1", "http://"] {
            assert_eq!(Targets::new(true, &[]).check(url), Err(TargetError::NotHttp), "{url}");
        }
        for url in ["http://user@a.example", "http://user:word@a.example", "http://:word@a.example"] {
            assert_eq!(Targets::new(true, &[]).check(url), Err(TargetError::UserInfo), "{url}");
        }
    }

    #[test]
    fn operators_can_allow_single_hosts_or_all() {
        let some = Targets::new(false, &["10.0.0.7".into(), "Hooks.Internal".into(), "[fd00::7]".into()]);
        assert!(some.check("http://10.0.0.7:1/").is_ok() && some.check("http://[fd00::7]/").is_ok());
        assert!(some.check("http://10.0.0.8/").is_err());
        let private: SocketAddr = "10.0.0.9:0".parse().unwrap();
        assert!(some.keep_allowed("hooks.internal", vec![private]).is_ok());
        assert!(some.keep_allowed("other.internal", vec![private]).is_err());
        let mixed = vec!["8.8.8.8:0".parse().unwrap(), private];
        assert!(some.keep_allowed("rebind.example", mixed).is_err());
        assert!(Targets::new(true, &[]).check("http://127.0.0.1/").is_ok());
    }

    #[tokio::test]
    async fn a_name_is_judged_by_what_it_resolves_to() {
        let name = || "localhost".parse::<Name>().unwrap();
        assert!(strict().resolve(name()).await.is_err());
        assert!(Targets::new(true, &[]).resolve(name()).await.is_ok());
    }
}
