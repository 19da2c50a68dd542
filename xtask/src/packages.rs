//! The servers that the tests need, and how they get here.
//!
//! Only what is missing is installed, by Debian package name. While packages are installed, a
//! `policy-rc.d` forbids their maintainer scripts to start any service; one that was there
//! before is put back afterwards. Where nothing may be installed, the missing ones are named and
//! the run fails: a test is never skipped for want of its server.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::steps::{StepError, println_step, run, run_with};

/// A file that shows that a package is there, the package, and what the tests want it for.
const NEEDED: &[(&str, &str, &str)] = &[
    ("/usr/sbin/named", "bind9", "an authoritative name server"),
    (
        "/usr/bin/dnssec-signzone",
        "bind9-utils",
        "to sign its zones, also wrongly",
    ),
    ("/usr/sbin/unbound", "unbound", "a resolver"),
    ("/usr/sbin/dnsmasq", "dnsmasq-base", "a forwarder"),
    ("/usr/sbin/nginx", "nginx", "a web server"),
    (
        "/usr/bin/etcd",
        "etcd-server",
        "etcd, one and three members",
    ),
    (
        "/usr/bin/etcdctl",
        "etcd-client",
        "to add members and fill etcd",
    ),
    (
        "/usr/lib/rabbitmq/bin/rabbitmq-server",
        "rabbitmq-server",
        "RabbitMQ, one and three nodes",
    ),
    (
        "/usr/lib/postgresql/15/bin/postgres",
        "postgresql-15",
        "PostgreSQL, killed under load",
    ),
    (
        "/usr/bin/pgbench",
        "postgresql-client-common",
        "to put that load on it",
    ),
    (
        "/lib/systemd/systemd",
        "systemd",
        "booted in namespaces of its own",
    ),
    (
        "/usr/bin/dbus-daemon",
        "dbus-daemon",
        "the bus that units are asked over",
    ),
    ("/usr/bin/setpriv", "util-linux", "to run servers as nobody"),
    ("/usr/bin/mount", "mount", "file systems that fill up"),
    ("/usr/bin/script", "bsdutils", "a terminal to look at"),
    ("/usr/bin/curl", "curl", "to fill queues and keys over HTTP"),
];

const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Installs the packages that are missing.
pub(crate) fn install_missing() -> Result<(), StepError> {
    let missing: Vec<_> = NEEDED
        .iter()
        .filter(|(shown_by, ..)| !Path::new(shown_by).exists())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    println_step("The tests need servers that are not on this machine:");
    for (_, package, purpose) in &missing {
        println_step(&format!("  {package:<18} {purpose}"));
    }
    let names: Vec<&str> = missing.iter().map(|(_, package, _)| *package).collect();
    if !is_root() || !Path::new("/usr/bin/apt-get").exists() {
        return Err(StepError::Rule(format!(
            "not installed: {}. Install them (as root: apt-get install {}) and run this again",
            names.join(", "),
            names.join(" ")
        )));
    }
    println_step("Installing them with apt-get; none of their services is started.");
    let _policy = NoServices::new()?;
    let quiet = [("DEBIAN_FRONTEND", "noninteractive")];
    run("apt-get", &["-q", "update"])?;
    let mut arguments = vec![
        "-q",
        "-y",
        "-o",
        "DPkg::Lock::Timeout=120",
        "-o",
        "APT::Install-Recommends=false",
        "install",
    ];
    arguments.extend(names);
    run_with("apt-get", &arguments, &quiet)
}

/// While it lives, no maintainer script starts a service.
struct NoServices {
    previous: Option<PathBuf>,
}

impl NoServices {
    fn new() -> Result<Self, StepError> {
        let failed = |source| StepError::Start {
            command: format!("write {POLICY}"),
            source,
        };
        let previous = Path::new(POLICY)
            .exists()
            .then(|| PathBuf::from(format!("{POLICY}.before-blackstart")));
        if let Some(kept) = &previous {
            fs::rename(POLICY, kept).map_err(failed)?;
        }
        fs::write(POLICY, "#!/bin/sh\nexit 101\n").map_err(failed)?;
        fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755)).map_err(failed)?;
        Ok(Self { previous })
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        let restored = match &self.previous {
            Some(kept) => fs::rename(kept, POLICY),
            None => fs::remove_file(POLICY),
        };
        if let Err(failure) = restored {
            println_step(&format!("cannot restore {POLICY}: {failure}"));
        }
    }
}

fn is_root() -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| {
        status
            .lines()
            .find_map(|line| line.strip_prefix("Uid:"))
            .and_then(|ids| ids.split_whitespace().nth(1))
            == Some("0")
    })
}
