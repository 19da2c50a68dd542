//! Ports on loopback that no other test takes, in this process or in another.
//!
//! A server has to be told its port before it binds it, so a port that was bound and let go could
//! be somebody else's a moment later. Here a port belongs to whoever holds the lock on its file,
//! and it is outside the range that the kernel takes ports for outgoing connections from.

use std::fs::{File, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the kernel's default range for outgoing connections (32768 and up), above the usual
/// servers and the `1xxxx` that people choose by hand.
const FIRST: u16 = 20_000;

/// How many ports there are to choose from.
const COUNT: u16 = 12_000;

/// A port that is ours as long as this lives.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _lock: File,
}

impl Port {
    /// Its number.
    pub const fn number(&self) -> u16 {
        self.number
    }

    /// `127.0.0.1:NUMBER`.
    pub const fn address(&self) -> SocketAddr {
        SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), self.number)
    }
}

impl std::fmt::Display for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.number.fmt(f)
    }
}

/// A port that is free for TCP and UDP on 127.0.0.1.
///
/// # Panics
/// When all of them are taken.
pub fn free_port() -> Port {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let uid = rustix::process::geteuid().as_raw();
    let folder = std::env::temp_dir().join(format!("blackstart-test-ports-{uid}"));
    std::fs::create_dir_all(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    // Processes start at different places, so that they seldom try the same.
    let start = u16::try_from(std::process::id() % u32::from(COUNT)).unwrap_or_default();
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        let spread = u32::from(start) * 37 + u32::from(step);
        let number = FIRST + u16::try_from(spread % u32::from(COUNT)).unwrap_or_default();
        let path = folder.join(number.to_string());
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        if lock.try_lock().is_err() {
            continue;
        }
        let address = (Ipv4Addr::LOCALHOST, number);
        if TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok() {
            return Port {
                number,
                _lock: lock,
            };
        }
    }
    panic!(
        "no free port on 127.0.0.1 between {FIRST} and {}",
        FIRST + COUNT
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_port_is_given_once() {
        let ports: Vec<Port> = (0..200).map(|_| free_port()).collect();
        let numbers: BTreeSet<u16> = ports.iter().map(Port::number).collect();
        assert_eq!(numbers.len(), ports.len());
    }
}
