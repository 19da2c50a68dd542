//! Blackstart's aggregator: takes what agents report, keeps it, and answers operators.
//!
//! A result walks from `session` (checked, dated, turned into bytes once) through `ingest` (its order) to `engine`
//! (what it means) and `journal` (what survives) at the same moment; `operator` answers from the last `view`.
//!
//! **Invariant:** no acknowledgement leaves before the journal's commit has reached the disk.
//!
//! Not here: what conditions mean (`blackstart-graph`), TLS and addresses (`blackstart-proto`).

mod admission;
mod agents;
mod assembly;
mod blocking;
mod capture;
mod claims;
mod clock;
mod config;
mod dating;
mod engine;
mod entry;
pub mod health;
mod ingest;
mod journal;
mod lock;
mod operator;
mod problems;
mod restart;
mod roster;
mod running;
mod sequences;
mod series;
mod server;
mod session;
mod topology;
mod view;
mod wire;

pub use capture::journal::{Begin as CaptureFrom, CaptureError, Captured, capture_journal};
pub use clock::WallClock;
pub use config::{Config, default_state_dir, listen_address};
pub use journal::export::{ExportError, export};
pub use lock::LockError;
pub use running::{Pulse, Running, StartError, Surroundings, serve, start};
pub use wire::operator::{diagnosis as diagnosis_message, incident as incident_message};
pub use wire::shape;

/// Reads and checks a topology file without putting it in force.
///
/// # Errors
/// Every problem of the file.
pub fn validate_topology(file: &std::path::Path) -> Result<(), blackstart_config::Report> {
    topology::read(file).map(drop)
}
