//! The agent's configuration: a file that is all optional, and what holds where it says nothing.

mod probe;
mod source;
mod watch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use blackstart_config::{Report, Section, read};
use blackstart_proto::limits::COMPONENT_ID_BYTES_MAX;
use blackstart_proto::transport::{HostPort, TlsFiles, dial_policy};

pub use probe::Configured;
use probe::{fingerprint, once_each, probe};
pub use source::ConfigSource;
pub(crate) use watch::Watch;

/// The most aggregators that one agent reports to.
const AGGREGATORS_MAX: usize = 8;

/// How long discovery keeps asking for what it does not find any more, unless configured: over a long weekend, and no
/// server that was taken away haunts the picture for ever.
const FORGET_AFTER: Duration = Duration::from_secs(7 * 86_400);

/// The most components that discovery may be told to ignore.
const IGNORED_MAX: usize = 1_000;

/// What bounds the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpoolLimits {
    /// The most bytes of results that wait on disk; beyond, the oldest are dropped and counted.
    pub bytes_max: u64,
    /// The last results, kept even when acknowledged.
    pub ring_results: u64,
}

/// The configuration of an agent.
#[derive(Debug, Clone)]
pub struct AgentConfig {
    /// The component id of this host.
    pub host: String,
    /// Where the spool and the socket are.
    pub state_dir: PathBuf,
    /// Labels of the host, beside those that the agent finds.
    pub labels: BTreeMap<String, String>,
    /// The aggregators; each gets everything.
    pub aggregators: Vec<HostPort>,
    /// The files of mutual TLS.
    pub tls: Option<TlsFiles>,
    /// What bounds the spool.
    pub spool: SpoolLimits,
    /// How often discovery looks again; `None`: never.
    pub discovery: Option<Duration>,
    /// How long discovery keeps asking for what it does not find any more.
    pub forget_after: Duration,
    /// Components that discovery leaves out.
    pub ignored: Vec<String>,
    /// The probes of the file.
    pub probes: Vec<Configured>,
}

impl AgentConfig {
    /// What holds with no file at all.
    #[must_use]
    pub fn defaults() -> Self {
        Self::defaults_for(None)
    }

    /// What holds with no file at all, for a host whose id is given elsewhere.
    pub(crate) fn defaults_for(host: Option<&str>) -> Self {
        Self {
            host: host.map_or_else(hostname, str::to_owned),
            state_dir: default_state_dir(),
            labels: BTreeMap::new(),
            aggregators: Vec::new(),
            tls: None,
            spool: SpoolLimits {
                bytes_max: 64 << 20,
                ring_results: 2_000,
            },
            discovery: Some(Duration::from_secs(60)),
            forget_after: FORGET_AFTER,
            ignored: Vec::new(),
            probes: Vec::new(),
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// Every problem of the file at once.
    pub fn load(path: &Path) -> Result<Self, Report> {
        Self::load_for(path, None)
    }

    /// Reads a file for a host whose id is given elsewhere.
    pub(crate) fn load_for(path: &Path, host: Option<&str>) -> Result<Self, Report> {
        let text = std::fs::read_to_string(path).map_err(|source| {
            let found = format!("cannot be read: {source}");
            Report::whole_file(
                &path.display().to_string(),
                &found,
                "name a file that exists, or leave --config out",
            )
        })?;
        Self::parse_for(path, &text, host)
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// Every problem of the file at once.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Report> {
        Self::parse_for(path, text, None)
    }

    fn parse_for(path: &Path, text: &str, host: Option<&str>) -> Result<Self, Report> {
        // Once more as plain values: a probe is another one when its table is. What is no TOML is refused below.
        let plain: toml::Table = toml::from_str(text).unwrap_or_default();
        read(path, text, |root| Some(Self::of(root, host, &plain)))
    }

    fn of(root: &mut Section<'_>, given_host: Option<&str>, plain: &toml::Table) -> Self {
        let mut config = Self::defaults();
        if let Some(host) = root.string("host") {
            if let Err(expected) = host_id(&host) {
                root.problem("host", &expected, "");
            }
            config.host = host;
        }
        if let Some(host) = given_host {
            config.host = host.to_owned();
        }
        config.state_dir = root.path("state_dir").unwrap_or(config.state_dir);
        config.labels = root.labels("labels");
        config.tls = root.section("tls").and_then(|mut tls| tls_files(&mut tls));
        config.aggregators = aggregators(root, config.tls.is_some());
        if let Some(mut spool) = root.section("spool") {
            config.spool.bytes_max = spool
                .bytes("bytes_max", 1 << 20..=1 << 40)
                .unwrap_or(config.spool.bytes_max);
            let ring = spool
                .integer("ring_results", 0..=1_000_000)
                .and_then(|ring| u64::try_from(ring).ok());
            config.spool.ring_results = ring.unwrap_or(config.spool.ring_results);
        }
        if let Some(mut discovery) = root.section("discovery") {
            let enabled = discovery.boolean("enabled").unwrap_or(true);
            let interval = discovery.duration(
                "interval",
                Duration::from_secs(5)..=Duration::from_secs(86_400),
            );
            config.discovery = enabled.then(|| interval.unwrap_or(Duration::from_secs(60)));
            let forget_after = discovery.duration(
                "forget_after",
                Duration::from_secs(60)..=Duration::from_secs(366 * 86_400),
            );
            config.forget_after = forget_after.unwrap_or(FORGET_AFTER);
            config.ignored = discovery.strings("ignore").unwrap_or_default();
            if config.ignored.len() > IGNORED_MAX {
                let expected = format!("more than {IGNORED_MAX} of them");
                discovery.problem("ignore", &expected, "turn discovery off instead");
            }
        }
        let tables = plain.get("probe");
        let mut answered = BTreeMap::new();
        for (name, mut section) in root.sections("probe") {
            let table = tables.and_then(|tables| tables.get(&name));
            let fingerprint = fingerprint(&format!("{} {table:?}", config.host));
            let Some(probe) = probe(name.clone(), &mut section, &config.host, fingerprint) else {
                continue;
            };
            once_each(&name, &probe, &mut section, &mut answered);
            config.probes.push(probe);
        }
        config
    }
}

/// Checks an id of a host or of what is on it: what every aggregator takes.
///
/// # Errors
/// What was expected, as a sentence fragment.
pub fn host_id(text: &str) -> Result<String, String> {
    let is_good = !text.is_empty()
        && text.len() <= COMPONENT_ID_BYTES_MAX
        && text.trim().len() == text.len()
        && !text.chars().any(char::is_control);
    if is_good {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "expected an id of 1 to {COMPONENT_ID_BYTES_MAX} bytes without control characters and without space around it"
        ))
    }
}

