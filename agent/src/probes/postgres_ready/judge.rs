//! The verdict on a PostgreSQL server. Pure.

use std::time::Duration;

use super::recovery::Recovery;
use crate::net::connect::ConnectFailure;
use crate::observation::Finding;
use crate::probe::TimedOut;

/// Nearly all places taken: the next burst of clients is turned away.
const CONNECTIONS_WARN: f64 = 0.9;

/// From here on PostgreSQL itself vacuums with all means (`vacuum_failsafe_age`).
const TRANSACTION_AGE_WARN: f64 = 1_600_000_000.0;

/// Three million before the end of the 2³¹ transaction ids it refuses to hand out more (`xidStopLimit`).
const TRANSACTION_AGE_FAIL: f64 = 2_144_483_647.0;

/// Done but for the checkpoint: no server in recovery lets clients in.
const PROGRESS_MAX: f64 = 0.99;

/// What the server is expected to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Either will do.
    Any,
    /// It takes writes.
    Primary,
    /// It follows a primary.
    Standby,
}

/// The limits of the verdict.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Limits {
    pub(super) role: Role,
    pub(super) lag_warn: Duration,
    pub(super) lag_fail: Option<Duration>,
}

/// How far the probe got.
#[derive(Debug)]
pub(super) enum Attempt {
    /// Logged in and asked.
    Session(Session),
    /// It wants a login, and none is configured.
    Greeted,
    /// It says no.
    Refused(ServerError),
    /// There is no connection.
    Unreached(ConnectFailure),
    /// It accepts and stays silent.
    Silent(TimedOut),
    /// Something else went wrong; the words say what.
    Broken(String),
    /// The probe could not ask.
    Local(String),
}

/// An error that the server sent.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ServerError {
    /// The SQLSTATE.
    pub(super) code: String,
    pub(super) message: String,
    pub(super) detail: String,
}

/// What a session told.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Session {
    pub(super) login_ms: f64,
    /// Absent on a primary.
    pub(super) standby: Option<Standby>,
    /// `default_transaction_read_only`.
    pub(super) read_only: bool,
    pub(super) connections: f64,
    pub(super) connections_max: f64,
    pub(super) connections_reserved: f64,
    pub(super) checksum_failures: f64,
    pub(super) oldest_transaction_age: f64,
    pub(super) uptime_s: f64,
    /// How many standbys are connected.
    pub(super) standbys: Option<f64>,
}

/// What a standby told.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Standby {
    /// Connections to its primary: one, or none.
    pub(super) receivers: f64,
    pub(super) replay_paused: bool,
    /// How many bytes of the log it has received and replayed, ever; absent without streaming.
    pub(super) received: Option<f64>,
    pub(super) replayed: Option<f64>,
    /// Since the commit of the last transaction that was replayed; grows on an idle primary, too.
    pub(super) last_replay_s: Option<f64>,
    /// What became of that which had been received at the run before.
    pub(super) earlier: Earlier,
}

/// What became of that which a standby had received at the run before. Log that came in a moment ago is never
/// replayed yet, and says nothing of how far a standby is behind.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) enum Earlier {
    /// There was no run before.
    #[default]
    Unknown,
    /// It is replayed.
    Replayed,
    /// It is not, and so it has been for that long.
    WaitsFor(Duration),
}

impl Attempt {
    /// Whether nobody gets in, so that a look at the data folder may tell more.
    pub(super) fn is_outside(&self) -> bool {
        match self {
            Self::Refused(error) => error.code == "57P03",
            Self::Unreached(failure) => !failure.is_local(),
            Self::Silent(_) | Self::Broken(_) => true,
            Self::Session(_) | Self::Greeted | Self::Local(_) => false,
        }
    }
}

