//! `host.crypt`: is this encrypted volume open, or does it wait for its key?
//!
//! One component for each volume of `/etc/crypttab` that is opened at boot, `HOST/crypt:NAME`. Always on. A locked volume
//! is `starting`: after a power cut somebody has to come and type, and what lies on it cannot start before.
//!
//! ```toml
//! [probe.vault]
//! kind = "host.crypt"
//! volume = "vault"          # its name below /dev/mapper
//! ```
//!
//! The kernel of the machines that run its tests has no device mapper: they lay out what others show below `/dev/mapper`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use blackstart_config::Section;

use crate::host::HostView;
use crate::observation::{Finding, Observation};
use crate::probe::{Deadline, Discovered, Privilege, Probe, ProbeIdentity, ProbeKind, Run, Target};

const NAME: &str = "host.crypt";

/// The most volumes that are probed.
const VOLUMES_MAX: usize = 64;

/// The registry's entry.
pub static KIND: ProbeKind = ProbeKind {
    name: NAME,
    component_kind: "volume",
    summary: "an encrypted volume is open, or waits for its key",
    privilege: Privilege::Helps("finding the volumes where only root may read /etc/crypttab"),
    interval: Duration::from_secs(30),
    timeout: Duration::from_secs(5),
    configure,
    discover,
    recall: None,
};

#[derive(Debug)]
struct HostCrypt {
    component: String,
    volume: String,
    root: PathBuf,
}

fn configure(section: &mut Section<'_>, identity: &ProbeIdentity) -> Option<Box<dyn Probe>> {
    let volume = section.required_string("volume")?;
    if volume.contains('/') || volume.starts_with('.') {
        section.problem(
            "volume",
            "expected the volume's name below /dev/mapper, without a slash",
            "",
        );
        return None;
    }
    Some(Box::new(HostCrypt {
        component: identity.component.clone(),
        volume,
        root: "/".into(),
    }))
}

fn discover(host: &HostView, id: &str) -> Vec<Discovered> {
    read_crypttab(&host.root)
        .into_iter()
        .take(VOLUMES_MAX)
        .map(|volume| {
            let component = format!("{id}/crypt:{volume}");
            let probe = HostCrypt {
                component: component.clone(),
                volume,
                root: host.root.clone(),
            };
            Discovered {
                component,
                component_kind: "volume",
                in_host: true,
                uses: Vec::new(),
                trace: None,
                probe: Box::new(probe),
            }
        })
        .collect()
}

impl Probe for HostCrypt {
    fn targets(&self) -> Vec<Target> {
        vec![Target {
            component: self.component.clone(),
            check: NAME,
        }]
    }

    fn run(&self, _: Deadline) -> Run<'_> {
        let finding = judge(is_open(&self.root, &self.volume));
        let observation = Observation {
            component: self.component.clone(),
            check: NAME.into(),
            finding,
        };
        Box::pin(std::future::ready(vec![observation]))
    }
}

/// The volumes of `/etc/crypttab` that are opened at boot; none where it may not be read.
pub(super) fn read_crypttab(root: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(root.join("etc/crypttab")).unwrap_or_default();
    text.lines().filter_map(parse).collect()
}

/// Whether the volume's device is there.
pub(super) fn is_open(root: &Path, volume: &str) -> bool {
    // The link itself: what it points to may lie outside of a test's tree.
    root.join("dev/mapper")
        .join(volume)
        .symlink_metadata()
        .is_ok()
}

/// `name device keyfile options`; `noauto` ones wait for somebody to want them.
fn parse(line: &str) -> Option<String> {
    let mut fields = line.split_ascii_whitespace();
    let name = fields
        .next()
        .filter(|name| !name.starts_with('#') && !name.contains('/'))?;
    fields.next()?;
    let options = fields.nth(1).unwrap_or_default();
    (!options.split(',').any(|option| option == "noauto")).then(|| name.to_owned())
}

fn judge(open: bool) -> Finding {
    if open {
        Finding::ok("open")
    } else {
        Finding::starting("locked: waits for its key", None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::Status;

    #[tokio::test]
    async fn a_locked_volume_is_starting_and_an_open_one_is_ok() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("etc")).unwrap();
        std::fs::create_dir_all(root.path().join("dev/mapper")).unwrap();
        let crypttab = "# volumes\nvault UUID=1 none luks\nusb /dev/sdb1 none luks,noauto\n";
        std::fs::write(root.path().join("etc/crypttab"), crypttab).unwrap();
        let host = HostView {
            root: root.path().to_owned(),
            ..HostView::default()
        };
        let found = discover(&host, "h");
        assert_eq!(
            found
                .iter()
                .map(|d| d.component.as_str())
                .collect::<Vec<_>>(),
            ["h/crypt:vault"]
        );
        let look = async || {
            let run = found[0].probe.run(Deadline::after(Duration::from_secs(1)));
            run.await.remove(0).finding
        };
        let locked = look().await;
        assert_eq!(
            (locked.status, locked.detail.as_str()),
            (Status::Starting, "locked: waits for its key")
        );
        std::fs::write(root.path().join("dev/mapper/vault"), "").unwrap();
        assert_eq!(look().await.status, Status::Ok);
    }
}
