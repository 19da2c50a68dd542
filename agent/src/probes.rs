//! One file per kind of probe.

pub mod dns_answer;
pub mod etcd_member;
pub mod host_crypt;
pub mod host_filesystem;
pub mod host_load;
pub mod host_md;
pub mod http_get;
pub mod postgres_ready;
mod recent_growth;
mod systemd;
pub mod systemd_unit;
pub mod systemd_units;
pub mod tcp_connect;