pub(super) fn judge(attempt: &Attempt, recovery: Option<&Recovery>, limits: &Limits) -> Finding {
    match attempt {
        Attempt::Session(session) => with_values(inside(session, limits), session),
        Attempt::Greeted => {
            Finding::ok("accepts connections; nobody logged in, as no user is configured")
        }
        Attempt::Refused(error) => refused(error, recovery, limits),
        Attempt::Unreached(failure) => with_last_words(failure.finding(), recovery),
        Attempt::Silent(timed_out) => {
            Finding::failed(format!("stalled: connects, but is silent: {timed_out}"))
        }
        Attempt::Broken(words) => with_last_words(Finding::failed(words.as_str()), recovery),
        Attempt::Local(words) => Finding::unknown(words.as_str()),
    }
}

/// Meanings of SQLSTATE are those of PostgreSQL's manual, appendix A; the texts may be in any language.
fn refused(error: &ServerError, recovery: Option<&Recovery>, limits: &Limits) -> Finding {
    let ServerError { code, message, .. } = error;
    match code.as_str() {
        "57P03" => cannot_connect_now(error, recovery, limits),
        "53300" => Finding::failed(format!("connections exhausted: {message}")),
        "53100" => Finding::failed(format!("disk full: {message}")),
        "53200" => Finding::failed(format!("out of memory: {message}")),
        "28000" | "28P01" => Finding::failed(format!("locked out: {message}")),
        "3D000" => Finding::failed(message.as_str()),
        "XX001" | "XX002" => Finding::failed(format!("data damaged: {message}")),
        "57P01" | "57P02" => Finding::failed(format!("shutting down: {message}")),
        _ => Finding::failed(format!("{message} (SQLSTATE {code})")),
    }
}

fn cannot_connect_now(
    error: &ServerError,
    recovery: Option<&Recovery>,
    limits: &Limits,
) -> Finding {
    if error.message.contains("shutting down") || recovery.is_some_and(Recovery::is_stopping) {
        return Finding::failed(error.message.as_str());
    }
    if error.detail.contains("Hot standby mode is disabled") {
        let words = "a standby that takes no readers (hot_standby is off)";
        return if limits.role == Role::Standby {
            Finding::ok(words)
        } else {
            Finding::degraded(words)
        };
    }
    let Some(recovery) = recovery else {
        return Finding::starting(error.message.as_str(), None);
    };
    let kind = if recovery.is_standby {
        "recovery"
    } else {
        "crash recovery"
    };
    if recovery.titles.end_of_recovery_checkpoint {
        return Finding::starting(
            format!("{kind}: redo is done, checkpoint at its end"),
            Some(to_progress(PROGRESS_MAX)),
        );
    }
    match (recovery.redo_at, recovery.redo_ratio()) {
        // What a standby has to redo is not all on its own disk.
        (Some(at), Some(ratio)) if !recovery.is_standby => Finding::starting(
            format!(
                "{kind}: redo at {at}, {:.0} %",
                (ratio.min(PROGRESS_MAX) * 100.0).floor()
            ),
            Some(to_progress(ratio.min(PROGRESS_MAX))),
        ),
        (Some(at), _) => Finding::starting(format!("{kind}: redo at {at}"), None),
        (None, _) if recovery.log.syncing => Finding::starting(
            format!("{}: making sure that its files are on disk", error.message),
            None,
        ),
        (None, _) => Finding::starting(error.message.as_str(), None),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a progress needs two digits"
)]
fn to_progress(ratio: f64) -> f32 {
    ratio as f32
}

fn with_last_words(finding: Finding, recovery: Option<&Recovery>) -> Finding {
    match recovery.and_then(|recovery| recovery.log.last_words.as_ref()) {
        Some(words) => {
            let detail = format!("{}; last words: {words}", finding.detail);
            Finding::new(finding.status, detail)
        }
        None => finding,
    }
}

impl Recovery {
    fn is_stopping(&self) -> bool {
        self.postmaster.as_deref() == Some("stopping")
    }
}

