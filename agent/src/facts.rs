//! What the agent knows of its host: boot, addresses, routes, resolvers, labels. Read without starting any process.

mod virtualization;

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// The file whose presence says that this boot has not ended in order yet; it holds the boot's id.
const MARKER: &str = "running-boot";

/// What the agent knows of its host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The kernel's boot id.
    pub boot_id: String,
    /// Whether the boot before this one ended in order; `None`: not known, or this is not the first start in this boot.
    pub clean_shutdown: Option<bool>,
    /// Addresses with prefix length and interface, sorted.
    pub addresses: Vec<String>,
    /// Routes as text, sorted.
    pub routes: Vec<String>,
    /// Configured resolvers, in their order.
    pub resolvers: Vec<String>,
    /// What hosts may share.
    pub labels: BTreeMap<String, String>,
}

impl Facts {
    /// Reads the facts of the host whose file systems are under `root`.
    #[must_use]
    pub fn read(
        root: &Path,
        boot_id: &str,
        clean_shutdown: Option<bool>,
        virtualization: Option<&str>,
        configured: &BTreeMap<String, String>,
    ) -> Self {
        let text = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
        let mut addresses = addresses_v4(&text("proc/net/fib_trie"), &text("proc/net/route"));
        addresses.extend(addresses_v6(&text("proc/net/if_inet6")));
        addresses.sort();
        addresses.dedup();
        let mut routes = routes_v4(&text("proc/net/route"));
        routes.sort();
        let mut labels = labels(&text("etc/os-release"));
        if let Some(virtualization) = virtualization {
            labels.insert("virtualization".to_owned(), virtualization.to_owned());
        }
        labels.extend(configured.clone());
        Self {
            boot_id: boot_id.to_owned(),
            clean_shutdown,
            addresses,
            routes,
            resolvers: crate::host::resolvers(&text("etc/resolv.conf"))
                .iter()
                .map(ToString::to_string)
                .collect(),
            labels,
        }
    }
}

/// What the host runs in, in the words of systemd-detect-virt(1); `none` for a machine of its own, `None` where nothing tells. It
/// does not change while a process lives.
#[must_use]
pub fn virtualization(root: &Path) -> Option<String> {
    virtualization::read(root)
}

/// Notes that this boot runs, and says how the one before ended. An agent that is stopped in order while the host goes down takes
/// the marker away; one that is found under another boot id was left by a boot that did not end so.
#[must_use]
pub fn note_boot(state_dir: &Path, boot_id: &str) -> Option<bool> {
    let marker = state_dir.join(MARKER);
    let before = fs::read_to_string(&marker)
        .ok()
        .map(|text| text.trim().to_owned());
    let ended = fs::read_to_string(state_dir.join(ENDED))
        .ok()
        .map(|text| text.trim().to_owned());
    let clean = match (&before, &ended) {
        (Some(before), _) if before == boot_id => None,
        (Some(before), Some(ended)) => Some(before == ended),
        (Some(_), None) => Some(false),
        (None, _) => None,
    };
    // A state folder that cannot be written is shown by the spool.
    fs::write(&marker, format!("{boot_id}\n")).unwrap_or(());
    clean
}

/// The boot in which an agent was last stopped in order.
const ENDED: &str = "ended-boot";

/// Notes that the agent is being stopped in order. If the host goes down next, the boot ended cleanly; if the agent starts
/// again in the same boot, the note is void.
pub fn note_end(state_dir: &Path, boot_id: &str) {
    fs::write(state_dir.join(ENDED), format!("{boot_id}\n")).unwrap_or(());
}

/// Takes the note of an orderly end back: this boot goes on.
pub fn note_start(state_dir: &Path) {
    fs::remove_file(state_dir.join(ENDED)).unwrap_or(());
}