fn tls_files(tls: &mut Section<'_>) -> Option<TlsFiles> {
    let mut file = |key| {
        let path = tls.path(key);
        if path.is_none() && !tls.has(key) {
            tls.problem(key, "is missing", "mutual TLS needs all three files");
        }
        path
    };
    let (ca_file, certificate_file, key_file) =
        (file("ca_file"), file("certificate_file"), file("key_file"));
    Some(TlsFiles {
        ca_file: ca_file?,
        certificate_file: certificate_file?,
        key_file: key_file?,
    })
}

fn aggregators(root: &mut Section<'_>, tls: bool) -> Vec<HostPort> {
    let mut found: Vec<HostPort> = Vec::new();
    for text in root.strings("aggregators").unwrap_or_default() {
        match text.parse::<HostPort>() {
            Ok(address) => {
                if let Some(Err(refused)) = address.literal().map(|ip| dial_policy(ip, tls)) {
                    root.problem("aggregators", &refused.to_string(), "");
                }
                if !found.contains(&address) {
                    found.push(address);
                }
            }
            Err(problem) => root.problem("aggregators", &problem.to_string(), ""),
        }
    }
    if found.len() > AGGREGATORS_MAX {
        root.problem(
            "aggregators",
            &format!("more than {AGGREGATORS_MAX} of them"),
            "",
        );
    }
    found
}

/// The name of this host; `localhost` where it has none.
fn hostname() -> String {
    let name = rustix::system::uname();
    let name = name.nodename().to_string_lossy().into_owned();
    if name.is_empty() || name == "(none)" {
        "localhost".to_owned()
    } else {
        name
    }
}

/// `/var/lib/blackstart/agent` for root, a folder of the user's for others (XDG Base Directory Specification).
fn default_state_dir() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/lib/blackstart/agent");
    }
    let base = std::env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let home = || {
        std::env::var_os("HOME")
            .map_or_else(|| PathBuf::from("."), PathBuf::from)
            .join(".local/state")
    };
    base.unwrap_or_else(home).join("blackstart/agent")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        AgentConfig::parse(Path::new("agent.toml"), text)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn an_empty_file_is_the_defaults() {
        let config = AgentConfig::parse(Path::new("agent.toml"), "").unwrap();
        assert_eq!(config.discovery, Some(Duration::from_secs(60)));
        assert!(config.aggregators.is_empty() && config.probes.is_empty());
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let text = "host = \"\"\naggregators = [\"10.0.0.5:7400\"]\n[probe.a]\nkind = \"tcp.conect\"\n[probe.b]\nkind = \"tcp.connect\"\ntimout = \"5s\"\naddress = \"127.0.0.1:1\"\n";
        let report = refused(text);
        assert!(
            report.contains("line 1   host = \"\"   expected an id of 1 to 256 bytes"),
            "{report}"
        );
        assert!(report.contains("line 2   aggregators = "), "{report}");
        assert!(report.contains("line 4   probe \"a\" kind = \"tcp.conect\"   no such kind of probe; did you mean \"tcp.connect\"?"), "{report}");
        assert!(
            report.contains("line 7   probe \"b\" timout   unknown key; did you mean `timeout`?"),
            "{report}"
        );
    }

    #[test]
    fn a_tls_table_needs_all_its_files() {
        assert!(refused("[tls]\nca_file = \"ca.pem\"\n").contains("tls key_file   is missing"));
    }
}