fn inside(session: &Session, limits: &Limits) -> Finding {
    if session.oldest_transaction_age >= TRANSACTION_AGE_FAIL {
        return Finding::failed(
            "transaction ids are used up: nothing is written until the database is vacuumed",
        );
    }
    let mut complaints = Vec::new();
    match (&session.standby, limits.role) {
        (Some(_), Role::Primary) => {
            return Finding::failed("read-only: it is a standby, a primary is expected");
        }
        (None, Role::Standby) => {
            complaints.push("it is a primary, a standby is expected".to_owned())
        }
        (None, _) if session.read_only => {
            complaints.push("read-only: default_transaction_read_only is on".to_owned())
        }
        _ => {}
    }
    if let Some(standby) = &session.standby {
        if let Some(behind) = too_far_behind(standby, limits) {
            return Finding::failed(behind);
        }
        complaints.extend(standby_complaints(standby, limits));
    }
    if session.checksum_failures > 0.0 {
        complaints.push(format!(
            "{} checksum failures: pages are damaged",
            session.checksum_failures
        ));
    }
    let places = session.connections_max - session.connections_reserved;
    if places > 0.0 && session.connections >= places * CONNECTIONS_WARN {
        let (used, max) = (session.connections, session.connections_max);
        complaints.push(if used > places {
            let kept = session.connections_reserved;
            format!("{used} of {max} connections in use, {kept} of them reserved")
        } else {
            format!("{used} of {places} connections in use")
        });
    }
    if session.oldest_transaction_age >= TRANSACTION_AGE_WARN {
        complaints.push(format!(
            "transaction ids run out: the oldest is {:.0} million old",
            session.oldest_transaction_age / 1e6
        ));
    }
    let role = match (&session.standby, session.standbys) {
        (Some(_), _) => "standby".to_owned(),
        (None, Some(standbys)) if standbys > 0.0 => {
            format!("primary, {standbys} connected for replication")
        }
        (None, _) => "primary".to_owned(),
    };
    if complaints.is_empty() {
        Finding::ok(role)
    } else {
        Finding::degraded(format!("{}; {role}", complaints.join("; ")))
    }
}

fn standby_complaints(standby: &Standby, limits: &Limits) -> Vec<String> {
    let mut complaints = Vec::new();
    if standby.receivers < 1.0 {
        complaints.push("not connected to its primary".to_owned());
    }
    if standby.replay_paused {
        complaints.push("replay is paused".to_owned());
    }
    if let Some(lag) = standby.lag().filter(|lag| *lag > limits.lag_warn) {
        complaints.push(behind(lag, standby));
    }
    complaints
}

fn too_far_behind(standby: &Standby, limits: &Limits) -> Option<String> {
    let lag = standby.lag()?;
    (lag > limits.lag_fail?).then(|| behind(lag, standby))
}

fn behind(lag: Duration, standby: &Standby) -> String {
    let bytes = standby.lag_bytes().unwrap_or_default();
    format!("{} s behind, {bytes} bytes are not replayed", lag.as_secs())
}

impl Standby {
    /// Received and not replayed.
    fn lag_bytes(&self) -> Option<f64> {
        Some((self.received? - self.replayed?).max(0.0))
    }

    /// How far it is behind. One that has replayed all that it received is not behind, however old that is.
    fn lag(&self) -> Option<Duration> {
        if self.lag_bytes() == Some(0.0) {
            return Some(Duration::ZERO);
        }
        let since_last = self
            .last_replay_s
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        match self.earlier {
            Earlier::Unknown => since_last,
            Earlier::Replayed => Some(Duration::ZERO),
            Earlier::WaitsFor(waited) => since_last.max(Some(waited)),
        }
    }
}

fn with_values(finding: Finding, session: &Session) -> Finding {
    let mut finding = finding
        .with("login_ms", session.login_ms)
        .with("connections", session.connections)
        .with("connections_max", session.connections_max)
        .with("checksum_failures", session.checksum_failures)
        .with("oldest_transaction_age", session.oldest_transaction_age)
        .with("uptime_s", session.uptime_s);
    if let Some(standbys) = session.standbys {
        finding = finding.with("standbys", standbys);
    }
    let Some(standby) = &session.standby else {
        return finding;
    };
    if let Some(bytes) = standby.lag_bytes() {
        finding = finding.with("lag_bytes", bytes);
    }
    match standby.lag() {
        Some(lag) => finding.with("lag_s", lag.as_secs_f64()),
        None => finding,
    }
}

#[cfg(test)]
mod tests;
