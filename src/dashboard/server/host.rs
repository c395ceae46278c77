//! Which `Host` a request may name.
//!
//! A page of another site can make a browser send requests here under that site's name (DNS rebinding) and read
//! the answers. It needs a name of its own for that, so names are allowed one by one. The port is not looked at
//! unless a configured name has one: a forwarded port changes it, and no attacker gains by it.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The names and addresses this server answers to.
#[derive(Clone, Debug)]
pub(super) struct HostPolicy {
    bound: IpAddr,
    any_address: bool,
    names: Vec<(String, Option<u16>)>,
}

impl HostPolicy {
    /// Loopback names and the bound address are always allowed, `names` (`name` or `name:port`) as well. A server
    /// that listens beyond loopback takes every IP literal, for it cannot know which of them lead here.
    pub(super) fn new(bound: SocketAddr, names: &[String]) -> HostPolicy {
        let names = names
            .iter()
            .map(|name| name.trim().to_ascii_lowercase())
            .filter(|name| !name.is_empty())
            .map(|name| match split_port(&name) {
                Some((host, port)) => (host.to_owned(), port),
                None => (name, None),
            })
            .collect();
        HostPolicy { bound: bound.ip(), any_address: !bound.ip().is_loopback(), names }
    }

    /// Whether a `Host` value is one of ours; `None` if it is not a host at all.
    pub(super) fn allows(&self, value: &str) -> Option<bool> {
        let value = value.to_ascii_lowercase();
        let (host, port) = split_port(&value)?;
        if self.names.iter().any(|(name, wanted)| name == host && (wanted.is_none() || *wanted == port)) {
            return Some(true);
        }
        let address = match host.strip_prefix('[') {
            Some(inner) => inner.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            None => host.parse::<IpAddr>().ok(),
        };
        Some(match address {
            Some(address) => self.any_address || address.is_loopback() || address == self.bound,
            None => host == "localhost",
        })
    }
}

/// `host[:port]` in its two parts; `None` if the text is neither.
fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    let end_of_host = if text.starts_with('[') { text.find(']')? + 1 } else { text.find(':').unwrap_or(text.len()) };
    let (host, rest) = text.split_at(end_of_host);
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':' | b'[' | b']');
    if host.is_empty() || !host.bytes().all(allowed) {
        return None;
    }
    match rest.strip_prefix(':') {
        None if rest.is_empty() => Some((host, None)),
        Some("") => Some((host, None)),
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => Some((host, Some(port.parse().ok()?))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(bound: &str, names: &[&str]) -> HostPolicy {
        HostPolicy::new(bound.parse().unwrap(), &names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn loopback_takes_its_own_names_alone() {
        let policy = policy("127.0.0.1:8501", &["Shop.Example", "other.example:80"]);
        for host in [
            "127.0.0.1:8501",
            "127.0.0.1",
            "localhost:9000",
            "LOCALHOST",
            "[::1]:8501",
            "[::1]",
            "shop.example:1",
            "other.example:80",
        ] {
            assert_eq!(policy.allows(host), Some(true), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:8501",
            "10.0.0.7",
            "[fe80::1]",
            "other.example",
            "other.example:81",
            "localhost.evil.example",
            "localhost.",
            "127.0.0.1.evil.example",
        ] {
            assert_eq!(policy.allows(host), Some(false), "{host}");
        }
    }

    #[test]
    fn an_open_server_takes_addresses_but_no_foreign_names() {
        let policy = policy("0.0.0.0:8501", &["shop.example"]);
        for host in ["10.0.0.7:8501", "[2001:db8::1]:8501", "localhost", "shop.example"] {
            assert_eq!(policy.allows(host), Some(true), "{host}");
        }
        assert_eq!(policy.allows("evil.example"), Some(false));
    }

    #[test]
    fn what_is_no_host_is_told_apart() {
        let policy = policy("127.0.0.1:8501", &[]);
        for host in ["", ":80", "a b", "localhost:x", "localhost:99999", "[::1", "[::1]x", "user@localhost", "a/b"] {
            assert_eq!(policy.allows(host), None, "{host}");
        }
    }
}
