//! `postgres.ready`: does PostgreSQL let clients in, and if it is still starting, how far is it?
//!
//! ```toml
//! [probe.orders]
//! kind = "postgres.ready"
//! address = "127.0.0.1:5432"
//! user = "blackstart"                # a role with pg_monitor; without it the server is only knocked at
//! password_file = "/etc/blackstart/postgres-password"
//! database = "orders"                # default: postgres
//! role = "primary"                   # or "standby"; default: any
//! data_dir = "/var/lib/postgresql/15/main"   # on this host: crash recovery is seen with its progress
//! log_file = "/var/log/postgresql/postgresql-15-main.log"   # default: as current_logfiles in data_dir says
//! ```
//!
//! Further keys: `lag_warn` and `lag_fail` (how far a standby is behind: default 60 s and never), `tls` (`off`, `prefer`,
//! `require` or `verify-full`; default `prefer` on loopback and `verify-full` elsewhere), `tls_ca_file`,
//! `tls_certificate_file`, `tls_key_file`.
//!
//! | what it finds | status |
//! | --- | --- |
//! | starting up, crash recovery, the checkpoint behind it | starting; with `data_dir` how far: `crash recovery: redo at 0/4BFE1E10, 58 %` |
//! | connections exhausted (SQLSTATE 53300) · disk full (53100) · damaged pages (XX001) · login refused (28000, 28P01) · no such database (3D000) | failed |
//! | nothing listens | failed, with the last `PANIC` or `FATAL` of its log |
//! | accepts and stays silent | failed: stalled |
//! | standby behind, replay paused, no connection to its primary · 90 % of the connections in use · read-only where a primary is expected · checksum failures · transaction ids run out | degraded, failed where clients are refused |
//!
//! It reads and never writes. Each run opens one connection and ends it: a connection that is kept would take a place
//! when these run out, and would say nothing of whether clients still get in. It asks as an ordinary user does, so that it
//! finds places exhausted when they find it; to look through the superuser's reserve, configure a superuser.
//!
//! Without `user` it does what `pg_isready` does: a start-up packet, and no answer to the question for a password. That tells
//! starting, exhausted and stalled apart; "accepts connections" then says that nobody logged in.

mod judge;
mod knock;
mod recovery;
mod session;
mod wal;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use blackstart_config::{Secret, Section};
use sqlx::postgres::PgSslMode;
use tokio::sync::Semaphore;

use crate::host::HostView;
use crate::net::Address;
use crate::net::address::Host;
use crate::observation::Observation;
use crate::probe::{Deadline, Discovered, Privilege, Probe, ProbeIdentity, ProbeKind, Run, Target};

use judge::{Attempt, Earlier, Limits, Role, Session};
use recovery::{Files, Recovery};

const NAME: &str = "postgres.ready";

/// PostgreSQL's registered port.
const PORT: u16 = 5432;

/// A standby that is this far behind answers with what was true a minute ago: readers notice.
const LAG_WARN: Duration = Duration::from_secs(60);

const LAG: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(30 * 86_400);

/// The registry's entry.
pub static KIND: ProbeKind = ProbeKind {
    name: NAME,
    component_kind: "database",
    summary: "PostgreSQL lets clients in: recovery with its progress, standby lag, connections",
    privilege: Privilege::Helps(
        "the progress of a crash recovery: read the data folder, as its owner or root",
    ),
    interval: Duration::from_secs(10),
    timeout: Duration::from_secs(5),
    configure,
    discover,
    recall: Some(recall),
};

#[derive(Debug)]
struct PostgresReady {
    component: String,
    address: Address,
    login: Option<Login>,
    files: Option<Files>,
    limits: Limits,
    /// A disk that hangs costs one thread, not one for each run.
    reading: Arc<Semaphore>,
    /// What the run before saw of a standby.
    before: Mutex<Option<Before>>,
}

/// What a run remembers of a standby for the next one.
#[derive(Debug, Clone, Copy)]
struct Before {
    at: Instant,
    received: f64,
    /// Since when it has not replayed what it had received a run earlier.
    waits_since: Option<Instant>,
}

/// How a session is opened.
#[derive(Debug)]
struct Login {
    user: String,
    password: Option<Secret>,
    database: String,
    tls: PgSslMode,
    ca_file: Option<PathBuf>,
    certificate: Option<(PathBuf, PathBuf)>,
}

