//! Asks systemd, over its private socket or the system bus.
//!
//! Root goes by the private socket: it answers while the bus is down, which is when one wants to know. Everybody else
//! goes by the bus. Only properties are read and units are listed; nothing is started or stopped.

use std::io;
use std::path::{Path, PathBuf};

use tokio::net::UnixStream;
use tokio::sync::Mutex;
use zbus::zvariant::DynamicType;
use zbus::{OwnedObjectPath, OwnedVariant};

use crate::net::connect::reason;
use crate::observation::Finding;
use crate::probe::{Deadline, TimedOut};

const DESTINATION: &str = "org.freedesktop.systemd1";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
pub(super) const UNIT: &str = "org.freedesktop.systemd1.Unit";
pub(super) const SERVICE: &str = "org.freedesktop.systemd1.Service";

const PRIVATE_SOCKET: &str = "/run/systemd/private";
const BUS_SOCKET: &str = "/run/dbus/system_bus_socket";

/// systemd, and the connection to it that is kept between runs.
#[derive(Debug, Default)]
pub(super) struct Systemd {
    /// Its private socket where it is not in the usual place.
    pub(super) socket: Option<PathBuf>,
    connection: Mutex<Option<zbus::Connection>>,
}

/// Why systemd cannot be asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum SystemdError {
    #[error("systemd is not running here: {} is not there", path.display())]
    Absent { path: PathBuf },
    #[error("systemd may not be asked: {reason}")]
    Forbidden { reason: String },
    #[error("systemd does not answer: {0}")]
    Silent(#[from] TimedOut),
    #[error("systemd does not answer: {reason}")]
    Broken { reason: String },
    /// systemd answered that there is no such thing.
    #[error("systemd says: {reason}")]
    Refused { reason: String },
}

impl SystemdError {
    /// Failed where systemd itself is at fault, unknown where it cannot be asked from here.
    pub(super) fn finding(&self) -> Finding {
        match self {
            Self::Absent { .. } | Self::Forbidden { .. } | Self::Refused { .. } => {
                Finding::unknown(self.to_string())
            }
            Self::Silent(_) | Self::Broken { .. } => Finding::failed(self.to_string()),
        }
    }
}

impl From<zbus::Error> for SystemdError {
    fn from(error: zbus::Error) -> Self {
        match error {
            zbus::Error::MethodError(name, text, _) => {
                let reason = text.unwrap_or_else(|| name.to_string());
                if name.as_str() == "org.freedesktop.DBus.Error.AccessDenied" {
                    Self::Forbidden { reason }
                } else {
                    Self::Refused { reason }
                }
            }
            zbus::Error::InputOutput(error) => from_io(&error, Path::new(PRIVATE_SOCKET)),
            other => Self::Broken {
                reason: other.to_string(),
            },
        }
    }
}

fn from_io(error: &io::Error, path: &Path) -> SystemdError {
    match error.kind() {
        io::ErrorKind::NotFound => SystemdError::Absent {
            path: path.to_owned(),
        },
        io::ErrorKind::PermissionDenied => SystemdError::Forbidden {
            reason: reason(error),
        },
        _ => SystemdError::Broken {
            reason: reason(error),
        },
    }
}

/// A unit of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ListedUnit {
    pub(super) name: String,
    pub(super) active: String,
    pub(super) sub: String,
    pub(super) path: OwnedObjectPath,
}

/// systemd's answer to `ListUnitsFiltered`, `a(ssssssouso)`.
type UnitRow = (
    String,
    String,
    String,
    String,
    String,
    String,
    OwnedObjectPath,
    u32,
    String,
    OwnedObjectPath,
);

/// A session of one run.
#[derive(Debug)]
pub(super) struct Session {
    connection: zbus::Connection,
    deadline: Deadline,
}

impl Systemd {
    pub(super) fn at(socket: Option<PathBuf>) -> Self {
        Self {
            socket,
            connection: Mutex::default(),
        }
    }

    /// A connection that works: the one of the last run, or a new one. systemd drops its private connections when it
    /// executes itself anew, so the kept one is tried with a question first.
    pub(super) async fn session(&self, deadline: Deadline) -> Result<Session, SystemdError> {
        let mut kept = deadline
            .limit("waiting for another run", self.connection.lock())
            .await?;
        if let Some(connection) = kept.take() {
            let session = Session {
                connection,
                deadline,
            };
            if session.manager_property::<String>("Version").await.is_ok() {
                *kept = Some(session.connection.clone());
                return Ok(session);
            }
        }
        let connection = self.connect(deadline).await?;
        *kept = Some(connection.clone());
        Ok(Session {
            connection,
            deadline,
        })
    }

