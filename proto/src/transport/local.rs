//! The socket on which an agent answers on its own host: where it is, and the way to it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};

/// The socket's name in the agent's state folder.
const NAME: &str = "agent.sock";

/// The longest path of a socket: 108 bytes with the zero behind it (unix(7), `sun_path`).
pub const SOCKET_PATH_BYTES_MAX: usize = 107;

/// How long an agent may take to accept: it is on this host, or it does not run.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// Why an agent cannot be asked on its host.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The path does not fit into a socket's address.
    #[error(
        "the path {} has {} bytes, and a socket's has {SOCKET_PATH_BYTES_MAX} at most; choose a shorter state_dir",
        .0.display(), .0.as_os_str().len()
    )]
    PathTooLong(PathBuf),
    /// There is no socket.
    #[error("there is no {}: no agent runs with this state folder", .0.display())]
    Absent(PathBuf),
    /// There is one, and nobody listens.
    #[error("nobody listens on {}: the agent ended without a word", .0.display())]
    Deserted(PathBuf),
    /// It is somebody else's.
    #[error("{} may not be opened by this user; ask as root or as the agent's user", .0.display())]
    Forbidden(PathBuf),
    /// It accepts nobody.
    #[error("{}: no answer within {} s", .0.display(), CONNECT_MAX.as_secs())]
    TimedOut(PathBuf),
    /// Anything else.
    #[error("cannot ask on {}: {problem}", path.display())]
    Other {
        /// The socket.
        path: PathBuf,
        /// Why.
        problem: String,
    },
}

/// The socket of an agent with this state folder.
///
/// # Errors
/// [`LocalError::PathTooLong`].
pub fn local_socket(state_dir: &Path) -> Result<PathBuf, LocalError> {
    let path = state_dir.join(NAME);
    if path.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
        return Err(LocalError::PathTooLong(path));
    }
    Ok(path)
}

/// Connects to the agent with this state folder.
///
/// # Errors
/// [`LocalError`] that says whether no agent runs there or this user may not ask it.
pub async fn connect_local(state_dir: &Path) -> Result<Channel, LocalError> {
    let path = local_socket(state_dir)?;
    let again = path.clone();
    let connector = tower::service_fn(move |_: Uri| {
        let path = again.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    // The first attempt by hand: its error is exact.
    match tokio::time::timeout(CONNECT_MAX, UnixStream::connect(&path)).await {
        Err(_) => return Err(LocalError::TimedOut(path)),
        Ok(Err(error)) => return Err(refused(path, &error)),
        Ok(Ok(_)) => {}
    }
    // The address is the path above; tonic wants some name.
    Endpoint::from_static("http://agent")
        .connect_timeout(CONNECT_MAX)
        .connect_with_connector(connector)
        .await
        .map_err(|error| LocalError::Other {
            path,
            problem: super::reload::chain(&error),
        })
}

fn refused(path: PathBuf, error: &io::Error) -> LocalError {
    match error.kind() {
        io::ErrorKind::NotFound => LocalError::Absent(path),
        io::ErrorKind::ConnectionRefused => LocalError::Deserted(path),
        io::ErrorKind::PermissionDenied => LocalError::Forbidden(path),
        _ => LocalError::Other {
            path,
            problem: error.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_measured_with_the_name_of_the_socket() {
        let longest = "/".to_owned() + &"a".repeat(SOCKET_PATH_BYTES_MAX - NAME.len() - 2);
        assert!(local_socket(Path::new(&longest)).is_ok());
        let error = local_socket(Path::new(&(longest + "a"))).unwrap_err();
        assert!(error.to_string().contains("108 bytes"), "{error}");
    }

    #[tokio::test]
    async fn who_is_not_there_is_told_apart() {
        let folder = tempfile::TempDir::new().unwrap();
        let absent = connect_local(folder.path()).await.unwrap_err();
        assert!(matches!(absent, LocalError::Absent(_)), "{absent}");
        drop(std::os::unix::net::UnixListener::bind(folder.path().join(NAME)).unwrap());
        let deserted = connect_local(folder.path()).await.unwrap_err();
        assert!(matches!(deserted, LocalError::Deserted(_)), "{deserted}");
    }
}
