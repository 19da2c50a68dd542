//! The agent: probes what this host has and needs, keeps the results, streams them.
//!
//! `probe` says what a probe is, `probes` holds one file per kind, `registry` lists them.

pub mod agent;
mod board;
pub mod check;
pub mod clock;
pub mod config;
pub mod discovery;
pub mod facts;
pub mod host;
mod local;
pub mod net;
pub mod observation;
pub mod probe;
pub mod probes;
pub mod registry;
pub mod result;
mod run_once;
mod scheduler;
pub mod spool;
pub mod supervisor;
pub mod surroundings;
mod uplink;
mod wire;
