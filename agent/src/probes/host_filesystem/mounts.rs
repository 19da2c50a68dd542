//! What is mounted (`/proc/self/mountinfo`) and what should be (`/etc/fstab`).

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// A mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::probes) struct Mount {
    /// `major:minor`; the same for all mounts of one filesystem.
    pub(in crate::probes) device: String,
    pub(in crate::probes) path: String,
    /// The mount is read-only.
    pub(in crate::probes) read_only: bool,
    /// The filesystem is; without the mount being so, the kernel turned it read-only.
    pub(in crate::probes) super_read_only: bool,
    pub(in crate::probes) fs_type: String,
    pub(in crate::probes) source: String,
}

/// A line of `/etc/fstab`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::probes) struct FstabEntry {
    pub(in crate::probes) source: String,
    pub(in crate::probes) path: String,
    pub(in crate::probes) read_only: bool,
    /// Neither `noauto` nor `nofail`: the host is not whole without it.
    pub(in crate::probes) wanted: bool,
}

/// Filesystems that hold nobody's data: the kernel's own, and views of others.
const PSEUDO: [&str; 36] = [
    "autofs",
    "bdev",
    "binder",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "fuse.gvfsd-fuse",
    "fuse.lxcfs",
    "fuse.portal",
    "fusectl",
    "hugetlbfs",
    "iso9660",
    "mqueue",
    "nfsd",
    "nsfs",
    "overlay",
    "pipefs",
    "proc",
    "pstore",
    "ramfs",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "smackfs",
    "sockfs",
    "squashfs",
    "sysfs",
    "tmpfs",
    "tracefs",
];

/// Mounts of the types above that are worth a look all the same, with all that lives in them.
const WORTH_IT: [(&str, &str); 3] = [("overlay", "/"), ("tmpfs", "/run"), ("tmpfs", "/tmp")];

/// The mounts that this process sees, in their order: a later one hides an earlier one of the same path.
pub(in crate::probes) fn read_mounts(root: &Path) -> io::Result<Vec<Mount>> {
    let text = std::fs::read_to_string(root.join("proc/self/mountinfo"))?;
    Ok(text.lines().filter_map(parse_mount).collect())
}

/// The entries of `/etc/fstab` that name a place to mount; none without the file.
pub(in crate::probes) fn read_fstab(root: &Path) -> Vec<FstabEntry> {
    let text = std::fs::read_to_string(root.join("etc/fstab")).unwrap_or_default();
    text.lines().filter_map(parse_fstab).collect()
}

/// The paths worth a probe with their sources, in order: one for each filesystem (the first of its mounts with the
/// shortest path), and what `/etc/fstab` wants.
pub(in crate::probes) fn worth_probing(
    mounts: &[Mount],
    fstab: &[FstabEntry],
) -> Vec<(String, String)> {
    let mut by_device: BTreeMap<&str, &Mount> = BTreeMap::new();
    for mount in mounts.iter().filter(|mount| holds_data(mount, fstab)) {
        let kept = by_device.entry(&mount.device).or_insert(mount);
        if mount.path.len() < kept.path.len() {
            *kept = mount;
        }
    }
    let mut paths: BTreeMap<&str, &str> = by_device
        .into_values()
        .map(|mount| (mount.path.as_str(), mount.source.as_str()))
        .collect();
    for entry in fstab.iter().filter(|entry| entry.wanted) {
        paths.entry(&entry.path).or_insert(&entry.source);
    }
    paths
        .into_iter()
        .map(|(path, source)| (path.to_owned(), source.to_owned()))
        .collect()
}

fn holds_data(mount: &Mount, fstab: &[FstabEntry]) -> bool {
    !PSEUDO.contains(&mount.fs_type.as_str())
        || WORTH_IT.contains(&(&mount.fs_type, &mount.path))
        || fstab.iter().any(|entry| entry.path == mount.path)
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue` (proc(5)).
fn parse_mount(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let mut before = before.split(' ');
    let device = before.nth(2)?;
    let path = before.nth(1)?;
    let options = before.next()?;
    let mut after = after.split(' ');
    Some(Mount {
        device: device.to_owned(),
        path: unescape(path),
        read_only: has(options, "ro"),
        fs_type: after.next()?.to_owned(),
        source: unescape(after.next()?),
        super_read_only: after.next().is_some_and(|options| has(options, "ro")),
    })
}

fn parse_fstab(line: &str) -> Option<FstabEntry> {
    let mut fields = line.split_ascii_whitespace();
    let source = fields.next().filter(|source| !source.starts_with('#'))?;
    let path = fields.next().filter(|path| path.starts_with('/'))?;
    let fs_type = fields.next()?;
    let options = fields.next().unwrap_or("defaults");
    let path = unescape(path);
    Some(FstabEntry {
        source: unescape(source),
        path: if path.len() > 1 {
            path.trim_end_matches('/').to_owned()
        } else {
            path
        },
        read_only: has(options, "ro"),
        wanted: !has(options, "noauto") && !has(options, "nofail") && fs_type != "swap",
    })
}

fn has(options: &str, option: &str) -> bool {
    options.split(',').any(|known| known == option)
}

/// Blanks and the like stand as `\040` in both files.
fn unescape(text: &str) -> String {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = after
            .get(..3)
            .filter(|_| first == b'\\')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        plain.push(code.unwrap_or(first));
        rest = if code.is_some() {
            after.get(3..).unwrap_or_default()
        } else {
            after
        };
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTINFO: &str = "\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
28 27 8:1 / /srv/my\\040data rw,noatime shared:1 - ext4 /dev/sda1 ro,errors=remount-ro
29 27 254:0 /var/lib/x /mnt/bind ro - ext4 /dev/vda rw
30 27 0:9 / /run rw - tmpfs tmpfs rw
31 27 0:8 / /dev/shm rw - tmpfs tmpfs rw
32 27 0:7 / /net rw - nfs4 server:/export rw
half a line";

    #[test]
    fn mounts_are_read_and_those_that_hold_data_are_chosen() {
        let mounts: Vec<_> = MOUNTINFO.lines().filter_map(parse_mount).collect();
        assert_eq!(mounts.len(), 7);
        assert_eq!(mounts[2].path, "/srv/my data");
        assert!(mounts[2].super_read_only && !mounts[2].read_only);
        let fstab: Vec<_> = "\
# comment
UUID=1 / ext4 defaults 0 1
/dev/mapper/data /srv/data/ xfs ro 0 2
/dev/sdb1 /usb vfat noauto 0 0
/dev/sdc1 /maybe ext4 defaults,nofail 0 0
/dev/sdd1 none swap sw 0 0"
            .lines()
            .filter_map(parse_fstab)
            .collect();
        assert_eq!(fstab.len(), 4);
        assert!(fstab[1].read_only);
        let chosen: Vec<_> = worth_probing(&mounts, &fstab)
            .into_iter()
            .map(|(path, _)| path)
            .collect();
        assert_eq!(chosen, ["/", "/net", "/run", "/srv/data", "/srv/my data"]);
    }
}
