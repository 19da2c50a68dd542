//! A look at this host, taken once per discovery and handed to every kind of probe.
//!
//! The readers take the root directory of `/proc`, `/sys` and `/etc`, so that a test gives them
//! a tree of its own. Whatever cannot be read is absent, which differs from empty.

mod read;

pub(crate) use read::resolvers;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// What discovery looks at.
#[derive(Debug, Clone, Default)]
pub struct HostView {
    /// Where `proc`, `sys` and `etc` are; `/` except in tests.
    pub root: PathBuf,
    /// TCP sockets that listen, with the process where it may be read.
    pub listening: Vec<Listener>,
    /// The same sockets by inode, as the kernel listed them.
    pub sockets: BTreeMap<u64, SocketAddr>,
    /// Resolvers of `/etc/resolv.conf`, in their order.
    pub resolvers: Vec<IpAddr>,
    /// Resolvers that the stub of systemd-resolved asks in its turn, loopback ones left out.
    pub upstream_resolvers: Vec<IpAddr>,
    /// Whether systemd is the init of this host.
    pub systemd: bool,
}

/// A listening TCP socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Where it listens; the unspecified address means everywhere.
    pub address: SocketAddr,
    /// The name of the process (`comm`), where it may be read.
    pub process: Option<String>,
    /// Its id, where it may be read.
    pub pid: Option<u32>,
    /// Its arguments, where they may be read. They may hold secrets: never shown, never sent.
    pub arguments: Vec<String>,
}

impl Listener {
    /// The address to connect to: loopback where it listens everywhere.
    #[must_use]
    pub fn reachable_at(&self) -> SocketAddr {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(match address {
                SocketAddr::V4(_) => IpAddr::from([127, 0, 0, 1]),
                SocketAddr::V6(_) => IpAddr::from(std::net::Ipv6Addr::LOCALHOST),
            });
        }
        address
    }
}
