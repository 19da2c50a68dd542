//! The protocol between Blackstart's parts: messages, versions, limits, transport.
//!
//! The meaning of every message is written beside it in `proto/blackstart/v1/*.proto`; this
//! crate adds what both ends must agree on and cannot be said there. It knows no other crate of
//! the workspace.

pub mod limits;
pub mod transport;
pub mod version;

/// Messages and services of `blackstart.v1`, generated.
#[expect(
    missing_docs,
    unused_qualifications,
    clippy::allow_attributes_without_reason,
    reason = "generated code; the documentation is in the .proto files"
)]
pub mod v1 {
    tonic::include_proto!("blackstart.v1");
}

/// The encoded descriptor set of `blackstart.v1`, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
