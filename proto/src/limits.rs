//! The limits that both ends of the protocol keep, each with its reason.

use std::time::Duration;

/// The longest message either end reads. A full batch of long details stays far below it;
/// anything larger is garbage or an attack.
pub const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The most results in one batch: bounds the work between two acknowledgements.
pub const BATCH_RESULTS_MAX: usize = 1_000;

/// The most results that may be unacknowledged on a stream: what the aggregator may have to hold
/// for one agent while its disk is slow.
pub const UNACKNOWLEDGED_RESULTS_MAX: usize = 4_000;

/// The most targets that one stream may define.
pub const TARGETS_MAX: usize = 10_000;

/// The longest component id, in bytes.
pub const COMPONENT_ID_BYTES_MAX: usize = 256;

/// The longest name of a check or of a value, in bytes.
pub const NAME_BYTES_MAX: usize = 128;

/// The longest detail of a result, in bytes; probes cut theirs at a character boundary.
pub const DETAIL_BYTES_MAX: usize = 512;

/// The most measured values of one result.
pub const VALUES_MAX: usize = 32;

/// The most incarnations in a `Hello`.
pub const INCARNATIONS_MAX: usize = 64;

/// The most components that one agent may discover.
pub const DISCOVERED_COMPONENTS_MAX: usize = 1_000;

/// The longest silence of a live stream. Five seconds let a lost host show within fifteen, at a
/// cost of one small message per agent.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);

/// Silence after which either end gives a stream up: three heartbeats, so that one lost packet
/// with its retransmission does not count as a lost agent.
pub const SILENCE_MAX: Duration = Duration::from_secs(15);

/// The longest that an agent stays away by itself after a break. Ten thousand agents then knock five hundred times a second at
/// an aggregator that is gone, which costs nobody anything; and one that is back knows within this time, and a
/// [`SILENCE_MAX`] for whoever has not noticed yet, who is lost.
pub const RETURN_MAX: Duration = Duration::from_secs(20);

/// The port an aggregator listens on unless told otherwise.
pub const AGGREGATOR_PORT: u16 = 7400;
