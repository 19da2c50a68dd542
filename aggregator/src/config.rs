//! The aggregator's configuration: what the file may say, and the type that proves it was right.
//!
//! Every problem of a file is reported at once; nothing is bound or written before it is right.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use blackstart_config::{Report, Section, show_bytes};
use blackstart_proto::limits::AGGREGATOR_PORT;
use blackstart_proto::transport::{TlsFiles, listen_policy};
use blackstart_proto::version::SPOKEN;

/// Sessions opened a second, unless told otherwise: a full TLS handshake costs a third of a
/// millisecond, so a storm takes a fifteenth of a core and leaves the rest to results.
const SESSIONS_PER_SECOND: u32 = 200;

/// How long entries are kept for people to read, unless told otherwise: a weekend and the days
/// until somebody writes down what happened.
const RETENTION: Duration = Duration::from_secs(7 * 86_400);

/// The journal's size on disk, unless told otherwise.
const JOURNAL_BYTES_MAX: u64 = 1 << 30;

/// The smallest journal that can be asked for: less would hold no two snapshots of a large graph.
const JOURNAL_BYTES_MIN: u64 = 16 << 20;

/// The time between the end of a stream and `agent_lost`, unless told otherwise: an agent that
/// restarts or reconnects is back within it.
const LOST_AFTER: Duration = Duration::from_secs(5);

/// The most bytes of entries that wait for the disk: a minute of a large platform's results.
const WAITING_BYTES_MAX: usize = 64 << 20;

/// The largest configuration file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What an aggregator is told.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where its journal is.
    pub state_dir: PathBuf,
    /// The declared topology; none is fine.
    pub topology_file: Option<PathBuf>,
    /// Mutual TLS; needed for any address that is not loopback.
    pub tls: Option<TlsFiles>,
    /// Sessions admitted a second.
    pub sessions_per_second: u32,
    /// How long entries are kept.
    pub retention: Duration,
    /// The journal's size on disk.
    pub journal_bytes_max: u64,
    /// Grace between the end of a stream and `agent_lost`.
    pub lost_after: Duration,
    /// The most bytes of entries that wait for the disk; not in the file, small in tests.
    pub waiting_bytes_max: usize,
    /// The protocol versions spoken; tests stand in for neighbours with another range.
    pub protocol: RangeInclusive<u32>,
}

impl Config {
    /// The configuration of an aggregator that was told nothing but where to keep its state.
    #[must_use]
    pub fn new(state_dir: PathBuf) -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, AGGREGATOR_PORT)),
            state_dir,
            topology_file: None,
            tls: None,
            sessions_per_second: SESSIONS_PER_SECOND,
            retention: RETENTION,
            journal_bytes_max: JOURNAL_BYTES_MAX,
            lost_after: LOST_AFTER,
            waiting_bytes_max: WAITING_BYTES_MAX,
            protocol: SPOKEN,
        }
    }

    /// Reads a configuration file.
    ///
    /// # Errors
    /// Every problem of the file.
    pub fn load(file: &Path) -> Result<Self, Report> {
        let text = read_bounded(file, FILE_BYTES_MAX)?;
        Self::parse(file, &text)
    }

    /// Reads the text of a configuration file; relative paths are relative to the file's folder.
    ///
    /// # Errors
    /// Every problem of the text.
    pub fn parse(file: &Path, text: &str) -> Result<Self, Report> {
        blackstart_config::read(file, text, |root| Some(build(root)))
    }
}

/// The folder an aggregator keeps its state in unless told otherwise: the system's for root, the
/// user's own otherwise.
#[must_use]
pub fn default_state_dir() -> PathBuf {
    // No call for the user id without `unsafe` or another crate: /proc tells who owns us.
    use std::os::unix::fs::MetadataExt;
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    let base = if is_root {
        PathBuf::from("/var/lib")
    } else {
        let folder = |name| std::env::var_os(name).map(PathBuf::from);
        folder("XDG_STATE_HOME")
            .filter(|path| path.is_absolute())
            .or_else(|| folder("HOME").map(|home| home.join(".local/state")))
            .unwrap_or_else(std::env::temp_dir)
    };
    base.join("blackstart/aggregator")
}

/// Reads a text file that may be at most `bytes_max` long.
pub(crate) fn read_bounded(file: &Path, bytes_max: u64) -> Result<String, Report> {
    use std::io::Read;
    let name = file.display().to_string();
    let mut text = String::new();
    let read = std::fs::File::open(file)
        .and_then(|open| open.take(bytes_max + 1).read_to_string(&mut text));
    match read {
        Err(error) => Err(Report::whole_file(
            &name,
            &format!("cannot be read: {error}"),
            "",
        )),
        Ok(_) if text.len() as u64 > bytes_max => Err(Report::whole_file(
            &name,
            &format!("is larger than {}", show_bytes(bytes_max)),
            "is it the right file?",
        )),
        Ok(_) => Ok(text),
    }
}

