//! The whole aggregator, driven by a hand-made agent: over TCP in this process, or as the real
//! binary where it has to be killed.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on ends"
)]

mod agent;
mod bad_input;
mod binary;
mod claims;
mod durability;
mod failure;
mod health;
mod herd;
mod picture;
mod silence;
mod topology;
