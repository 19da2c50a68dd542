//! A real systemd as the first process of namespaces of its own, with no container engine.
//!
//! Root only: the namespaces, the mounts and the control groups need it. The host's systemd, if
//! there is one, sees a process and nothing else.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use crate::{Daemon, TempHome, wait_for};

/// How long systemd may take to answer its first question; it needs about a second.
const READY_MAX: Duration = Duration::from_secs(30);

/// The target that is reached at boot; tests hang their units under it.
pub const TARGET: &str = "blackstart-test.target";

/// Prepares the namespaces and becomes systemd. `$1` holds the unit files.
const INIT: &str = r#"set -eu
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system /run/dbus
cp "$1"/* /run/systemd/system/
umount -R /sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p "/sys/fs/cgroup/$2"
echo $$ > "/sys/fs/cgroup/$2/cgroup.procs"
exec env container=docker unshare -C /lib/systemd/systemd --unit="$3" --log-target=null --show-status=no
"#;

/// A running systemd.
#[derive(Debug)]
pub struct Systemd {
    daemon: Daemon,
    pid: u32,
    group: PathBuf,
    _home: TempHome,
}

impl Systemd {
    /// Boots with these units (file name, content); those named `*.service` are started at boot.
    ///
    /// # Panics
    /// When it does not boot, or we are not root.
    pub fn boot(units: &[(&str, &str)]) -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "systemd in namespaces of its own needs root; run the tests as root"
        );
        let home = TempHome::new("systemd");
        let wanted: Vec<&str> = units
            .iter()
            .map(|&(name, _)| name)
            .filter(|name| name.ends_with(".service"))
            .collect();
        for (name, content) in units {
            home.write(&format!("units/{name}"), content);
        }
        home.write(
            &format!("units/{TARGET}"),
            &format!(
                "[Unit]\nDefaultDependencies=no\nWants={}\n",
                wanted.join(" ")
            ),
        );
        let group = home
            .path()
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let mut command = Command::new("unshare");
        command
            .args([
                "-m",
                "-p",
                "-f",
                "-u",
                "-i",
                "--mount-proc",
                "/bin/sh",
                "-c",
                INIT,
                "init",
            ])
            .arg(home.join("units"))
            .args([group.as_str(), TARGET]);
        let daemon = Daemon::spawn("systemd", &mut command, &home.join("log"));
        let pid = wait_for("the first process of the namespaces", READY_MAX, || {
            child_of(daemon.pid())
        });
        let systemd = Self {
            daemon,
            pid,
            group: PathBuf::from("/sys/fs/cgroup").join(group),
            _home: home,
        };
        wait_for("systemd's answer", READY_MAX, || {
            let state = systemd.systemctl(&["is-system-running"]);
            let state = String::from_utf8_lossy(&state.stdout).trim().to_owned();
            matches!(
                state.as_str(),
                "running" | "degraded" | "starting" | "initializing"
            )
            .then_some(())
        });
        systemd
    }

    /// Its pid, as seen from outside; `nsenter -t PID -a` goes where it is.
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// The root of its file system, as seen from outside.
    pub fn root(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root", self.pid))
    }

    /// The path of its manager's private D-Bus socket, reachable from outside.
    pub fn private_socket(&self) -> PathBuf {
        self.root().join("run/systemd/private")
    }

    /// A command that runs where this systemd is.
    pub fn enter(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["-t", &self.pid.to_string(), "-m", "-p", "-u", "-i", "-C"])
            .args(["timeout", "-k", "1", "10"])
            .arg(program);
        command
    }

    /// Runs `systemctl` where this systemd is.
    ///
    /// # Panics
    /// When it cannot be run at all.
    pub fn systemctl(&self, arguments: &[&str]) -> Output {
        self.enter("systemctl")
            .args(arguments)
            .output()
            .expect("nsenter runs")
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        // The first process of a pid namespace ignores SIGTERM; its death ends all in it.
        if let Some(pid) = i32::try_from(self.pid)
            .ok()
            .and_then(rustix::process::Pid::from_raw)
        {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        self.daemon.kill();
        remove_groups(&self.group);
    }
}

/// The only child of `unshare -f`, once it is systemd.
fn child_of(pid: u32) -> Option<u32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    let child: u32 = children.split_whitespace().next()?.parse().ok()?;
    let name = std::fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
    (name.trim() == "systemd").then_some(child)
}

/// Removes the control groups that it left, deepest first; they are empty by now.
fn remove_groups(group: &std::path::Path) {
    if let Ok(entries) = std::fs::read_dir(group) {
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                remove_groups(&entry.path());
            }
        }
    }
    let _ = std::fs::remove_dir(group);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_run_and_fail_in_it() {
        let systemd = Systemd::boot(&[
            (
                "bad.service",
                "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/bin/false\n",
            ),
            (
                "good.service",
                "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/bin/sleep 600\n",
            ),
        ]);
        let state = |unit: &str| {
            let output = systemd.systemctl(&["is-active", unit]);
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        };
        crate::wait_until("bad.service failed", READY_MAX, || {
            state("bad.service") == "failed"
        });
        crate::wait_until("good.service runs", READY_MAX, || {
            state("good.service") == "active"
        });
    }
}
