//! Where a server is: a literal IP address or a name, and a port.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use blackstart_config::Section;

/// A host and a port, as configured.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    /// The host.
    pub host: Host,
    /// The TCP or UDP port.
    pub port: u16,
}

/// The host part of an [`Address`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// An IP address: reached without any name service.
    Literal(IpAddr),
    /// A name, looked up anew for each run.
    Name(String),
}

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The host is empty or holds characters that no host name has.
    #[error("expected a host and a port, like \"10.0.0.5:5432\" or \"[2001:db8::5]:5432\"")]
    Host,
    /// The port is not a number from 1 to 65535, or is missing.
    #[error("expected a port from 1 to 65535 behind the last colon, like \"10.0.0.5:5432\"")]
    Port,
}

/// The longest host name (RFC 1035 §2.3.4).
const NAME_BYTES_MAX: usize = 253;

impl Address {
    /// Reads `host:port`; without a port `default_port` counts, where there is one. IPv6 addresses with a port stand in
    /// brackets.
    ///
    /// # Errors
    /// The text is no address.
    pub fn parse(text: &str, default_port: Option<u16>) -> Result<Self, AddressError> {
        if let Ok(ip) = text.parse::<IpAddr>() {
            let port = default_port.ok_or(AddressError::Port)?;
            return Ok(Self {
                host: Host::Literal(ip),
                port,
            });
        }
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, rest) = rest.split_once(']').ok_or(AddressError::Host)?;
            (
                host,
                if rest.is_empty() {
                    None
                } else {
                    Some(rest.strip_prefix(':').ok_or(AddressError::Port)?)
                },
            )
        } else {
            match text.rsplit_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            }
        };
        let port = match port {
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits
                .parse()
                .ok()
                .filter(|port| *port != 0)
                .ok_or(AddressError::Port)?,
            Some(_) => return Err(AddressError::Port),
            None => default_port.ok_or(AddressError::Port)?,
        };
        let host = match host.parse::<IpAddr>() {
            Ok(ip) => Host::Literal(ip),
            Err(_) if is_name(host) && !text.starts_with('[') => {
                Host::Name(host.to_ascii_lowercase())
            }
            Err(_) => return Err(AddressError::Host),
        };
        Ok(Self { host, port })
    }

    /// Reads a required key of a probe's table; a problem is noted there.
    pub fn configure(
        section: &mut Section<'_>,
        key: &'static str,
        default_port: Option<u16>,
    ) -> Option<Self> {
        let text = section.required_string(key)?;
        match Self::parse(&text, default_port) {
            Ok(address) => Some(address),
            Err(error) => {
                section.problem(key, &error.to_string(), "");
                None
            }
        }
    }
}

fn is_name(host: &str) -> bool {
    !host.is_empty()
        && host.len() <= NAME_BYTES_MAX
        && host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self {
            host: Host::Literal(address.ip()),
            port: address.port(),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Literal(ip) => SocketAddr::new(*ip, self.port).fmt(f),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(ip) => ip.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown_the_same() {
        for (text, default, shown) in [
            ("10.0.0.5:53", None, "10.0.0.5:53"),
            ("10.0.0.5", Some(53), "10.0.0.5:53"),
            ("[::1]:53", None, "[::1]:53"),
            ("::1", Some(53), "[::1]:53"),
            ("[::1]", Some(53), "[::1]:53"),
            ("DB.corp.test:5432", None, "db.corp.test:5432"),
        ] {
            assert_eq!(
                Address::parse(text, default).unwrap().to_string(),
                shown,
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for (text, error) in [
            ("", AddressError::Port),
            (":80", AddressError::Host),
            ("db", AddressError::Port),
            ("db:0", AddressError::Port),
            ("db:70000", AddressError::Port),
            ("db:+80", AddressError::Port),
            ("::1", AddressError::Port),
            ("[db]:80", AddressError::Host),
            ("[::1]80", AddressError::Port),
            ("a b:80", AddressError::Host),
        ] {
            assert_eq!(Address::parse(text, None), Err(error), "{text}");
        }
    }
}
