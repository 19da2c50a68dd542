//! `HOST:PORT` as people write it: a name or a literal address, and a port that may be left out.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::limits::AGGREGATOR_PORT;

/// The longest name that DNS knows (RFC 1035, 2.3.4).
const NAME_BYTES_MAX: usize = 253;

/// Where a server is: a name or a literal address, and a port.
///
/// ```
/// use blackstart_proto::transport::HostPort;
/// let address: HostPort = "[fd00::5]".parse()?;
/// assert_eq!(address.to_string(), "[fd00::5]:7400");
/// # Ok::<(), blackstart_proto::transport::AddressError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPort {
    host: String,
    port: u16,
}

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no address: {problem}")]
pub struct AddressError {
    text: String,
    problem: &'static str,
}

impl HostPort {
    /// The name, or the literal address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The address, where it is a literal one. `localhost` counts as literal (RFC 6761, 6.3), so
    /// that it works while every name service is down.
    #[must_use]
    pub fn literal(&self) -> Option<IpAddr> {
        if self.host.eq_ignore_ascii_case("localhost") {
            return Some(Ipv4Addr::LOCALHOST.into());
        }
        self.host.parse().ok()
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for HostPort {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        split(text.trim()).map_err(|problem| AddressError {
            text: text.to_owned(),
            problem,
        })
    }
}

impl From<std::net::SocketAddr> for HostPort {
    fn from(address: std::net::SocketAddr) -> Self {
        Self {
            host: address.ip().to_string(),
            port: address.port(),
        }
    }
}

fn split(text: &str) -> Result<HostPort, &'static str> {
    if text.contains("://") {
        return Err("leave the scheme away, like \"10.0.0.5:7400\"");
    }
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest
            .split_once(']')
            .ok_or("expected a closing bracket, like \"[fd00::5]:7400\"")?;
        if host.parse::<Ipv6Addr>().is_err() {
            return Err("expected an IPv6 address between the brackets");
        }
        match rest.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if rest.is_empty() => (host, None),
            None => return Err("expected a colon and a port behind the bracket"),
        }
    } else if text.parse::<Ipv6Addr>().is_ok() {
        (text, None)
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    let port = match port {
        None => AGGREGATOR_PORT,
        Some(port) => port
            .parse()
            .ok()
            .filter(|number| *number > 0 && port.bytes().all(|b| b.is_ascii_digit()))
            .ok_or("expected a port from 1 to 65535, like \"10.0.0.5:7400\"")?,
    };
    if host.is_empty() {
        return Err("expected a name or an address before the port");
    }
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if host.len() > NAME_BYTES_MAX || !(host.parse::<IpAddr>().is_ok() || host.chars().all(is_name))
    {
        return Err("expected a name or an address, like \"10.0.0.5:7400\"");
    }
    Ok(HostPort {
        host: host.to_owned(),
        port,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_may_be_left_out() {
        for (text, expected) in [
            ("10.0.0.5:7401", "10.0.0.5:7401"),
            ("10.0.0.5", "10.0.0.5:7400"),
            ("fd00::5", "[fd00::5]:7400"),
            ("[fd00::5]:1", "[fd00::5]:1"),
            ("aggregator-1.example", "aggregator-1.example:7400"),
            (" localhost:7400 ", "localhost:7400"),
        ] {
            let address: HostPort = text.parse().unwrap();
            assert_eq!(address.to_string(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_reason() {
        for (text, expected) in [
            (
                "http://a:1",
                "\"http://a:1\" is no address: leave the scheme away, like \"10.0.0.5:7400\"",
            ),
            (
                "a:0",
                "\"a:0\" is no address: expected a port from 1 to 65535, like \"10.0.0.5:7400\"",
            ),
            (
                "a:+7",
                "\"a:+7\" is no address: expected a port from 1 to 65535, like \"10.0.0.5:7400\"",
            ),
            (
                "a:65536",
                "\"a:65536\" is no address: expected a port from 1 to 65535, like \"10.0.0.5:7400\"",
            ),
            (
                ":7400",
                "\":7400\" is no address: expected a name or an address before the port",
            ),
            (
                "",
                "\"\" is no address: expected a name or an address before the port",
            ),
            (
                "a b",
                "\"a b\" is no address: expected a name or an address, like \"10.0.0.5:7400\"",
            ),
            (
                "[::1",
                "\"[::1\" is no address: expected a closing bracket, like \"[fd00::5]:7400\"",
            ),
            (
                "[a]:1",
                "\"[a]:1\" is no address: expected an IPv6 address between the brackets",
            ),
        ] {
            assert_eq!(text.parse::<HostPort>().unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn localhost_needs_no_name_service() {
        let address: HostPort = "localhost".parse().unwrap();
        assert_eq!(address.literal(), Some(Ipv4Addr::LOCALHOST.into()));
        let named: HostPort = "aggregator-1".parse().unwrap();
        assert_eq!(named.literal(), None);
    }
}
