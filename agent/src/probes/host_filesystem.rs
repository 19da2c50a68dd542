//! `host.filesystem`: is it mounted, writable, not full, and does it answer?
//!
//! One component for each mount, `HOST/fs:/var`: those of block devices and of the network, and everything that `/etc/fstab`
//! wants mounted. Always on.
//!
//! ```toml
//! [probe.data]
//! kind = "host.filesystem"
//! path = "/srv/data"
//! used_degraded = 0.9       # shares of the space, also of the inodes, from 0 to 1
//! used_failed = 0.99
//! ```
//!
//! Told apart: full, out of inodes, read-only after an error of the disk, read-only against `/etc/fstab`, not mounted (and whether
//! its device is missing, or an encrypted volume waits for its key), and a mount that hangs, as with a lost NFS server.

pub(super) mod mounts;
mod verdict;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use blackstart_config::Section;

use super::host_crypt;
use crate::host::HostView;
use crate::observation::Observation;
use crate::probe::{Deadline, Discovered, Privilege, Probe, ProbeIdentity, ProbeKind, Run, Target};
use mounts::{FstabEntry, Mount};

const NAME: &str = "host.filesystem";

/// The most filesystems of a host that are probed: a host of containers has thousands of mounts, of few devices.
const FILESYSTEMS_MAX: usize = 64;

/// The limits unless configured. Ext4 keeps 5 % for root, so that 90 % used is a few per cent before the end.
const USED_DEGRADED: f64 = 0.9;
const USED_FAILED: f64 = 0.99;

/// The registry's entry.
pub static KIND: ProbeKind = ProbeKind {
    name: NAME,
    component_kind: "volume",
    summary: "a filesystem is mounted, writable, not full and answers",
    privilege: Privilege::Helps(
        "mounts below folders that only root may enter; run the agent as root",
    ),
    interval: Duration::from_secs(30),
    timeout: Duration::from_secs(5),
    configure,
    discover,
    recall: Some(recall),
};

#[derive(Debug, Clone, Copy, PartialEq)]
struct Limits {
    degraded: f64,
    failed: f64,
}

/// Free and used space, as `statvfs` tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Space {
    /// Bytes that are used.
    used: u64,
    /// Bytes that an ordinary user may still write.
    free: u64,
    inodes: u64,
    inodes_free: u64,
}

type Measure = fn(&Path) -> io::Result<Space>;

#[derive(Debug)]
struct HostFilesystem {
    component: String,
    path: String,
    root: PathBuf,
    limits: Limits,
    measure: Measure,
    /// Since when a measurement is under way. It cannot be interrupted, so there is never a second one beside it.
    under_way: Arc<Mutex<Option<Instant>>>,
    was_writable: AtomicBool,
}

/// What one run saw.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    mount: Option<Mount>,
    fstab: Option<FstabEntry>,
    device: Device,
    was_writable: bool,
    space: Measured,
}

