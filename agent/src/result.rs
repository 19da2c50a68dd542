//! A result on its way: an observation with its number, its time and how long it holds.

use std::sync::Arc;

use prost::Message;

use crate::observation::Observation;

/// One process of the agent, and the boot it ran in: what gives a sequence its meaning and a sample its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incarnation {
    /// Drawn at random when the agent started.
    pub id: u64,
    /// The kernel's boot id.
    pub boot_id: String,
    /// Wall clock minus CLOCK_BOOTTIME, microseconds.
    pub wall_offset_us: i64,
}

/// A result, numbered.
#[derive(Debug, Clone, PartialEq)]
pub struct Numbered {
    /// Its place in the spool; grows for ever.
    pub position: u64,
    /// Who sampled it.
    pub incarnation: Arc<Incarnation>,
    /// Its number within the incarnation, from 1.
    pub sequence: u64,
    /// CLOCK_BOOTTIME of the sample, microseconds.
    pub sampled_boottime_us: u64,
    /// How long it holds, milliseconds.
    pub ttl_ms: u32,
    /// The answer.
    pub observation: Observation,
}

/// A result as it lies on disk.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct StoredResult {
    #[prost(fixed64, tag = "1")]
    pub(crate) incarnation: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) sequence: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) sampled_boottime_us: u64,
    #[prost(uint32, tag = "4")]
    pub(crate) ttl_ms: u32,
    #[prost(string, tag = "5")]
    pub(crate) component: String,
    #[prost(string, tag = "6")]
    pub(crate) check: String,
    #[prost(uint32, tag = "7")]
    pub(crate) status: u32,
    #[prost(float, optional, tag = "8")]
    pub(crate) progress: Option<f32>,
    #[prost(string, tag = "9")]
    pub(crate) detail: String,
    #[prost(string, repeated, tag = "10")]
    pub(crate) value_names: Vec<String>,
    #[prost(double, repeated, tag = "11")]
    pub(crate) values: Vec<f64>,
}

/// An incarnation as it lies on disk.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct StoredIncarnation {
    #[prost(string, tag = "1")]
    pub(crate) boot_id: String,
    #[prost(sint64, tag = "2")]
    pub(crate) wall_offset_us: i64,
    /// The position of its first result; its last one is before the first of the next incarnation.
    #[prost(uint64, tag = "3")]
    pub(crate) first_position: u64,
}
