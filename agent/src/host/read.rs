//! Reads what discovery looks at from `/proc` and `/etc`.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use super::{HostView, Listener};

/// The most processes whose sockets are looked through: a bound on the work of one discovery.
const PROCESSES_MAX: usize = 20_000;

/// The most listening sockets that are kept.
const LISTENERS_MAX: usize = 1_000;

/// `st` of a listening socket in /proc/net/tcp (proc_pid_net(5); TCP_LISTEN in the kernel's tcp_states.h).
const LISTENING: &str = "0A";

impl HostView {
    /// Looks at the host whose file systems are under `root`.
    #[must_use]
    pub fn read(root: &Path) -> Self {
        Self::read_again(root, &Self::default())
    }

    /// Looks again. The descriptors of all processes are looked through only if other sockets listen than in the view `before`: a host may have
    /// hundreds of thousands of them, and an inode is not used again while its socket lives.
    #[must_use]
    pub(crate) fn read_again(root: &Path, before: &Self) -> Self {
        let mut inodes = BTreeMap::new();
        for (file, parse) in [
            ("proc/net/tcp", parse_v4 as fn(&str) -> Option<IpAddr>),
            ("proc/net/tcp6", parse_v6),
        ] {
            if let Ok(text) = fs::read_to_string(root.join(file)) {
                inodes.extend(listening(&text, parse));
            }
        }
        let listening = if inodes == before.sockets && root == before.root {
            before.listening.clone()
        } else {
            let mut listening = with_processes(root, inodes.clone());
            listening.sort_by_key(|listener| (listener.address, listener.pid));
            listening.dedup();
            listening.truncate(LISTENERS_MAX);
            listening
        };
        Self {
            root: root.to_path_buf(),
            listening,
            sockets: inodes,
            resolvers: fs::read_to_string(root.join("etc/resolv.conf"))
                .map(|text| resolvers(&text))
                .unwrap_or_default(),
            upstream_resolvers: fs::read_to_string(root.join("run/systemd/resolve/resolv.conf"))
                .map(|text| resolvers(&text))
                .unwrap_or_default()
                .into_iter()
                .filter(|resolver| !resolver.is_loopback())
                .collect(),
            systemd: root.join("run/systemd/system").is_dir(),
        }
    }
}

/// `nameserver` lines (resolv.conf(5)); the resolver library uses the first three.
pub(crate) fn resolvers(text: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if words.next() == Some("nameserver") {
            let address = words
                .next()
                .and_then(|word| word.split('%').next())
                .and_then(|word| word.parse().ok());
            found.extend(address.filter(|address| !found.contains(address)));
        }
    }
    found
}

/// Listening sockets by inode.
fn listening(text: &str, parse: fn(&str) -> Option<IpAddr>) -> BTreeMap<u64, SocketAddr> {
    text.lines()
        .skip(1)
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (address, port) = words.get(1)?.split_once(':')?;
            if *words.get(3)? != LISTENING {
                return None;
            }
            let port = u16::from_str_radix(port, 16).ok()?;
            Some((
                words.get(9)?.parse().ok()?,
                SocketAddr::new(parse(address)?, port),
            ))
        })
        .collect()
}

/// The kernel prints the address as words in the host's byte order.
fn parse_v4(text: &str) -> Option<IpAddr> {
    let word = u32::from_str_radix(text, 16).ok()?;
    Some(IpAddr::V4(Ipv4Addr::from(word.to_ne_bytes())))
}

fn parse_v6(text: &str) -> Option<IpAddr> {
    if text.len() != 32 || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; 16];
    for (at, chunk) in bytes.chunks_exact_mut(4).enumerate() {
        let word = u32::from_str_radix(&text[at * 8..at * 8 + 8], 16).ok()?;
        chunk.copy_from_slice(&word.to_ne_bytes());
    }
    let address = Ipv6Addr::from(bytes);
    Some(
        address
            .to_ipv4_mapped()
            .map_or(IpAddr::V6(address), IpAddr::V4),
    )
}

