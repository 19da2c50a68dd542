//! One file per kind of probe.

pub mod http_get;
pub mod tcp_connect;
