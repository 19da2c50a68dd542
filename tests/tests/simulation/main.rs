//! The whole of agent and aggregator over a simulated network: lost paths, silence, crashes, wrong clocks, herds.
//!
//! Time, network and chance come from a seed; nothing waits for real time. Everything that is not a clock, a
//! socket or a die is the real thing: the agent's core with its spool on disk, the aggregator with its journal.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on ends"
)]

mod agent;
mod clocks;
mod crash;
mod cut;
mod full;
mod half;
mod herd;
mod journal;
mod network;
mod operator;
mod probe;
mod protocol;
mod raw;
mod world;
