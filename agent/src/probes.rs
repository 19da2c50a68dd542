//! One file per kind of probe.

pub mod dns_answer;
pub mod host_crypt;
pub mod host_filesystem;
pub mod host_load;
pub mod host_md;
pub mod http_get;
pub mod tcp_connect;