fn labels(os_release: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    let field = |name: &str| {
        os_release
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
            .map(|value| value.trim_matches('"').to_owned())
    };
    // os-release(5): ID and VERSION_ID are for programs.
    if let Some(id) = field("ID") {
        labels.insert(
            "os".to_owned(),
            field("VERSION_ID").map_or(id.clone(), |version| format!("{id}-{version}")),
        );
    }
    let uname = rustix::system::uname();
    labels.insert(
        "kernel".to_owned(),
        uname.release().to_string_lossy().into_owned(),
    );
    labels.insert(
        "arch".to_owned(),
        uname.machine().to_string_lossy().into_owned(),
    );
    labels.insert("agent".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    labels
}

/// /proc/net/route: interface, destination and gateway as words in the host's byte order.
fn routes_v4(text: &str) -> Vec<String> {
    text.lines()
        .skip(1)
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let address = |word: &str| {
                Some(Ipv4Addr::from(
                    u32::from_str_radix(word, 16).ok()?.to_ne_bytes(),
                ))
            };
            let (interface, destination, gateway, mask) = (
                words.first()?,
                address(words.get(1)?)?,
                address(words.get(2)?)?,
                address(words.get(7)?)?,
            );
            let prefix = u32::from(mask).count_ones();
            let to = if prefix == 0 {
                "default".to_owned()
            } else {
                format!("{destination}/{prefix}")
            };
            let via = if gateway.is_unspecified() {
                String::new()
            } else {
                format!(" via {gateway}")
            };
            Some(format!("{to}{via} dev {interface}"))
        })
        .collect()
}

/// Local addresses are the `/32 host LOCAL` leaves of /proc/net/fib_trie; the interface is the one whose connected route holds them.
fn addresses_v4(trie: &str, routes: &str) -> Vec<String> {
    let connected: Vec<(Ipv4Addr, u32, String)> = routes_v4(routes)
        .iter()
        .filter_map(|route| {
            let (network, interface) = route.split_once(" dev ")?;
            let (network, prefix) = network.split_once('/')?;
            Some((
                network.parse().ok()?,
                prefix.parse().ok()?,
                interface.to_owned(),
            ))
        })
        .collect();
    let lines: Vec<&str> = trie.lines().collect();
    lines
        .windows(2)
        .filter(|pair| pair[1].trim() == "/32 host LOCAL")
        .filter_map(|pair| {
            pair[0]
                .trim()
                .strip_prefix("|-- ")?
                .parse::<Ipv4Addr>()
                .ok()
        })
        .filter(|address| !address.is_loopback())
        .map(|address| {
            let home = connected
                .iter()
                .filter(|(network, prefix, _)| in_network(address, *network, *prefix))
                .max_by_key(|(_, prefix, _)| *prefix);
            home.map_or_else(
                || format!("{address}/32"),
                |(_, prefix, interface)| format!("{address}/{prefix} dev {interface}"),
            )
        })
        .collect()
}

fn in_network(address: Ipv4Addr, network: Ipv4Addr, prefix: u32) -> bool {
    let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
    u32::from(address) & mask == u32::from(network) & mask
}

/// /proc/net/if_inet6: address, index, prefix length, scope, flags, interface.
fn addresses_v6(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let address = Ipv6Addr::from(u128::from_str_radix(words.first()?, 16).ok()?);
            let prefix = u8::from_str_radix(words.get(2)?, 16).ok()?;
            let shown = IpAddr::V6(address);
            (!shown.is_loopback())
                .then(|| format!("{address}/{prefix} dev {}", words.get(5).unwrap_or(&"?")))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_evidence_tells_an_orderly_end_from_a_power_cut() {
        let folder = tempfile::TempDir::new().unwrap();
        let state = folder.path();
        assert_eq!(
            note_boot(state, "one"),
            None,
            "nothing is known of what was before"
        );
        note_start(state);
        assert_eq!(note_boot(state, "one"), None, "the same boot");
        assert_eq!(
            note_boot(state, "two"),
            Some(false),
            "no orderly end was noted"
        );
        note_start(state);
        note_end(state, "two");
        assert_eq!(note_boot(state, "three"), Some(true));
        note_start(state);
        assert_eq!(
            note_boot(state, "four"),
            Some(false),
            "the note of two says nothing of three"
        );
    }

    #[test]
    fn routes_and_addresses_are_read_as_the_kernel_prints_them() {
        let routes = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
            eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
            eth0\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        assert_eq!(
            routes_v4(routes),
            ["default via 10.0.0.1 dev eth0", "10.0.0.0/24 dev eth0"]
        );
        let trie = "Local:\n     |-- 10.0.0.7\n        /32 host LOCAL\n     |-- 127.0.0.1\n        /32 host LOCAL\n";
        assert_eq!(addresses_v4(trie, routes), ["10.0.0.7/24 dev eth0"]);
        let v6 = "fe800000000000000000000000000001 02 40 20 80     eth0\n00000000000000000000000000000001 01 80 10 80       lo\n";
        assert_eq!(addresses_v6(v6), ["fe80::1/64 dev eth0"]);
    }
}