    async fn connect(&self, deadline: Deadline) -> Result<zbus::Connection, SystemdError> {
        if let Some(path) = &self.socket {
            return private(path, deadline).await;
        }
        if rustix::process::geteuid().is_root() {
            match private(Path::new(PRIVATE_SOCKET), deadline.share(0.5)).await {
                // Without its private socket the bus may still know it: a user's manager, an odd layout.
                Err(SystemdError::Absent { .. }) => {}
                other => return other,
            }
        }
        let path = Path::new(BUS_SOCKET);
        let stream = open(path, deadline).await?;
        let builder = zbus::connection::Builder::unix_stream(stream);
        Ok(deadline
            .limit("greeting the system bus", builder.build())
            .await??)
    }
}

async fn private(path: &Path, deadline: Deadline) -> Result<zbus::Connection, SystemdError> {
    let stream = open(path, deadline).await?;
    let builder = zbus::connection::Builder::unix_stream(stream).p2p();
    Ok(deadline
        .limit("greeting systemd", builder.build())
        .await??)
}

async fn open(
    path: &Path,
    deadline: Deadline,
) -> Result<std::os::unix::net::UnixStream, SystemdError> {
    let stream = deadline
        .limit("connecting", UnixStream::connect(path))
        .await?
        .and_then(UnixStream::into_std)
        .map_err(|error| from_io(&error, path))?;
    Ok(stream)
}

impl Session {
    async fn call<B, R>(
        &self,
        path: &str,
        interface: &str,
        method: &str,
        body: &B,
    ) -> Result<R, SystemdError>
    where
        B: serde::Serialize + DynamicType + Sync,
        R: serde::de::DeserializeOwned + zbus::zvariant::Type,
    {
        let call =
            self.connection
                .call_method(Some(DESTINATION), path, Some(interface), method, body);
        let reply = self.deadline.limit("waiting for systemd", call).await??;
        Ok(reply.body().deserialize()?)
    }

    /// A property of an object; an error where the type is another.
    pub(super) async fn property<T>(
        &self,
        path: &str,
        interface: &str,
        name: &str,
    ) -> Result<T, SystemdError>
    where
        T: TryFrom<OwnedVariant>,
    {
        let value: OwnedVariant = self
            .call(
                path,
                "org.freedesktop.DBus.Properties",
                "Get",
                &(interface, name),
            )
            .await?;
        T::try_from(value).map_err(|_| SystemdError::Broken {
            reason: format!("{name} is of another type"),
        })
    }

    /// A property of the manager.
    pub(super) async fn manager_property<T: TryFrom<OwnedVariant>>(
        &self,
        name: &str,
    ) -> Result<T, SystemdError> {
        self.property(MANAGER_PATH, MANAGER, name).await
    }

    /// The units in one of these states.
    pub(super) async fn units(&self, states: &[&str]) -> Result<Vec<ListedUnit>, SystemdError> {
        let rows: Vec<UnitRow> = self
            .call(MANAGER_PATH, MANAGER, "ListUnitsFiltered", &(states,))
            .await?;
        Ok(rows
            .into_iter()
            .map(|(name, _, _, active, sub, _, path, _, _, _)| ListedUnit {
                name,
                active,
                sub,
                path,
            })
            .collect())
    }

    /// The units whose jobs run now; others wait for them.
    pub(super) async fn running_jobs(&self) -> Result<Vec<String>, SystemdError> {
        let jobs: Vec<(
            u32,
            String,
            String,
            String,
            OwnedObjectPath,
            OwnedObjectPath,
        )> = self.call(MANAGER_PATH, MANAGER, "ListJobs", &()).await?;
        Ok(jobs
            .into_iter()
            .filter(|(_, _, _, state, _, _)| state == "running")
            .map(|(_, unit, _, _, _, _)| unit)
            .collect())
    }

    /// The object of a unit, whether it is loaded or not.
    pub(super) async fn unit(&self, name: &str) -> Result<OwnedObjectPath, SystemdError> {
        self.call(MANAGER_PATH, MANAGER, "LoadUnit", &(name,)).await
    }
}

/// How long ago a moment of `CLOCK_MONOTONIC` was, as systemd stamps changes of state. Zero stands for never.
pub(super) fn seconds_since(monotonic_us: u64) -> Option<u64> {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let now_s = u64::try_from(now.tv_sec).ok()?;
    (monotonic_us > 0).then(|| now_s.saturating_sub(monotonic_us / 1_000_000))
}
