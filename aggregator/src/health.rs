//! The gRPC health protocol over components: any stock client can wait for `etcd-1`.

/// Messages and service of `grpc.health.v1`, generated.
#[expect(
    unused_qualifications,
    clippy::allow_attributes_without_reason,
    reason = "generated code; the documentation is in the .proto file"
)]
pub mod v1 {
    tonic::include_proto!("grpc.health.v1");
}

/// The encoded descriptor set, for reflection.
pub(crate) const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/health.bin"));
