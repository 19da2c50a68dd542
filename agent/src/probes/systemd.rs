//! Asks systemd, over its private socket or the system bus.
//!
//! Root goes by the private socket: it answers while the bus is down, which is when one wants to know. Everybody else
//! goes by the bus. Only properties are read and units are listed; nothing is started or stopped.

use std::io;
use std::path::{Path, PathBuf};

use zbus::{DynamicType, OwnedObjectPath, OwnedVariant};

use crate::net::bus::{Bus, BusError, Method};
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

/// Where systemd is asked.
#[derive(Debug, Default)]
pub(super) struct Systemd {
    /// Its private socket where it is not in the usual place.
    socket: Option<PathBuf>,
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

fn told_apart(error: BusError, socket: &Path) -> SystemdError {
    match error {
        BusError::Io(error) => match error.kind() {
            io::ErrorKind::NotFound => SystemdError::Absent {
                path: socket.to_owned(),
            },
            io::ErrorKind::PermissionDenied => SystemdError::Forbidden {
                reason: reason(&error),
            },
            _ => SystemdError::Broken {
                reason: reason(&error),
            },
        },
        BusError::NotLetIn => SystemdError::Forbidden {
            reason: error.to_string(),
        },
        BusError::TimedOut(timed_out) => SystemdError::Silent(timed_out),
        BusError::Answered { name, text } if name == "org.freedesktop.DBus.Error.AccessDenied" => {
            SystemdError::Forbidden { reason: text }
        }
        BusError::Answered { name, text } => SystemdError::Refused {
            reason: if text.is_empty() { name } else { text },
        },
        BusError::Protocol(_) => SystemdError::Broken {
            reason: error.to_string(),
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
    bus: Bus,
    socket: PathBuf,
    deadline: Deadline,
}

impl Systemd {
    pub(super) fn at(socket: Option<PathBuf>) -> Self {
        Self { socket }
    }

    /// Connects.
    pub(super) async fn session(&self, deadline: Deadline) -> Result<Session, SystemdError> {
        let private = self.socket.as_deref().unwrap_or(Path::new(PRIVATE_SOCKET));
        let as_root = rustix::process::geteuid().is_root() && private.exists();
        let (socket, connected) = if as_root || self.socket.is_some() {
            (private, Bus::peer(private, deadline).await)
        } else {
            let socket = Path::new(BUS_SOCKET);
            (socket, Bus::bus(socket, deadline).await)
        };
        let bus = connected.map_err(|error| told_apart(error, socket))?;
        Ok(Session {
            bus,
            socket: socket.to_owned(),
            deadline,
        })
    }
}

impl Session {
    async fn call<B, R>(
        &mut self,
        path: &str,
        interface: &str,
        member: &str,
        arguments: &B,
    ) -> Result<R, SystemdError>
    where
        B: serde::Serialize + DynamicType + Sync,
        R: serde::de::DeserializeOwned + zbus::Type,
    {
        let method = Method {
            destination: DESTINATION,
            path,
            interface,
            member,
        };
        let answer = self.bus.call(method, arguments, self.deadline).await;
        answer.map_err(|error| told_apart(error, &self.socket))
    }

    /// A property of an object; an error where the type is another.
    pub(super) async fn property<T>(
        &mut self,
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
        &mut self,
        name: &str,
    ) -> Result<T, SystemdError> {
        self.property(MANAGER_PATH, MANAGER, name).await
    }

    /// The units in one of these states.
    pub(super) async fn units(&mut self, states: &[&str]) -> Result<Vec<ListedUnit>, SystemdError> {
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
    pub(super) async fn running_jobs(&mut self) -> Result<Vec<String>, SystemdError> {
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
    pub(super) async fn unit(&mut self, name: &str) -> Result<OwnedObjectPath, SystemdError> {
        self.call(MANAGER_PATH, MANAGER, "LoadUnit", &(name,)).await
    }
}

/// How long ago a moment of `CLOCK_MONOTONIC` was, as systemd stamps changes of state. Zero stands for never.
pub(super) fn seconds_since(monotonic_us: u64) -> Option<u64> {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let now_s = u64::try_from(now.tv_sec).ok()?;
    (monotonic_us > 0).then(|| now_s.saturating_sub(monotonic_us / 1_000_000))
}
