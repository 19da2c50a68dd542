//! Real servers as fixtures: started on free ports in a folder of their own, broken on demand.
//!
//! One file per server. A server that refuses to run as root runs as `nobody`.

pub mod dns;
pub mod etcd;
pub mod nginx;
pub mod postgres;
pub mod rabbitmq;
pub mod systemd;
