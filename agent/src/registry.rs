//! Every kind of probe, one line each.

use crate::probe::ProbeKind;
use crate::probes::{
    dns_answer, etcd_member, host_crypt, host_filesystem, host_load, host_md, http_get,
    postgres_ready, rabbitmq_amqp, rabbitmq_management, systemd_unit, systemd_units, tcp_connect,
};

/// The kinds, sorted by name.
pub static KINDS: &[&ProbeKind] = &[
    &dns_answer::KIND,
    &etcd_member::KIND,
    &host_crypt::KIND,
    &host_filesystem::KIND,
    &host_load::KIND,
    &host_md::KIND,
    &http_get::KIND,
    &postgres_ready::KIND,
    &rabbitmq_amqp::KIND,
    &rabbitmq_management::KIND,
    &systemd_unit::KIND,
    &systemd_units::KIND,
    &tcp_connect::KIND,
];

/// The kind of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static ProbeKind> {
    KINDS.iter().copied().find(|kind| kind.name == name)
}
