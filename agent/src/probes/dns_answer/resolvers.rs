//! The resolvers that a host uses, found in its files, and the ones behind its stub.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::Name;

use super::{DnsAnswer, Expected, Mode};
use crate::host::HostView;
use crate::probe::Discovered;

/// The addresses of the stub of systemd-resolved(8).
const STUBS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, 53)),
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, 54)),
];

pub(super) fn discover(host: &HostView, id: &str) -> Vec<Discovered> {
    let mut found = Vec::new();
    let mut behind_a_stub = false;
    for resolver in &host.resolvers {
        let mut resolver_found = discovered(*resolver, id);
        if STUBS.contains(resolver) {
            behind_a_stub = true;
            let upstream = host.upstream_resolvers.iter();
            resolver_found.uses = upstream.map(|upstream| component(*upstream, id)).collect();
        }
        found.push(resolver_found);
    }
    if behind_a_stub {
        let upstream = host.upstream_resolvers.iter();
        let others = upstream.filter(|upstream| !host.resolvers.contains(upstream));
        found.extend(others.map(|upstream| discovered(*upstream, id)));
    }
    found
}

/// The component of a resolver. Every host has a 127.0.0.53 of its own; the one at 10.0.0.53 is the same for all.
pub(in crate::probes) fn component(resolver: IpAddr, host: &str) -> String {
    if resolver.is_loopback() {
        format!("{host}/resolver:{resolver}")
    } else {
        format!("resolver:{resolver}")
    }
}

fn discovered(resolver: IpAddr, host: &str) -> Discovered {
    let in_host = resolver.is_loopback();
    let component = component(resolver, host);
    let expected = Expected {
        mode: Mode::FoundResolver,
        record_type: "NS",
        rcode: ResponseCode::NoError,
        records: None,
        serial_min: None,
        dnssec: false,
    };
    let server = SocketAddr::new(resolver, 53);
    Discovered {
        component: component.clone(),
        component_kind: "resolver",
        in_host,
        uses: Vec::new(),
        trace: None,
        probe: Box::new(DnsAnswer::new(
            component,
            server,
            Name::root(),
            expected,
            false,
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_uses_its_resolvers_and_a_stub_the_ones_behind_it() {
        let view = |resolvers: &[&str]| HostView {
            resolvers: resolvers.iter().map(|text| text.parse().unwrap()).collect(),
            upstream_resolvers: vec!["10.0.0.2".parse().unwrap()],
            ..HostView::default()
        };
        let edges = |view: &HostView| -> Vec<(String, Vec<String>)> {
            let found = discover(view, "h");
            found
                .into_iter()
                .map(|found| (found.component, found.uses))
                .collect()
        };
        let stub = "h/resolver:127.0.0.53".to_owned();
        let upstream = "resolver:10.0.0.2".to_owned();
        assert_eq!(
            edges(&view(&["127.0.0.53"])),
            [(stub, vec![upstream.clone()]), (upstream, Vec::new())]
        );
        let others = view(&["10.0.0.3", "::1"]);
        assert_eq!(
            edges(&others),
            [
                ("resolver:10.0.0.3".to_owned(), Vec::new()),
                ("h/resolver:::1".to_owned(), Vec::new())
            ]
        );
        let all = crate::discovery::discover(&others, "h");
        let host = all.iter().find(|probe| probe.component == "h").unwrap();
        assert_eq!(host.uses, ["resolver:10.0.0.3", "h/resolver:::1"]);
        let message = crate::wire::discovery(&all, "h");
        let host = message
            .components
            .iter()
            .find(|component| component.id == "h")
            .unwrap();
        assert_eq!(host.uses, ["h/resolver:::1", "resolver:10.0.0.3"]);
        assert_eq!((host.kind.as_str(), host.container.as_str()), ("host", ""));
    }
}
