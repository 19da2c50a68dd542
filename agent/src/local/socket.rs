//! The socket in the state folder: its own, readable by its user alone, gone at the end.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use blackstart_proto::transport::{LocalError, local_socket};
use futures::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::transport::server::Connected;

/// Who may ask: the agent's user and root. Details of what is probed are nobody else's.
const MODE: u32 = 0o600;

/// Connections at a time; more wait in the kernel. Callers ask and go, boot scripts watch.
const CONNECTIONS_MAX: usize = 32;

/// The pause after a failed `accept` (too many open files, say), which would else spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The name under which the socket gets its mode before anybody can reach it; not longer than its own.
const NEW: &str = "agent.new";

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub(super) enum SocketError {
    #[error(transparent)]
    Path(#[from] LocalError),
    #[error("an agent answers on {} already", .0.display())]
    InUse(PathBuf),
    #[error("{} is there and is no socket; move it away", .0.display())]
    NotASocket(PathBuf),
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
}

/// The socket's file, which goes away with this value.
#[derive(Debug)]
pub(super) struct Socket {
    path: PathBuf,
    inode: u64,
}

impl Socket {
    /// Listens in the state folder. What a dead process left there is replaced.
    pub(super) fn bind(state_dir: &Path) -> Result<(Self, Connections), SocketError> {
        let path = local_socket(state_dir)?;
        let file = |source| SocketError::File {
            path: path.clone(),
            source,
        };
        match fs::symlink_metadata(&path) {
            Ok(metadata) if !metadata.file_type().is_socket() => {
                return Err(SocketError::NotASocket(path));
            }
            Ok(_) if std::os::unix::net::UnixStream::connect(&path).is_ok() => {
                return Err(SocketError::InUse(path));
            }
            _ => {}
        }
        let new = state_dir.join(NEW);
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(file(error)),
            _ => {}
        }
        let listener = UnixListener::bind(&new).map_err(file)?;
        fs::set_permissions(&new, fs::Permissions::from_mode(MODE)).map_err(file)?;
        fs::rename(&new, &path).map_err(file)?;
        let inode = fs::symlink_metadata(&path).map_err(file)?.ino();
        let connections = Connections {
            listener,
            room: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            pause: None,
        };
        Ok((Self { path, inode }, connections))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Another agent may have put its own there.
        if fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            fs::remove_file(&self.path).unwrap_or(());
        }
    }
}

/// The connections, for tonic. Ends never.
#[derive(Debug)]
pub(super) struct Connections {
    listener: UnixListener,
    room: Arc<Semaphore>,
    pause: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Stream for Connections {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(pause) = &mut self.pause {
                std::task::ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            let Ok(permit) = self.room.clone().try_acquire_owned() else {
                self.pause = Some(Box::pin(tokio::time::sleep(ACCEPT_PAUSE)));
                continue;
            };
            match std::task::ready!(self.listener.poll_accept(cx)) {
                Ok((stream, _)) => {
                    return Poll::Ready(Some(Ok(Connection {
                        stream,
                        _permit: permit,
                    })));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept on the local socket");
                    self.pause = Some(Box::pin(tokio::time::sleep(ACCEPT_PAUSE)));
                }
            }
        }
    }
}

/// One of at most [`CONNECTIONS_MAX`].
#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    _permit: OwnedSemaphorePermit,
}

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use tempfile::TempDir;

    use super::*;

    #[tokio::test]
    async fn a_dead_process_leaves_a_socket_that_is_replaced_and_a_living_one_does_not() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("agent.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let (socket, _connections) = Socket::bind(folder.path()).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, MODE);
        let second = Socket::bind(folder.path()).unwrap_err();
        assert!(matches!(second, SocketError::InUse(_)), "{second}");
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_file_of_somebody_is_left_alone() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("agent.sock");
        fs::write(&path, "mine").unwrap();
        let error = Socket::bind(folder.path()).unwrap_err();
        assert!(
            error.to_string().ends_with("is no socket; move it away"),
            "{error}"
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    }

    #[tokio::test]
    async fn connections_are_bounded_and_one_that_ends_makes_room() {
        let folder = TempDir::new().unwrap();
        let (_socket, mut connections) = Socket::bind(folder.path()).unwrap();
        let path = folder.path().join("agent.sock");
        let mut callers = Vec::new();
        let mut accepted = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            callers.push(UnixStream::connect(&path).await.unwrap());
            accepted.push(connections.next().await.unwrap().unwrap());
        }
        callers.push(UnixStream::connect(&path).await.unwrap());
        assert!(futures::poll!(connections.next()).is_pending());
        accepted.pop();
        assert!(connections.next().await.unwrap().is_ok());
    }
}
