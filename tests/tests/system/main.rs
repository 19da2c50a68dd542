//! The real binaries, whole: killed at any moment, started with no configuration, asked as an operator asks.

#![expect(clippy::expect_used, reason = "a failure here is a failed test")]

mod bad_input;
mod bad_peers;
mod cli;
mod dns;
mod edges;
mod etcd;
mod examples;
mod full_spool;
mod kill;
mod local;
mod operator;
mod parts;
mod platform;
mod postgres;
mod rabbitmq;
mod record;
mod reload;
mod reload_agent;
mod remember;
mod scenarios;
mod secrets;
mod security;
mod supervised;