fn build(root: &mut Section<'_>) -> Config {
    let state_dir = root.path("state_dir").unwrap_or_else(default_state_dir);
    let mut config = Config::new(state_dir);
    let listen = read_listen(root);
    if let Some(listen) = listen {
        config.listen = listen;
    }
    config.topology_file = root.path("topology_file");
    let has_tls = root.has("tls");
    config.tls = root.section("tls").and_then(read_tls);
    if let Some(mut admission) = root.section("admission")
        && let Some(rate) = admission.integer("sessions_per_second", 1..=100_000)
    {
        config.sessions_per_second = u32::try_from(rate).unwrap_or(SESSIONS_PER_SECOND);
    }
    if let Some(mut journal) = root.section("journal") {
        let day = Duration::from_secs(86_400);
        if let Some(retention) = journal.duration("retention", Duration::ZERO..=3_650 * day) {
            config.retention = retention;
        }
        if let Some(bytes) = journal.bytes("bytes_max", JOURNAL_BYTES_MIN..=1 << 44) {
            config.journal_bytes_max = bytes;
        }
    }
    if let Some(mut agents) = root.section("agents") {
        let bounds = Duration::ZERO..=Duration::from_secs(3_600);
        if let Some(grace) = agents.duration("lost_after", bounds) {
            config.lost_after = grace;
        }
    }
    if let Some(listen) = listen
        && let Err(refused) = listen_policy(listen, has_tls)
    {
        root.problem("listen", &refused.to_string(), "");
    }
    config
}

/// What an address to listen on looks like.
const LISTEN_EXPECTED: &str =
    "expected an address and a port, like \"127.0.0.1:7400\" or \"[::1]:7400\"";

/// Why it is no name.
const LISTEN_HELP: &str = "names are not looked up: an aggregator starts without DNS";

/// Reads an address to listen on.
///
/// # Errors
/// What was expected, as a sentence fragment.
pub fn listen_address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| format!("{LISTEN_EXPECTED}; {LISTEN_HELP}"))
}

fn read_listen(root: &mut Section<'_>) -> Option<SocketAddr> {
    let text = root.string("listen")?;
    let parsed = text.parse().ok();
    if parsed.is_none() {
        root.problem("listen", LISTEN_EXPECTED, LISTEN_HELP);
    }
    parsed
}

fn read_tls(mut tls: Section<'_>) -> Option<TlsFiles> {
    let mut required = |key| {
        let path = tls.path(key);
        if path.is_none() && !tls.has(key) {
            tls.problem(
                key,
                "is missing",
                "TLS is mutual: all three files are needed",
            );
        }
        path
    };
    let files = (
        required("ca_file"),
        required("certificate_file"),
        required("key_file"),
    );
    let (Some(ca_file), Some(certificate_file), Some(key_file)) = files else {
        return None;
    };
    Some(TlsFiles {
        ca_file,
        certificate_file,
        key_file,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(Path::new("/etc/blackstart/aggregator.toml"), text)
            .map_err(|report| report.to_string())
    }

    #[test]
    fn an_empty_file_is_a_good_one() {
        let config = parse("").unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:7400");
        assert_eq!(config.sessions_per_second, 200);
        assert_eq!(config.lost_after, Duration::from_secs(5));
    }

    #[test]
    fn every_key_is_read_and_paths_are_relative_to_the_file() {
        let config = parse(
            "listen = \"10.0.0.5:7401\"\nstate_dir = \"state\"\ntopology_file = \"topology.toml\"\n\
             [tls]\nca_file = \"ca.pem\"\ncertificate_file = \"a.pem\"\nkey_file = \"/keys/a.key\"\n\
             [admission]\nsessions_per_second = 50\n[journal]\nretention = \"2d\"\nbytes_max = \"64 MiB\"\n\
             [agents]\nlost_after = \"8s\"\n",
        )
        .unwrap();
        assert_eq!(config.listen.port(), 7401);
        assert_eq!(config.state_dir, Path::new("/etc/blackstart/state"));
        let tls = config.tls.unwrap();
        assert_eq!(tls.ca_file, Path::new("/etc/blackstart/ca.pem"));
        assert_eq!(tls.key_file, Path::new("/keys/a.key"));
        assert_eq!(config.sessions_per_second, 50);
        assert_eq!(config.retention, Duration::from_secs(172_800));
        assert_eq!(config.journal_bytes_max, 64 << 20);
        assert_eq!(config.lost_after, Duration::from_secs(8));
    }

    #[test]
    fn all_problems_come_at_once() {
        let report = parse(
            "listen = \"localhost:7400\"\nstate_dri = \"x\"\n[admission]\nsessions_per_second = 0\n\
             [journal]\nbytes_max = \"1 KiB\"\n[tls]\nca_file = \"ca.pem\"\n",
        )
        .unwrap_err();
        for expected in [
            "line 1   listen = \"localhost:7400\"   expected an address and a port",
            "line 2   state_dri   unknown key; did you mean `state_dir`?",
            "sessions_per_second = 0   expected a whole number from 1 to 100000",
            "bytes_max = \"1 KiB\"   must be from 16 MiB",
            "tls certificate_file   is missing",
            "tls key_file   is missing",
            "6 problems",
        ] {
            assert!(report.contains(expected), "{expected:?} not in\n{report}");
        }
    }

    #[test]
    fn an_open_address_without_tls_is_refused_with_the_way_out() {
        let report = parse("listen = \"0.0.0.0:7400\"\n").unwrap_err();
        assert!(
            report.contains("listening on 0.0.0.0:7400 without TLS is refused"),
            "{report}"
        );
        assert!(report.contains("or listen on 127.0.0.1:7400"), "{report}");
    }
}
