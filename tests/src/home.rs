//! A folder of its own for each test, usable by servers that run as somebody else.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::daemon::NOBODY;

/// A folder that is gone when the test ends.
#[derive(Debug)]
pub struct TempHome(TempDir);

impl TempHome {
    /// A new folder whose name says which test it belongs to.
    ///
    /// # Panics
    /// When the folder for temporary files cannot be written.
    pub fn new(name: &str) -> Self {
        let folder = tempfile::Builder::new()
            .prefix(&format!("blackstart-{name}-"))
            .tempdir()
            .expect("the folder for temporary files can be written");
        // Servers that run as nobody have to get through to their own folder.
        set_mode(folder.path(), 0o755);
        Self(folder)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// A path in it.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.path().join(name)
    }

    /// A folder in it that belongs to the user that [`crate::unprivileged`] runs servers as.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn server_folder(&self, name: &str) -> PathBuf {
        let path = self.join(name);
        std::fs::create_dir_all(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        set_mode(&path, 0o700);
        give_to_server(&path);
        path
    }

    /// Writes a file, whole and at once, as a careful editor does; its mode is 0600.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.join(name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        }
        let mut new = path.clone().into_os_string();
        new.push(".new");
        std::fs::write(&new, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        set_mode(Path::new(&new), 0o600);
        std::fs::rename(&new, &path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }
}

/// Gives a file or folder to the user that servers run as; nothing to do unless we are root.
///
/// # Panics
/// When the owner cannot be changed.
pub fn give_to_server(path: &Path) {
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY))
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