/// The device of a filesystem that is not mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Device {
    ThereOrUnknown,
    Missing(String),
    /// An encrypted volume of this name that nobody has opened.
    Locked(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Measured {
    NotAsked,
    Space(Space),
    Hangs(Duration),
    Error { reason: String, ours: bool },
}

fn configure(section: &mut Section<'_>, identity: &ProbeIdentity) -> Option<Box<dyn Probe>> {
    let path = section.required_string("path");
    let degraded = section.number("used_degraded", 0.0..=1.0);
    let failed = section.number("used_failed", 0.0..=1.0);
    let path = path.filter(|path| {
        let absolute = path.starts_with('/');
        if !absolute {
            section.problem(
                "path",
                "expected the absolute path of a mount, like \"/var\"",
                "",
            );
        }
        absolute
    })?;
    let limits = Limits {
        degraded: degraded.unwrap_or(USED_DEGRADED),
        failed: failed.unwrap_or(USED_FAILED),
    };
    if limits.failed < limits.degraded {
        let key = if failed.is_some() {
            "used_failed"
        } else {
            "used_degraded"
        };
        section.problem(
            key,
            "used_failed must not be below used_degraded",
            "swap the two, or set both",
        );
        return None;
    }
    let path = if path.len() > 1 {
        path.trim_end_matches('/').to_owned()
    } else {
        path
    };
    Some(Box::new(HostFilesystem::new(
        identity.component.clone(),
        path,
        PathBuf::from("/"),
        limits,
    )))
}

fn discover(host: &HostView, id: &str) -> Vec<Discovered> {
    let mounts = mounts::read_mounts(&host.root).unwrap_or_default();
    let fstab = mounts::read_fstab(&host.root);
    let locked = host_crypt::read_crypttab(&host.root);
    mounts::worth_probing(&mounts, &fstab)
        .into_iter()
        .take(FILESYSTEMS_MAX)
        .map(|(path, source)| {
            let volume = match (
                source.strip_prefix("/dev/mapper/"),
                source.strip_prefix("/dev/md"),
            ) {
                (Some(name), _) if locked.iter().any(|known| known == name) => {
                    Some(format!("crypt:{name}"))
                }
                (_, Some(number)) if !number.is_empty() => Some(format!("md:md{number}")),
                _ => None,
            };
            found_filesystem(path, volume.as_deref(), id, &host.root)
        })
        .collect()
}

/// Where people mount what they take away again (Filesystem Hierarchy Standard 3.0, 3.11 and 3.12): gone is no fault.
const MOUNTED_FOR_A_WHILE: [&str; 3] = ["/media/", "/mnt/", "/run/"];

/// A filesystem that nobody configured, and the volume of this host that it is on.
fn found_filesystem(path: String, volume: Option<&str>, id: &str, root: &Path) -> Discovered {
    let component = format!("{id}/fs:{path}");
    let is_for_a_while = MOUNTED_FOR_A_WHILE
        .iter()
        .any(|folder| path.starts_with(folder));
    let limits = Limits {
        degraded: USED_DEGRADED,
        failed: USED_FAILED,
    };
    Discovered {
        component: component.clone(),
        component_kind: "volume",
        in_host: true,
        uses: volume.iter().map(|name| format!("{id}/{name}")).collect(),
        trace: (!is_for_a_while && !path.contains('\n'))
            .then(|| format!("{path}\n{}", volume.unwrap_or_default())),
        probe: Box::new(HostFilesystem::new(
            component,
            path,
            root.to_path_buf(),
            limits,
        )),
    }
}

/// The path, and on a line of its own the volume.
fn recall(trace: &str, host: &str) -> Option<Discovered> {
    let (path, volume) = trace.split_once('\n')?;
    let volume = Some(volume).filter(|volume| !volume.is_empty());
    path.starts_with('/')
        .then(|| found_filesystem(path.to_owned(), volume, host, Path::new("/")))
}

impl HostFilesystem {
    fn new(component: String, path: String, root: PathBuf, limits: Limits) -> Self {
        Self {
            component,
            path,
            root,
            limits,
            measure,
            under_way: Arc::default(),
            was_writable: AtomicBool::new(false),
        }
    }

    async fn observe(&self, deadline: Deadline) -> io::Result<Seen> {
        let mount = mounts::read_mounts(&self.root)?
            .into_iter()
            .rev()
            .find(|mount| mount.path == self.path);
        let fstab = mounts::read_fstab(&self.root)
            .into_iter()
            .find(|entry| entry.path == self.path);
        let device = match (&mount, &fstab) {
            (None, Some(entry)) => self.device_of(&entry.source),
            _ => Device::ThereOrUnknown,
        };
        let space = match &mount {
            Some(_) => self.measure(deadline).await,
            None => Measured::NotAsked,
        };
        let writable = mount
            .as_ref()
            .is_some_and(|mount| !mount.read_only && !mount.super_read_only);
        let was_writable = self.was_writable.fetch_or(writable, Ordering::Relaxed);
        Ok(Seen {
            mount,
            fstab,
            device,
            was_writable,
            space,
        })
    }

    fn device_of(&self, source: &str) -> Device {
        if let Some(name) = source.strip_prefix("/dev/mapper/")
            && host_crypt::read_crypttab(&self.root)
                .iter()
                .any(|known| known == name)
            && !host_crypt::is_open(&self.root, name)
        {
            return Device::Locked(name.to_owned());
        }
        let link = match source.split_once('=') {
            Some(("UUID", id)) => format!("/dev/disk/by-uuid/{id}"),
            Some(("LABEL", id)) => format!("/dev/disk/by-label/{id}"),
            Some(("PARTUUID", id)) => format!("/dev/disk/by-partuuid/{id}"),
            _ => source.to_owned(),
        };
        match link.strip_prefix('/') {
            Some(relative) if link.starts_with("/dev/") && !self.root.join(relative).exists() => {
                Device::Missing(source.to_owned())
            }
            _ => Device::ThereOrUnknown,
        }
    }

    /// Asks in a thread of its own, since a lost server makes the call hang for ever.
    async fn measure(&self, deadline: Deadline) -> Measured {
        {
            let mut under_way = self
                .under_way
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if let Some(since) = *under_way {
                return Measured::Hangs(since.elapsed());
            }
            *under_way = Some(Instant::now());
        }
        let (measure, under_way) = (self.measure, Arc::clone(&self.under_way));
        let path = self.root.join(self.path.trim_start_matches('/'));
        let asked = tokio::task::spawn_blocking(move || {
            let measured = measure(&path);
            *under_way.lock().unwrap_or_else(PoisonError::into_inner) = None;
            measured
        });
        let begun = Instant::now();
        // A tenth of the time is left, so that the finding is ours and not the scheduler's.
        match deadline
            .share(0.9)
            .limit("asking for the free space", asked)
            .await
        {
            Ok(Ok(Ok(space))) => Measured::Space(space),
            Ok(Ok(Err(error))) => Measured::Error {
                ours: error.kind() == io::ErrorKind::PermissionDenied,
                reason: crate::net::connect::reason(&error),
            },
            Ok(Err(_)) => Measured::Error {
                reason: "the measurement broke off".to_owned(),
                ours: true,
            },
            Err(_) => Measured::Hangs(begun.elapsed()),
        }
    }
}

fn measure(path: &Path) -> io::Result<Space> {
    let stat = rustix::fs::statvfs(path)?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    Ok(Space {
        used: bytes(stat.f_blocks.saturating_sub(stat.f_bfree)),
        free: bytes(stat.f_bavail),
        inodes: stat.f_files,
        inodes_free: stat.f_ffree,
    })
}

impl Probe for HostFilesystem {
    fn targets(&self) -> Vec<Target> {
        vec![Target {
            component: self.component.clone(),
            check: NAME,
        }]
    }

    fn run(&self, deadline: Deadline) -> Run<'_> {
        Box::pin(async move {
            let finding = match self.observe(deadline).await {
                Ok(seen) => verdict::judge(&seen, self.limits),
                Err(error) => crate::observation::Finding::unknown(format!(
                    "cannot read the list of mounts: {}",
                    crate::net::connect::reason(&error)
                )),
            };
            vec![Observation {
                component: self.component.clone(),
                check: NAME.into(),
                finding,
            }]
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Barrier, LazyLock};

    use super::*;
    use crate::observation::Status;

    /// The "lost server": calls come back when the test lets them.
    static RELEASE: LazyLock<Barrier> = LazyLock::new(|| Barrier::new(2));

    fn hangs(path: &Path) -> io::Result<Space> {
        RELEASE.wait();
        measure(path)
    }

    #[tokio::test]
    async fn a_mount_that_hangs_is_asked_once_and_said_to_hang_until_it_answers() {
        let limits = Limits {
            degraded: 1.0,
            failed: 1.0,
        };
        let mut probe = HostFilesystem::new("h/fs:/".into(), "/".into(), "/".into(), limits);
        probe.measure = hangs;
        for _ in 0..3 {
            let finding = probe
                .run(Deadline::after(Duration::from_millis(50)))
                .await
                .remove(0)
                .finding;
            assert_eq!(finding.status, Status::Failed);
            assert!(
                finding
                    .detail
                    .starts_with("does not answer: it hangs since "),
                "{finding:?}"
            );
        }
        RELEASE.wait();
        while probe.under_way.lock().unwrap().is_some() {
            tokio::task::yield_now().await;
        }
        probe.measure = measure;
        let finding = probe
            .run(Deadline::after(Duration::from_secs(5)))
            .await
            .remove(0)
            .finding;
        assert!(
            matches!(finding.status, Status::Ok | Status::Failed),
            "{finding:?}"
        );
        assert!(finding.detail.contains("used"), "{finding:?}");
    }
}