fn configure(section: &mut Section<'_>, identity: &ProbeIdentity) -> Option<Box<dyn Probe>> {
    let address = Address::configure(section, "address", Some(PORT));
    let database = section.string("database").filter(|name| !name.is_empty());
    let user = section.string("user").filter(|name| !name.is_empty());
    let password = section.secret(["password", "password_file", "password_env"]);
    let tls = configure_tls(section, address.as_ref());
    let ca_file = section.path("tls_ca_file");
    let certificate = section
        .path("tls_certificate_file")
        .zip(section.path("tls_key_file"));
    let data_dir = section.path("data_dir");
    let log_file = section.path("log_file");
    let limits = Limits {
        role: configure_role(section)?,
        lag_warn: section.duration("lag_warn", LAG).unwrap_or(LAG_WARN),
        lag_fail: section.duration("lag_fail", LAG),
    };
    if user.is_none() && (password.is_some() || database.is_some()) {
        let key = if database.is_some() {
            "database"
        } else {
            "password_file"
        };
        section.problem(key, "needs a user beside it", "add user = \"…\"");
        return None;
    }
    if let Some(lag_fail) = limits.lag_fail.filter(|&fail| fail <= limits.lag_warn) {
        section.problem(
            "lag_fail",
            "must be above lag_warn",
            &format!("{lag_fail:?} is not above {:?}", limits.lag_warn),
        );
        return None;
    }
    if log_file.is_some() && data_dir.is_none() {
        section.problem("log_file", "needs data_dir beside it", "");
        return None;
    }
    let tls = tls?;
    let login = user.map(|user| Login {
        user,
        password,
        database: database.unwrap_or_else(|| "postgres".to_owned()),
        tls,
        ca_file,
        certificate,
    });
    Some(Box::new(PostgresReady {
        component: identity.component.clone(),
        address: address?,
        login,
        files: data_dir.map(|data_dir| Files {
            root: "/".into(),
            data_dir,
            log_file,
        }),
        limits,
        reading: Arc::new(Semaphore::new(1)),
        before: Mutex::default(),
    }))
}

fn configure_role(section: &mut Section<'_>) -> Option<Role> {
    match section.string("role").as_deref() {
        None | Some("any") => Some(Role::Any),
        Some("primary") => Some(Role::Primary),
        Some("standby") => Some(Role::Standby),
        Some(_) => {
            section.problem("role", "expected \"primary\", \"standby\" or \"any\"", "");
            None
        }
    }
}

fn configure_tls(section: &mut Section<'_>, address: Option<&Address>) -> Option<PgSslMode> {
    match section.string("tls").as_deref() {
        Some("off") => Some(PgSslMode::Disable),
        Some("prefer") => Some(PgSslMode::Prefer),
        Some("require") => Some(PgSslMode::Require),
        Some("verify-full") => Some(PgSslMode::VerifyFull),
        Some(_) => {
            section.problem(
                "tls",
                "expected \"off\", \"prefer\", \"require\" or \"verify-full\"",
                "",
            );
            None
        }
        None => {
            let loopback = address.is_some_and(|address| match &address.host {
                Host::Literal(ip) => ip.is_loopback(),
                Host::Name(name) => name == "localhost",
            });
            Some(if loopback {
                PgSslMode::Prefer
            } else {
                PgSslMode::VerifyFull
            })
        }
    }
}

impl Probe for PostgresReady {
    fn targets(&self) -> Vec<Target> {
        vec![Target {
            component: self.component.clone(),
            check: NAME,
        }]
    }

    fn run(&self, deadline: Deadline) -> Run<'_> {
        Box::pin(async move {
            let mut attempt = match &self.login {
                Some(login) => session::open(&self.address, login, deadline).await,
                None => knock::knock(&self.address, deadline).await,
            };
            if let Attempt::Session(session) = &mut attempt {
                self.compare_with_before(session, Instant::now());
            }
            let recovery = if attempt.is_outside() {
                self.recovery(deadline).await
            } else {
                None
            };
            vec![Observation {
                component: self.component.clone(),
                check: NAME.into(),
                finding: judge::judge(&attempt, recovery.as_ref(), &self.limits),
            }]
        })
    }
}

