//! Who may listen where, and who may be dialled how: without TLS, loopback only.

use std::net::{IpAddr, SocketAddr};

/// Listening there without TLS is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "listening on {address} without TLS is refused: anybody on that network could report and read; \
     add a [tls] table (ca_file, certificate_file, key_file), or listen on 127.0.0.1:{}",
    address.port()
)]
pub struct ListenRefused {
    /// The address that was asked for.
    pub address: SocketAddr,
}

/// Dialling there without TLS is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an aggregator at {ip} needs TLS: it is not on loopback")]
pub struct DialRefused {
    /// The address that was asked for.
    pub ip: IpAddr,
}

/// Whether a server may listen there.
///
/// # Errors
/// [`ListenRefused`] for an address that is not loopback, without TLS.
pub fn listen_policy(address: SocketAddr, tls: bool) -> Result<(), ListenRefused> {
    if tls || is_loopback(address.ip()) {
        Ok(())
    } else {
        Err(ListenRefused { address })
    }
}

/// Whether a client may dial there.
///
/// # Errors
/// [`DialRefused`] for an address that is not loopback, without TLS.
pub fn dial_policy(ip: IpAddr, tls: bool) -> Result<(), DialRefused> {
    if tls || is_loopback(ip) {
        Ok(())
    } else {
        Err(DialRefused { ip })
    }
}

/// Loopback, also when written as an IPv4 address in IPv6.
fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_goes_without_tls() {
        for (address, allowed) in [
            ("127.0.0.1:7400", true),
            ("127.8.9.10:7400", true),
            ("[::1]:7400", true),
            ("[::ffff:127.0.0.1]:7400", true),
            ("0.0.0.0:7400", false),
            ("[::]:7400", false),
            ("10.0.0.5:7400", false),
            ("[::ffff:10.0.0.5]:7400", false),
            ("169.254.1.1:7400", false),
        ] {
            let address: SocketAddr = address.parse().unwrap();
            assert_eq!(listen_policy(address, false).is_ok(), allowed, "{address}");
            assert_eq!(
                dial_policy(address.ip(), false).is_ok(),
                allowed,
                "{address}"
            );
            assert!(listen_policy(address, true).is_ok());
            assert!(dial_policy(address.ip(), true).is_ok());
        }
    }

    #[test]
    fn a_refusal_names_the_ways_out() {
        let refused = listen_policy("0.0.0.0:7401".parse().unwrap(), false).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "listening on 0.0.0.0:7401 without TLS is refused: anybody on that network could report \
             and read; add a [tls] table (ca_file, certificate_file, key_file), or listen on \
             127.0.0.1:7401"
        );
    }
}
