//! Finds the programs under test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Where `cargo xtask test` says that the built programs are.
const FOLDER_VARIABLE: &str = "BLACKSTART_BIN_DIR";

/// The path of one of our programs: `blackstart`, `blackstart-agent`, `blackstart-aggregator`.
///
/// `BLACKSTART_BIN_DIR` names the folder; without it all programs are built once per process, so
/// that a plain `cargo test` never runs old ones.
pub fn binary(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let path = FOLDER.get_or_init(folder).join(name);
    assert!(
        path.is_file(),
        "{} does not exist; build it with: cargo build --workspace --bins",
        path.display()
    );
    path
}

fn folder() -> PathBuf {
    if let Some(folder) = std::env::var_os(FOLDER_VARIABLE) {
        return PathBuf::from(folder);
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests are a folder of the workspace");
    let output = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--bins"])
        .args(["-p", "blackstart", "-p", "blackstart-agent"])
        .args(["-p", "blackstart-aggregator"])
        .current_dir(root)
        .output()
        .expect("cargo cannot be run");
    assert!(
        output.status.success(),
        "the programs do not build:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // TARGET/debug/deps/TEST-HASH, or TARGET/debug/TEST for a program.
    let own = std::env::current_exe().expect("the test's own path is known");
    own.ancestors()
        .skip(1)
        .find(|folder| folder.join("blackstart-agent").is_file())
        .expect("the programs are beside the tests")
        .to_path_buf()
}
