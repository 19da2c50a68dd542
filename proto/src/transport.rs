//! How Blackstart's parts reach each other: addresses, who may listen where, mutual TLS.
//!
//! The server's side is [`incoming`]: connections for tonic's `serve_with_incoming`, with the
//! [`Peer`] of each in the request's extensions. The client's side is [`connect`]: a channel whose
//! server has answered, or a [`ConnectError`] that says what is in the way. Both are generic over
//! what carries the bytes, so that a simulated network can.
//!
//! TLS is always mutual and TLS 1.3, its files are read again when they change, and a bad new file
//! leaves the old one in force.
//!
//! **Invariant:** nothing that is not loopback is listened on or dialled without TLS, and a literal
//! address is dialled without any name service.

mod address;
mod connect;
mod dial;
mod files;
mod greeting;
mod incoming;
mod local;
mod opening;
mod peer;
mod policy;
mod reload;
mod tls;

pub use address::{AddressError, HostPort};
pub use connect::{ConnectError, Timeouts, connect, connect_with};
pub use dial::{Dial, DialError, TcpDialer};
pub use files::{TlsFiles, TlsFilesError};
pub use incoming::{Io, Listener, incoming};
pub use local::{LocalError, SOCKET_PATH_BYTES_MAX, connect_local, local_socket};
pub use peer::Peer;
pub use policy::{DialRefused, ListenRefused, dial_policy, listen_policy};
pub use tls::{ClientTls, ServerTls};

#[cfg(test)]
mod tests;
