//! One file per kind of probe.

pub mod dns_answer;
pub mod etcd_member;
pub mod host_crypt;
pub mod host_filesystem;
pub mod host_load;
pub mod host_md;
pub mod http_get;
mod log_tail;
pub mod postgres_ready;
pub mod rabbitmq_amqp;
pub mod rabbitmq_management;
mod recent_growth;
mod systemd;
pub mod systemd_unit;
pub mod systemd_units;
pub mod tcp_connect;
