//! What there is to probe on this host.

pub(crate) mod memory;

use std::collections::BTreeMap;

use crate::config::Configured;
use crate::host::HostView;
use crate::registry::KINDS;

/// The most components that one agent discovers: what the protocol carries.
const DISCOVERED_MAX: usize = blackstart_proto::limits::DISCOVERED_COMPONENTS_MAX;

/// Asks every kind what there is of it, sorted by component and kind.
#[must_use]
pub fn discover(view: &HostView, host: &str) -> Vec<Configured> {
    let mut found: Vec<Configured> = KINDS
        .iter()
        .flat_map(|kind| {
            (kind.discover)(view, host)
                .into_iter()
                .map(|discovered| Configured::discovered(kind, discovered))
        })
        .collect();
    found.sort_by(|a, b| (&a.component, a.kind.name).cmp(&(&b.component, b.kind.name)));
    found.truncate(DISCOVERED_MAX);
    found
}

/// The configured probes, and what was discovered beside them: of the same component and kind the configured one
/// wins, and what that component is seen to use stays known.
#[must_use]
pub fn join(configured: &[Configured], discovered: Vec<Configured>) -> Vec<Configured> {
    let mut all = configured.to_vec();
    let taken: BTreeMap<(String, &str), usize> = all
        .iter()
        .enumerate()
        .map(|(at, probe)| ((probe.component.clone(), probe.kind.name), at))
        .collect();
    for probe in discovered {
        match taken.get(&(probe.component.clone(), probe.kind.name)) {
            Some(at) => all[*at].uses.extend(probe.uses),
            None => all.push(probe),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn this_host_has_something_to_probe() {
        let found = discover(&HostView::read(Path::new("/")), "here");
        assert!(
            found
                .iter()
                .any(|probe| probe.kind.name == "host.load" && probe.component == "here"),
            "{found:?}"
        );
    }

    #[test]
    fn a_second_look_finds_the_same_and_leaves_alone_what_runs() {
        let look = || discover(&HostView::read(Path::new("/")), "here");
        let second = look();
        for probe in look() {
            // Other tests open and close ports meanwhile; what both looks found must be the same.
            let same = second.iter().find(|other| {
                (&other.component, other.kind.name) == (&probe.component, probe.kind.name)
            });
            assert!(same.is_none_or(|other| other.is_same(&probe)), "{probe:?}");
        }
    }

    #[test]
    fn a_configured_probe_wins() {
        let found = discover(&HostView::read(Path::new("/")), "here");
        let count = found.len();
        let configured: Vec<_> = found
            .iter()
            .filter(|probe| probe.kind.name == "host.load")
            .cloned()
            .collect();
        assert_eq!(join(&configured, found).len(), count);
    }
}
