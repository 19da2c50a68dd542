//! `systemd.units` and `systemd.unit` against a real systemd in namespaces of its own.
//!
//! systemd answers only whom it can name: the test starts itself again inside of the namespaces, where its process has a number.

use std::process::Command;
use std::time::Duration;

use blackstart_agent::observation::Status;
use blackstart_agent::probe::Probe;
use blackstart_tests::eventually;
use blackstart_tests::servers::systemd::Systemd;

use super::{TIMEOUT, configure, finding, probe};

const PATIENCE: Duration = Duration::from_secs(60);

/// A service without the dependencies of a whole system.
fn service(lines: &str) -> String {
    format!("[Unit]\nDefaultDependencies=no\n[Service]\n{lines}\n")
}

/// Waits until the probe says this, and gives the detail.
async fn until(probe: &dyn Probe, status: Status, part: &str) -> String {
    eventually(&format!("{status:?} {part}"), PATIENCE, async || {
        let seen = finding(probe, TIMEOUT).await;
        if seen.status == status && seen.detail.contains(part) {
            Ok(seen.detail)
        } else {
            Err(seen)
        }
    })
    .await
}

const INSIDE: &str = "BLACKSTART_TEST_INSIDE";

/// Starts this test again where that systemd is, and waits for its end.
fn again_inside(systemd: &Systemd, test: &str) {
    let output = Command::new("nsenter")
        .args([
            "-t",
            &systemd.pid().to_string(),
            "-m",
            "-p",
            "-u",
            "-i",
            "-C",
        ])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("nsenter runs");
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success() && out.contains("1 passed"),
        "{}\n{out}\n{err}",
        output.status
    );
}

fn systemctl(arguments: &[&str]) {
    let output = Command::new("systemctl").args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test]
async fn units_that_run_fail_loop_hang_and_are_missing() {
    if std::env::var_os(INSIDE).is_some() {
        return inside().await;
    }
    let units = [
        ("good.service", service("ExecStart=/bin/sleep 600")),
        ("bad.service", service("ExecStart=/bin/sh -c 'exit 3'")),
        ("slow.service", service("Type=oneshot\nExecStart=/bin/sleep 600\nTimeoutStartSec=infinity")),
        ("once.service", service("Type=oneshot\nExecStart=/bin/true")),
        ("loop.service", "[Unit]\nDefaultDependencies=no\nStartLimitIntervalSec=0\n[Service]\nExecStart=/bin/false\nRestart=always\nRestartSec=1\n".to_owned()),
        (
            "waits.service",
            "[Unit]\nDefaultDependencies=no\nAfter=slow.service\n[Service]\nExecStart=/bin/sleep 600\n".to_owned(),
        ),
    ];
    let units: Vec<_> = units
        .iter()
        .map(|(name, text)| (*name, text.as_str()))
        .collect();
    let systemd = Systemd::boot(&units);
    again_inside(
        &systemd,
        "systemd::units_that_run_fail_loop_hang_and_are_missing",
    );
}

async fn inside() {
    let unit = |name: &str, more: &str| {
        probe(&format!(
            "kind = \"systemd.unit\"\nunit = \"{name}\"\n{more}"
        ))
    };
    let good = unit("good.service", "");
    assert_eq!(until(&*good, Status::Ok, "").await, "running");
    assert!(
        until(&*unit("bad.service", ""), Status::Failed, "failed")
            .await
            .starts_with("failed (exit-code, status 3) since ")
    );
    assert!(
        until(&*unit("slow.service", ""), Status::Starting, "")
            .await
            .starts_with("starting since ")
    );
    assert_eq!(
        until(&*unit("waits.service", ""), Status::Starting, "").await,
        "waits for other units to start first"
    );
    assert_eq!(
        until(&*unit("once.service", "expect = \"done\""), Status::Ok, "").await,
        "done"
    );
    until(
        &*unit("loop.service", ""),
        Status::Failed,
        "dies again and again: restarted ",
    )
    .await;
    assert_eq!(
        until(&*unit("nobody.service", ""), Status::Failed, "").await,
        "no such unit is installed"
    );

    // The boot is not over while slow.service starts.
    let whole = probe("kind = \"systemd.units\"\nstuck_after = \"1s\"");
    let booting = until(&*whole, Status::Starting, "waits for slow.service").await;
    assert!(booting.starts_with("booting: "), "{booting}");
    assert!(booting.ends_with("; failed: bad.service"), "{booting}");
    let progress = finding(&*whole, TIMEOUT).await.progress;
    assert!(
        progress.is_some_and(|progress| (0.0..1.0).contains(&progress)),
        "{progress:?}"
    );

    systemctl(&["stop", "good.service"]);
    assert!(
        until(&*good, Status::Failed, "stopped")
            .await
            .starts_with("stopped since ")
    );
    systemctl(&["start", "--no-block", "good.service"]);
    until(&*good, Status::Ok, "running").await;

    // Without the one that hangs the boot ends; what failed and what loops is named.
    systemctl(&["stop", "slow.service"]);
    until(
        &*whole,
        Status::Degraded,
        "failed: bad.service, slow.service",
    )
    .await;
    until(
        &*whole,
        Status::Degraded,
        "restarting again and again: loop.service",
    )
    .await;
    systemctl(&["stop", "loop.service"]);
    systemctl(&["reset-failed"]);
    assert_eq!(
        until(&*whole, Status::Ok, "").await,
        "running, no failed units"
    );
}

#[tokio::test]
async fn where_there_is_no_systemd_nothing_is_known() {
    let probe =
        probe("kind = \"systemd.unit\"\nunit = \"a.service\"\nsocket = \"/nowhere/private\"");
    let seen = finding(&*probe, TIMEOUT).await;
    assert_eq!(seen.status, Status::Unknown, "{seen:?}");
}

#[test]
fn bad_keys_are_refused() {
    let report = configure("kind = \"systemd.unit\"\nunit = \"postgresql\"\n").unwrap_err();
    assert!(
        report.contains("expected a unit's whole name, like \"postgresql.service\""),
        "{report}"
    );
}
