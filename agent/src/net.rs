//! Reaches a server and says exactly how far it got: name, connection, TLS, HTTP.
//!
//! Every step is timed, ends by the run's deadline and fails in words of its own. A server that refuses, a
//! network that swallows packets and a server that accepts and stays silent are three findings.
//!
//! Not here: what an answer means. That is each probe's `judge`.

pub mod address;
pub mod bus;
pub mod connect;
pub mod dns;
pub mod http;
pub mod tls;

pub use address::Address;
pub use connect::{ConnectFailure, Connected, Phases, Stream, connect};
pub use tls::{TlsClient, TlsFailure};

use std::time::Duration;

/// A duration as a measured value, in milliseconds with three decimals: more would be noise.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    reason = "a run lasts minutes at the most, far below 2^53 microseconds"
)]
pub fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1_000.0
}