impl PostgresReady {
    /// Sees whether a standby has replayed what it had received at the run before, and remembers for the next.
    fn compare_with_before(&self, session: &mut Session, now: Instant) {
        let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(standby) = &mut session.standby else {
            *before = None;
            return;
        };
        let Some((received, replayed)) = standby.received.zip(standby.replayed) else {
            return;
        };
        let mut waits_since = None;
        if let Some(before) = *before {
            standby.earlier = if replayed < before.received {
                let since = before.waits_since.unwrap_or(before.at);
                waits_since = Some(since);
                Earlier::WaitsFor(now.saturating_duration_since(since))
            } else {
                Earlier::Replayed
            };
        }
        *before = Some(Before {
            at: now,
            received,
            waits_since,
        });
    }

    async fn recovery(&self, deadline: Deadline) -> Option<Recovery> {
        let files = self.files.clone()?;
        let permit = Arc::clone(&self.reading).try_acquire_owned().ok()?;
        let reading = tokio::task::spawn_blocking(move || {
            let _held_until_the_thread_is_free = permit;
            Recovery::read(&files)
        });
        deadline
            .limit("reading the data folder", reading)
            .await
            .ok()?
            .ok()
    }
}

fn discover(view: &HostView, host: &str) -> Vec<Discovered> {
    let mut found: Vec<Discovered> = Vec::new();
    for listener in &view.listening {
        // Debian's and others' name for the postmaster; a backend never listens.
        if !matches!(listener.process.as_deref(), Some("postgres" | "postmaster")) {
            continue;
        }
        let address = listener.reachable_at();
        let data_dir = data_dir(&listener.arguments);
        let server = found_server(address, data_dir, host, &view.root);
        if !found
            .iter()
            .any(|other| other.component == server.component)
        {
            found.push(server);
        }
    }
    found
}

/// A server that nobody configured.
fn found_server(
    address: SocketAddr,
    data_dir: Option<PathBuf>,
    host: &str,
    root: &Path,
) -> Discovered {
    let component = format!("{host}/postgres:{}", address.port());
    let folder = data_dir.as_deref().and_then(Path::to_str);
    let folder = folder.map_or_else(String::new, |folder| format!(" {folder}"));
    Discovered {
        component: component.clone(),
        component_kind: KIND.component_kind,
        in_host: true,
        uses: Vec::new(),
        trace: Some(format!("{address}{folder}")),
        probe: Box::new(PostgresReady {
            component,
            address: Address {
                host: Host::Literal(address.ip()),
                port: address.port(),
            },
            login: None,
            files: data_dir.map(|data_dir| Files {
                root: root.to_path_buf(),
                data_dir,
                log_file: None,
            }),
            limits: Limits {
                role: Role::Any,
                lag_warn: LAG_WARN,
                lag_fail: None,
            },
            reading: Arc::new(Semaphore::new(1)),
            before: Mutex::default(),
        }),
    }
}

/// The address, and the data folder where it is known.
fn recall(trace: &str, host: &str) -> Option<Discovered> {
    let (address, data_dir) = match trace.split_once(' ') {
        Some((address, folder)) => (address, Some(PathBuf::from(folder))),
        None => (trace, None),
    };
    let address = address.parse().ok()?;
    Some(found_server(address, data_dir, host, Path::new("/")))
}

/// The data folder of `postgres -D FOLDER`.
fn data_dir(arguments: &[String]) -> Option<PathBuf> {
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let Some(rest) = argument.strip_prefix("-D") else {
            continue;
        };
        let folder = if rest.is_empty() {
            arguments.next()?.as_str()
        } else {
            rest
        };
        return Some(PathBuf::from(folder)).filter(|folder| folder.is_absolute());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Listener;

    #[test]
    fn the_data_folder_is_among_the_arguments() {
        let of = |arguments: &[&str]| {
            data_dir(
                &arguments
                    .iter()
                    .map(|&text| text.to_owned())
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!(of(&["postgres", "-D", "/data"]), Some("/data".into()));
        assert_eq!(
            of(&["postgres", "-D/data", "-c", "x=y"]),
            Some("/data".into())
        );
        assert_eq!(of(&["postgres", "-D", "relative"]), None);
        assert_eq!(of(&["postgres", "-D"]), None);
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn a_postmaster_is_discovered_once() {
        let listener = |address: &str| Listener {
            address: address.parse().unwrap(),
            process: Some("postgres".to_owned()),
            pid: Some(7),
            arguments: Vec::new(),
        };
        let view = HostView {
            listening: vec![listener("0.0.0.0:5432"), listener("[::]:5432")],
            ..HostView::default()
        };
        let found: Vec<_> = discover(&view, "h")
            .into_iter()
            .map(|found| found.component)
            .collect();
        assert_eq!(found, ["h/postgres:5432"]);
    }
}
