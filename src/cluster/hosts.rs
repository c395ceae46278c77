//! The hosts file: where each process listens while a cluster starts.

use std::fmt;
use std::net::IpAddr;

use super::ClusterError;

/// The port of process 0 when there is no hosts file; process I has this port + I, on 127.0.0.1.
pub const DEFAULT_PORT: u16 = 2101;

/// One process's address: a name or an IP address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// A name, or an IP address without brackets.
    pub name: String,
    /// The port.
    pub port: u16,
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.contains(':') {
            true => write!(f, "[{}]:{}", self.name, self.port),
            false => write!(f, "{}:{}", self.name, self.port),
        }
    }
}

impl Host {
    /// Reads `host:port`; an IPv6 address stands in brackets.
    pub fn parse(text: &str) -> Option<Host> {
        let (name, port) = text.rsplit_once(':')?;
        let name = match name.strip_prefix('[') {
            Some(inner) => inner.strip_suffix(']').filter(|inner| inner.contains(':'))?,
            None if name.contains(':') => return None,
            None => name,
        };
        let port = port.parse().ok().filter(|port| *port > 0)?;
        let fits = !name.is_empty() && !name.contains(|letter: char| letter.is_whitespace() || letter == '/');
        fits.then(|| Host { name: name.to_owned(), port })
    }

    /// Whether only this machine can reach it, whatever a name server says.
    pub fn is_loopback(&self) -> bool {
        self.name == "localhost" || self.name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

/// Where `processes` processes listen when nobody says otherwise.
pub fn default_hosts(processes: usize) -> Result<Vec<Host>, ClusterError> {
    let host = |process| {
        let port = u16::try_from(process).ok().and_then(|process| DEFAULT_PORT.checked_add(process));
        let port = port.ok_or_else(|| ClusterError::Settings(format!("--processes {processes} is too many")))?;
        Ok(Host { name: String::from("127.0.0.1"), port })
    };
    (0..processes).map(host).collect()
}

/// Reads a hosts file: line I is process I; what follows `#`, and empty lines, are left out.
pub fn parse_hosts(text: &str, processes: usize) -> Result<Vec<Host>, ClusterError> {
    let mut hosts: Vec<Host> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let place = format!("line {}", number + 1);
        let host =
            Host::parse(line).ok_or_else(|| ClusterError::Settings(format!("{place}: \"{line}\" is not HOST:PORT")))?;
        if let Some(known) = hosts.iter().position(|known| *known == host) {
            return Err(ClusterError::Settings(format!("{place}: {host} is process {known} already")));
        }
        hosts.push(host);
    }
    if hosts.len() != processes {
        return Err(ClusterError::Settings(format!("it names {} processes, --processes {processes}", hosts.len())));
    }
    Ok(hosts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str, port: u16) -> Host {
        Host { name: name.into(), port }
    }

    #[test]
    fn a_line_is_a_process() {
        let text = "# shop\n\nhost-a:2101 # the first\r\n  [fe80::1]:2102\n127.0.0.1:65535";
        let hosts = [host("host-a", 2101), host("fe80::1", 2102), host("127.0.0.1", 65535)];
        assert_eq!(parse_hosts(text, 3).unwrap(), hosts);
        assert_eq!(hosts[1].to_string(), "[fe80::1]:2102");
    }

    #[test]
    fn what_is_no_hosts_file_is_refused() {
        let cases = [
            ("a:1\nb", 2, "line 2: \"b\" is not HOST:PORT"),
            ("a:1\nb:0", 2, "line 2"),
            ("a:65536", 1, "line 1"),
            ("::1:5", 1, "line 1"),
            ("[a]:5", 1, "line 1"),
            (":5", 1, "line 1"),
            ("a b:5", 1, "line 1"),
            ("a:1\n#\na:1", 2, "line 3: a:1 is process 0 already"),
            ("a:1", 2, "it names 1 processes, --processes 2"),
            ("a:1\nb:1\nc:1", 2, "it names 3"),
            ("", 2, "it names 0"),
        ];
        for (text, processes, words) in cases {
            let error = parse_hosts(text, processes).unwrap_err().to_string();
            assert!(error.contains(words), "{text:?}: {error}");
        }
    }

    #[test]
    fn only_addresses_of_this_machine_are_loopback() {
        for name in ["127.0.0.1", "127.1.2.3", "::1", "localhost"] {
            assert!(host(name, 1).is_loopback(), "{name}");
        }
        for name in ["0.0.0.0", "::", "10.0.0.1", "localhost.example.org", "127.0.0.1.example.org"] {
            assert!(!host(name, 1).is_loopback(), "{name}");
        }
    }

    #[test]
    fn without_a_file_ports_count_up_from_the_default() {
        assert_eq!(default_hosts(2).unwrap(), [host("127.0.0.1", 2101), host("127.0.0.1", 2102)]);
        assert!(default_hosts(65_000).is_err());
    }
}
