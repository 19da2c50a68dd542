//! A probe with its place in the schedule: from a table of the file, or discovered.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use blackstart_config::{Section, nearest};

use super::host_id;
use crate::probe::{Discovered, Probe, ProbeIdentity, ProbeKind};
use crate::registry;

/// A probe with its place in the schedule.
#[derive(Clone)]
pub struct Configured {
    /// What kind it is.
    pub kind: &'static ProbeKind,
    /// The component that it asks.
    pub component: String,
    /// The kind of that component.
    pub component_kind: &'static str,
    /// Whether the component is in this host.
    pub in_host: bool,
    /// What the component is seen to use.
    pub uses: Vec<String>,
    /// What a discovered one is found again by; see [`Discovered::trace`].
    pub trace: Option<String>,
    /// Of everything that the probe was made from: the same for the same.
    pub fingerprint: u64,
    /// How often it runs when all is well.
    pub interval: Duration,
    /// The deadline of a run.
    pub timeout: Duration,
    /// The probe.
    pub probe: Arc<dyn Probe>,
}

impl Configured {
    /// What discovery found, with what its kind says of time.
    #[must_use]
    pub fn discovered(kind: &'static ProbeKind, found: Discovered) -> Self {
        Self {
            kind,
            component: found.component,
            component_kind: found.component_kind,
            in_host: found.in_host,
            uses: found.uses,
            trace: found.trace,
            // What a probe holds before its first run is what it was made from.
            fingerprint: fingerprint(&format!("{:?}", found.probe)),
            interval: kind.interval,
            timeout: kind.timeout,
            probe: Arc::from(found.probe),
        }
    }

    /// Whether the other one asks the same in the same way, so that the one that runs may go on.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let place = |of: &Self| (of.kind.name, of.fingerprint, of.interval, of.timeout);
        self.component == other.component
            && self.component_kind == other.component_kind
            && self.uses == other.uses
            && self.trace == other.trace
            && place(self) == place(other)
    }
}

/// Tells one text from another.
pub(super) fn fingerprint(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

impl fmt::Debug for Configured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Configured")
            .field("kind", &self.kind.name)
            .field("component", &self.component)
            .finish_non_exhaustive()
    }
}

/// Reads the table of a probe; what is wrong with it is noted there.
pub(super) fn probe(
    name: String,
    section: &mut Section<'_>,
    host: &str,
    fingerprint: u64,
) -> Option<Configured> {
    let kind_name = section.required_string("kind");
    let component = section.string("component").unwrap_or_else(|| name.clone());
    let interval = section.duration(
        "interval",
        Duration::from_secs(1)..=Duration::from_secs(86_400),
    );
    let timeout = section.duration(
        "timeout",
        Duration::from_millis(10)..=Duration::from_secs(600),
    );
    let kind = kind_name.as_deref().and_then(registry::find);
    let Some(kind) = kind else {
        if let Some(wrong) = kind_name {
            let names = || registry::KINDS.iter().map(|kind| kind.name);
            match nearest(&wrong, names()) {
                Some(near) => section.problem(
                    "kind",
                    &format!("no such kind of probe; did you mean \"{near}\"?"),
                    "",
                ),
                None => section.problem(
                    "kind",
                    "no such kind of probe",
                    "`blackstart-agent probes` lists them",
                ),
            }
        }
        section.ignore_rest();
        return None;
    };
    if let Err(expected) = host_id(&component) {
        section.problem("component", &expected, "");
    }
    let identity = ProbeIdentity {
        name,
        component: component.clone(),
        host: host.to_owned(),
    };
    let probe = (kind.configure)(section, &identity)?;
    Some(Configured {
        kind,
        in_host: component.starts_with(&format!("{host}/")),
        component,
        component_kind: kind.component_kind,
        uses: Vec::new(),
        trace: None,
        fingerprint,
        interval: interval.unwrap_or(kind.interval),
        timeout: timeout.unwrap_or(kind.timeout),
        probe: Arc::from(probe),
    })
}

/// Notes what another probe of this file answers for already: to an aggregator the newer answer would be a change.
pub(super) fn once_each(
    name: &str,
    probe: &Configured,
    section: &mut Section<'_>,
    answered: &mut BTreeMap<(String, &'static str), String>,
) {
    for target in probe.probe.targets() {
        let (component, check) = (target.component, target.check);
        match answered.entry((component, check)) {
            Entry::Vacant(free) => {
                free.insert(name.to_owned());
            }
            Entry::Occupied(taken) => {
                let expected = format!(
                    "answers for {check} of \"{}\", as probe \"{}\" does",
                    taken.key().0,
                    taken.get()
                );
                let help = "the newer answer would hide the other: let one of the two ask for another component";
                section.problem_at(section.line(), "", &expected, help);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::AgentConfig;

    #[test]
    fn a_probe_is_another_one_when_its_table_is() {
        let parsed = |text: &str| AgentConfig::parse(Path::new("agent.toml"), text).unwrap();
        let text = "[probe.a]\nkind = \"tcp.connect\"\naddress = \"127.0.0.1:1\"\n";
        let first = parsed(text).probes.remove(0);
        let moved = parsed(&format!("# a comment\nhost = \"x\"\n{text}"));
        assert!(
            !first.is_same(&moved.probes[0]),
            "another host is another vantage"
        );
        let moved = parsed(&format!(
            "# a comment\n[probe.b]\nkind = \"host.load\"\n{text}"
        ));
        assert!(first.is_same(&moved.probes[1]));
        let changed = parsed(&text.replace(":1", ":2"));
        assert!(!first.is_same(&changed.probes[0]));
    }
}