/// Finds the processes behind the sockets, where they may be read.
fn with_processes(root: &Path, mut inodes: BTreeMap<u64, SocketAddr>) -> Vec<Listener> {
    let mut found = Vec::new();
    let entries = fs::read_dir(root.join("proc"))
        .into_iter()
        .flatten()
        .flatten();
    let processes = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    for pid in processes.take(PROCESSES_MAX) {
        if inodes.is_empty() {
            break;
        }
        let folder = root.join("proc").join(pid.to_string());
        for descriptor in fs::read_dir(folder.join("fd"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let Ok(target) = fs::read_link(descriptor.path()) else {
                continue;
            };
            let inode = target.to_str().and_then(|text| {
                text.strip_prefix("socket:[")?
                    .strip_suffix(']')?
                    .parse()
                    .ok()
            });
            if let Some(address) = inode.and_then(|inode: u64| inodes.remove(&inode)) {
                found.push(Listener {
                    address,
                    process: fs::read_to_string(folder.join("comm"))
                        .ok()
                        .map(|comm| comm.trim().to_owned()),
                    pid: Some(pid),
                    arguments: fs::read(folder.join("cmdline"))
                        .map(|line| arguments(&line))
                        .unwrap_or_default(),
                });
            }
        }
    }
    found.extend(inodes.into_values().map(|address| Listener {
        address,
        process: None,
        pid: None,
        arguments: Vec::new(),
    }));
    found
}

fn arguments(line: &[u8]) -> Vec<String> {
    line.split(|byte| *byte == 0)
        .filter(|word| !word.is_empty())
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listening_sockets_are_read_as_the_kernel_prints_them() {
        let text = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            \x20  0: 0100007F:094B 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0\n\
            \x20  1: 0100007F:094C 0100007F:1234 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 100 0 0 10 0\n";
        let found = listening(text, parse_v4);
        assert_eq!(
            found,
            BTreeMap::from([(4711, "127.0.0.1:2379".parse().unwrap())])
        );
    }

    #[test]
    fn a_socket_of_this_process_is_found_with_its_process() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let view = HostView::read(Path::new("/"));
        let found = view
            .listening
            .iter()
            .find(|found| found.address == address)
            .unwrap();
        assert_eq!(found.pid, Some(std::process::id()));
    }

    #[test]
    fn a_second_look_at_the_same_sockets_asks_no_process() {
        let _one = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut before = HostView::read(Path::new("/"));
        let marked = "looked up before".to_owned();
        for listener in &mut before.listening {
            listener.process = Some(marked.clone());
        }
        // Other tests open and close ports meanwhile, which is a reason to look.
        let again = HostView::read_again(Path::new("/"), &before);
        let is_kept = again
            .listening
            .iter()
            .all(|listener| listener.process.as_ref() == Some(&marked));
        assert_eq!(is_kept, again.sockets == before.sockets);
        let two = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = two.local_addr().unwrap();
        let again = HostView::read_again(Path::new("/"), &before);
        let found = again
            .listening
            .iter()
            .find(|found| found.address == address);
        assert_eq!(found.unwrap().pid, Some(std::process::id()));
    }

    #[test]
    fn what_the_stub_asks_is_found_beside_the_stub() {
        let root = tempfile::TempDir::new().unwrap();
        for (path, text) in [
            ("etc/resolv.conf", "nameserver 127.0.0.53\n"),
            (
                "run/systemd/resolve/resolv.conf",
                "nameserver 10.0.0.2\nnameserver 127.0.0.1\n",
            ),
        ] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let view = HostView::read(root.path());
        assert_eq!(view.resolvers, [IpAddr::from([127, 0, 0, 53])]);
        assert_eq!(view.upstream_resolvers, [IpAddr::from([10, 0, 0, 2])]);
    }

    #[test]
    fn resolvers_keep_their_order_and_stand_once() {
        let text = "# x\nsearch a\nnameserver 10.0.0.2\nnameserver fe80::1%eth0\nnameserver 10.0.0.2\nnameserver nonsense\n";
        let expected: Vec<IpAddr> = vec!["10.0.0.2".parse().unwrap(), "fe80::1".parse().unwrap()];
        assert_eq!(resolvers(text), expected);
    }
}
