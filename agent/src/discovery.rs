//! What there is to probe on this host.

use std::collections::BTreeSet;
use std::sync::Arc;

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
                .map(|discovered| Configured {
                    kind,
                    component: discovered.component,
                    component_kind: discovered.component_kind,
                    in_host: discovered.in_host,
                    uses: discovered.uses,
                    interval: kind.interval,
                    timeout: kind.timeout,
                    probe: Arc::from(discovered.probe),
                })
        })
        .collect();
    found.sort_by(|a, b| (&a.component, a.kind.name).cmp(&(&b.component, b.kind.name)));
    found.truncate(DISCOVERED_MAX);
    found
}

/// The configured probes, and what was discovered beside them: of the same component and kind the configured one wins.
#[must_use]
pub fn join(configured: &[Configured], discovered: Vec<Configured>) -> Vec<Configured> {
    let taken: BTreeSet<(&str, &str)> = configured
        .iter()
        .map(|probe| (probe.component.as_str(), probe.kind.name))
        .collect();
    let mut all = configured.to_vec();
    all.extend(
        discovered
            .into_iter()
            .filter(|probe| !taken.contains(&(probe.component.as_str(), probe.kind.name))),
    );
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
