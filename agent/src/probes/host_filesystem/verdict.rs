//! What is seen of a filesystem, and what that says of it. Pure.

use blackstart_config::show_duration;

use super::mounts::Mount;
use super::{Device, Limits, Measured, Seen, Space};
use crate::observation::Finding;

/// Filesystems that are made to be read only, and full by nature.
const READ_ONLY_BY_NATURE: [&str; 5] = ["squashfs", "iso9660", "udf", "erofs", "cramfs"];

/// The whole decision.
pub(super) fn judge(seen: &Seen, limits: Limits) -> Finding {
    let Some(mount) = &seen.mount else {
        return not_mounted(seen);
    };
    match &seen.space {
        Measured::Hangs(since) => {
            let seconds = std::time::Duration::from_secs(since.as_secs());
            return Finding::failed(format!(
                "does not answer: it hangs since {} ({} from {})",
                show_duration(seconds),
                mount.fs_type,
                mount.source
            ));
        }
        Measured::Error { reason, ours: true } => {
            return Finding::unknown(format!("cannot ask for the free space: {reason}"));
        }
        Measured::Error {
            reason,
            ours: false,
        } => {
            return Finding::failed(format!("does not answer: {reason}"));
        }
        Measured::Space(_) | Measured::NotAsked => {}
    }
    let finding = read_only(mount, seen).map(Finding::failed);
    let Measured::Space(space) = &seen.space else {
        return finding.unwrap_or_else(|| Finding::unknown("the free space was not asked for"));
    };
    let by_nature = READ_ONLY_BY_NATURE.contains(&mount.fs_type.as_str());
    let finding = finding.unwrap_or_else(|| {
        if by_nature {
            Finding::ok("mounted")
        } else {
            fill(*space, limits)
        }
    });
    with_values(finding, *space)
}

fn not_mounted(seen: &Seen) -> Finding {
    match (&seen.fstab, &seen.device) {
        (_, Device::Locked(name)) => Finding::starting(
            format!("not mounted: the encrypted volume {name} is locked and waits for its key"),
            None,
        ),
        (_, Device::Missing(source)) => {
            Finding::failed(format!("not mounted: its device {source} is not there"))
        }
        (Some(_), Device::ThereOrUnknown) => {
            Finding::failed("not mounted, though /etc/fstab wants it")
        }
        (None, Device::ThereOrUnknown) => Finding::failed("not mounted"),
    }
}

fn read_only(mount: &Mount, seen: &Seen) -> Option<String> {
    if READ_ONLY_BY_NATURE.contains(&mount.fs_type.as_str()) {
        return None;
    }
    if mount.super_read_only && !mount.read_only {
        return Some(format!(
            "read-only: the kernel stopped writing, which it does after an error of {}",
            mount.source
        ));
    }
    if !mount.read_only {
        return None;
    }
    match &seen.fstab {
        Some(entry) if !entry.read_only => {
            Some("mounted read-only, though /etc/fstab says read-write".to_owned())
        }
        None if seen.was_writable => Some("was writable, and is read-only now".to_owned()),
        _ => None,
    }
}

fn fill(space: Space, limits: Limits) -> Finding {
    let used = used_ratio(space);
    let size = show_size(space.used.saturating_add(space.free));
    let words = format!("{:.0} % of {size} used", percent_down(used));
    let inodes = inodes_ratio(space);
    let inode_words = |used: f64| format!("{:.0} % of the inodes used", percent_down(used));
    if space.free == 0 && space.used > 0 {
        return Finding::failed(format!("full: nothing of {size} is free"));
    }
    if space.inodes > 0 && space.inodes_free == 0 {
        return Finding::failed(format!("out of inodes: all {} are used", space.inodes));
    }
    if used >= limits.failed {
        return Finding::failed(words);
    }
    if let Some(inodes) = inodes.filter(|inodes| *inodes >= limits.failed) {
        return Finding::failed(inode_words(inodes));
    }
    if used >= limits.degraded {
        return Finding::degraded(words);
    }
    if let Some(inodes) = inodes.filter(|inodes| *inodes >= limits.degraded) {
        return Finding::degraded(inode_words(inodes));
    }
    Finding::ok(words)
}

/// Of what ordinary users can have, as `df` counts.
#[expect(
    clippy::cast_precision_loss,
    reason = "a share needs no more than the 53 bits"
)]
fn used_ratio(space: Space) -> f64 {
    let whole = space.used.saturating_add(space.free);
    if whole == 0 {
        0.0
    } else {
        space.used as f64 / whole as f64
    }
}

/// Absent where the filesystem has no fixed number of them, as btrfs.
#[expect(
    clippy::cast_precision_loss,
    reason = "a share needs no more than the 53 bits"
)]
fn inodes_ratio(space: Space) -> Option<f64> {
    (space.inodes > 0)
        .then(|| space.inodes.saturating_sub(space.inodes_free) as f64 / space.inodes as f64)
}

/// Whole per cents, rounded down: 99.9 % is not full.
fn percent_down(ratio: f64) -> f64 {
    (ratio * 100.0 + 1e-9).floor()
}

#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
fn show_size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return format!("{value:.0} {unit}");
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

