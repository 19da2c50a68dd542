//! What the tests share: folders, ports, processes, patience, certificates and real servers.
//!
//! Every fixture keeps what it made inside its own folder, waits on conditions and never on time,
//! and ends what it started when it is dropped, and also when the test itself is killed.
//!
//! Not here: the tests. They are in `tests/tests/`, few binaries with many modules, because each
//! binary links everything.
#![expect(
    clippy::expect_used,
    reason = "a fixture that cannot do its work fails the test that asked for it, with the reason"
)]

pub mod binaries;
pub mod certificates;
pub mod daemon;
pub mod home;
pub mod mounts;
pub mod ports;
pub mod servers;
pub mod wait;

pub use binaries::binary;
pub use certificates::Certificates;
pub use daemon::{Daemon, unprivileged};
pub use home::TempHome;
pub use mounts::inside_own_mounts;
pub use ports::{Port, free_port};
pub use wait::{eventually, wait_for, wait_until};
