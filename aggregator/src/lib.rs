//! Blackstart's aggregator.
#![allow(dead_code)]
mod admission;
mod blocking;
mod claims;
mod clock;
mod config;
mod dating;
mod entry;
pub mod health;
mod journal;
pub mod lock;
mod problems;
mod roster;
mod sequences;
mod series;
mod view;
mod wire;
