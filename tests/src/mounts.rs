//! A mount namespace of a test's own: what is mounted there is seen by nobody else and ends with the process.

use std::process::Command;

const INSIDE: &str = "BLACKSTART_TEST_INSIDE";

/// Whether this process is in a mount namespace of its own. If not, starts this one test again in one, waits for its end
/// and passes its failure on; the caller then has nothing more to do.
///
/// # Panics
/// When the test failed in there, or without the right to mount.
#[must_use]
pub fn inside_own_mounts(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let program = std::env::current_exe().expect("a running program has a path");
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private"])
        .arg(program)
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare runs");
    assert!(
        output.status.success() && String::from_utf8_lossy(&output.stdout).contains("1 passed"),
        "{}\n{}\nmounting needs root: run the tests as root",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    false
}