#[expect(clippy::cast_precision_loss, reason = "a measured value is a float")]
fn with_values(finding: Finding, space: Space) -> Finding {
    let finding = finding
        .with("used_ratio", used_ratio(space))
        .with("free_bytes", space.free as f64);
    match inodes_ratio(space) {
        Some(inodes) => finding.with("inodes_used_ratio", inodes),
        None => finding,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::mounts::FstabEntry;
    use super::*;
    use crate::observation::Status::{self, Degraded, Failed, Ok, Starting, Unknown};

    const LIMITS: Limits = Limits {
        degraded: 0.9,
        failed: 0.99,
    };

    fn mount() -> Mount {
        Mount {
            device: "8:1".to_owned(),
            path: "/srv".to_owned(),
            read_only: false,
            super_read_only: false,
            fs_type: "ext4".to_owned(),
            source: "/dev/sda1".to_owned(),
        }
    }

    fn entry() -> FstabEntry {
        FstabEntry {
            source: "UUID=1".to_owned(),
            path: "/srv".to_owned(),
            read_only: false,
            wanted: true,
        }
    }

    fn space(used: u64, inodes_used: u64) -> Measured {
        Measured::Space(Space {
            used,
            free: 1000 - used,
            inodes: 1000,
            inodes_free: 1000 - inodes_used,
        })
    }

    fn seen() -> Seen {
        Seen {
            mount: Some(mount()),
            fstab: Some(entry()),
            device: Device::ThereOrUnknown,
            was_writable: true,
            space: space(100, 100),
        }
    }

    #[test]
    fn every_state_has_its_verdict() {
        let read_only = Some(Mount {
            read_only: true,
            super_read_only: true,
            ..mount()
        });
        let table: Vec<(Seen, Status, &str)> = vec![
            (seen(), Ok, "10 % of 1000 B used"),
            (
                Seen {
                    space: space(899, 0),
                    ..seen()
                },
                Ok,
                "89 % of 1000 B used",
            ),
            (
                Seen {
                    space: space(900, 0),
                    ..seen()
                },
                Degraded,
                "90 % of 1000 B used",
            ),
            (
                Seen {
                    space: space(989, 0),
                    ..seen()
                },
                Degraded,
                "98 % of 1000 B used",
            ),
            (
                Seen {
                    space: space(990, 0),
                    ..seen()
                },
                Failed,
                "99 % of 1000 B used",
            ),
            (
                Seen {
                    space: space(1000, 0),
                    ..seen()
                },
                Failed,
                "full: nothing of 1000 B is free",
            ),
            (
                Seen {
                    space: space(0, 900),
                    ..seen()
                },
                Degraded,
                "90 % of the inodes used",
            ),
            (
                Seen {
                    space: space(0, 1000),
                    ..seen()
                },
                Failed,
                "out of inodes: all 1000 are used",
            ),
            (
                Seen {
                    mount: Some(Mount {
                        super_read_only: true,
                        ..mount()
                    }),
                    ..seen()
                },
                Failed,
                "read-only: the kernel stopped writing, which it does after an error of /dev/sda1",
            ),
            (
                Seen {
                    mount: read_only.clone(),
                    ..seen()
                },
                Failed,
                "mounted read-only, though /etc/fstab says read-write",
            ),
            (
                Seen {
                    mount: read_only.clone(),
                    fstab: Some(FstabEntry {
                        read_only: true,
                        ..entry()
                    }),
                    ..seen()
                },
                Ok,
                "10 % of 1000 B used",
            ),
            (
                Seen {
                    mount: read_only.clone(),
                    fstab: None,
                    ..seen()
                },
                Failed,
                "was writable, and is read-only now",
            ),
            (
                Seen {
                    mount: read_only,
                    fstab: None,
                    was_writable: false,
                    ..seen()
                },
                Ok,
                "10 % of 1000 B used",
            ),
            (
                Seen {
                    mount: None,
                    space: Measured::NotAsked,
                    ..seen()
                },
                Failed,
                "not mounted, though /etc/fstab wants it",
            ),
            (
                Seen {
                    mount: None,
                    device: Device::Missing("UUID=1".to_owned()),
                    ..seen()
                },
                Failed,
                "not mounted: its device UUID=1 is not there",
            ),
            (
                Seen {
                    mount: None,
                    device: Device::Locked("data".to_owned()),
                    ..seen()
                },
                Starting,
                "not mounted: the encrypted volume data is locked and waits for its key",
            ),
            (
                Seen {
                    space: Measured::Hangs(Duration::from_millis(65_400)),
                    ..seen()
                },
                Failed,
                "does not answer: it hangs since 65s (ext4 from /dev/sda1)",
            ),
            (
                Seen {
                    space: Measured::Error {
                        reason: "stale file handle".to_owned(),
                        ours: false,
                    },
                    ..seen()
                },
                Failed,
                "does not answer: stale file handle",
            ),
            (
                Seen {
                    space: Measured::Error {
                        reason: "permission denied".to_owned(),
                        ours: true,
                    },
                    ..seen()
                },
                Unknown,
                "cannot ask for the free space: permission denied",
            ),
        ];
        for (seen, status, detail) in table {
            let finding = judge(&seen, LIMITS);
            assert_eq!(
                (finding.status, finding.detail.as_str()),
                (status, detail),
                "{seen:?}"
            );
        }
    }
}
