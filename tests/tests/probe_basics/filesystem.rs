//! `host.filesystem` and its neighbours on real mounts, in a mount namespace that the test makes for itself.
//!
//! The test starts itself again under `unshare`: what is mounted there, and the `/etc/fstab` that lies over the host's, is seen by
//! nobody else and ends with the process.

use std::process::Command;
use std::time::Duration;

use blackstart_agent::host::HostView;
use blackstart_agent::observation::{Finding, Status};
use blackstart_agent::probe::{Deadline, Discovered};
use blackstart_agent::registry;
use blackstart_tests::{TempHome, inside_own_mounts};

use super::{configure, failed, ok, once, seen, value};

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn discovered(kind: &str) -> Vec<Discovered> {
    let host = HostView {
        root: "/".into(),
        ..HostView::default()
    };
    (registry::find(kind).expect("a kind").discover)(&host, "h")
}

async fn finding_of(found: &[Discovered], component: &str) -> Finding {
    let one = found.iter().find(|one| one.component == component);
    let one = one.unwrap_or_else(|| {
        panic!(
            "no {component} among {:?}",
            found.iter().map(|one| &one.component).collect::<Vec<_>>()
        )
    });
    one.probe
        .run(Deadline::after(Duration::from_secs(20)))
        .await
        .remove(0)
        .finding
}

#[tokio::test]
async fn mounts_that_fill_up_turn_read_only_and_go_missing() {
    if !inside_own_mounts("filesystem::mounts_that_fill_up_turn_read_only_and_go_missing") {
        return;
    }
    let home = TempHome::new("mounts");
    let place = |name: &str| {
        std::fs::create_dir_all(home.join(name)).unwrap();
        home.join(name).display().to_string()
    };
    let (data, tiny, gone, vault) = (
        place("my data"),
        place("tiny"),
        place("gone"),
        place("vault"),
    );
    let etc = home.join("etc");
    home.write(
        "etc/fstab",
        &format!(
            "tmpfs {} tmpfs size=1m 0 0\ntmpfs {tiny} tmpfs nr_inodes=20 0 0\n\
             UUID=0000-0000 {gone} ext4 defaults 0 2\n/dev/mapper/blackstart-vault {vault} xfs defaults 0 2\n\
             /dev/sdz1 /usb vfat noauto 0 0\n",
            data.replace(' ', "\\040")
        ),
    );
    home.write("etc/crypttab", "blackstart-vault UUID=1 none luks\n");
    run("mount", &["--bind", &etc.display().to_string(), "/etc"]);
    run("mount", &["-t", "tmpfs", "-o", "size=1m", "tmpfs", &data]);
    run(
        "mount",
        &["-t", "tmpfs", "-o", "nr_inodes=20", "tmpfs", &tiny],
    );

    let found = discovered("host.filesystem");
    let names: Vec<_> = found.iter().map(|one| one.component.clone()).collect();
    for path in [&data, &tiny, &gone, &vault] {
        assert!(names.contains(&format!("h/fs:{path}")), "{path}: {names:?}");
    }
    assert!(names.contains(&"h/fs:/".to_owned()), "{names:?}");
    assert!(
        !names
            .iter()
            .any(|name| name.contains("/usb") || name.contains("/proc")),
        "{names:?}"
    );

    // Full, through every threshold.
    let toml = format!("kind = \"host.filesystem\"\npath = {data:?}");
    assert_eq!(seen(&toml).await, ok("0 % of 1 MiB used"));
    std::fs::write(format!("{data}/a"), vec![1; 960 * 1024]).unwrap();
    assert_eq!(seen(&toml).await, super::degraded("93 % of 1 MiB used"));
    std::fs::write(format!("{data}/b"), vec![1; 64 * 1024]).unwrap();
    let full = once(&toml).await;
    assert_eq!(
        (full.status, full.detail.as_str()),
        (Status::Failed, "full: nothing of 1 MiB is free")
    );
    assert!((value(&full, "used_ratio") - 1.0).abs() < 1e-9, "{full:?}");
    std::fs::remove_file(format!("{data}/a")).unwrap();
    assert_eq!(seen(&toml).await, ok("6 % of 1 MiB used"));

    // Inodes.
    let inodes = format!("kind = \"host.filesystem\"\npath = {tiny:?}");
    let mut files = 0;
    while std::fs::write(format!("{tiny}/{files}"), "").is_ok() {
        files += 1;
    }
    assert_eq!(
        seen(&inodes).await,
        failed("out of inodes: all 20 are used")
    );

    // Read-only, against fstab.
    run("mount", &["-o", "remount,ro", &data]);
    assert_eq!(
        seen(&toml).await,
        failed("mounted read-only, though /etc/fstab says read-write")
    );
    // Only the superblock is, as after an error of the disk.
    run("mount", &["-o", "remount,bind,rw", &data]);
    assert_eq!(
        seen(&toml).await,
        failed("read-only: the kernel stopped writing, which it does after an error of tmpfs")
    );

    // Not there.
    run("umount", &[&data]);
    assert_eq!(
        seen(&toml).await,
        failed("not mounted, though /etc/fstab wants it")
    );
    assert_eq!(
        finding_of(&found, &format!("h/fs:{gone}")).await.detail,
        "not mounted: its device UUID=0000-0000 is not there"
    );

    // Locked.
    let locked = finding_of(&found, &format!("h/fs:{vault}")).await;
    assert_eq!(
        (locked.status, locked.detail.as_str()),
        (
            Status::Starting,
            "not mounted: the encrypted volume blackstart-vault is locked and waits for its key"
        )
    );
    let crypt = discovered("host.crypt");
    let locked = finding_of(&crypt, "h/crypt:blackstart-vault").await;
    assert_eq!(
        (locked.status, locked.detail.as_str()),
        (Status::Starting, "locked: waits for its key")
    );
}

#[tokio::test]
async fn this_host_shows_its_load_and_its_root() {
    let load = finding_of(&discovered("host.load"), "h").await;
    assert_ne!(load.status, Status::Unknown, "{load:?}");
    assert!(value(&load, "cpus") >= 1.0);
    let root = finding_of(&discovered("host.filesystem"), "h/fs:/").await;
    assert!(root.detail.contains('%'), "{root:?}");
}

#[test]
fn bad_keys_are_refused() {
    let report =
        configure("kind = \"host.filesystem\"\npath = \"var\"\nused_failed = 90\n").unwrap_err();
    assert_eq!(
        report,
        "/etc/blackstart/agent.toml: configuration refused\n\
         \x20 line 2   path = \"var\"   expected the absolute path of a mount, like \"/var\"\n\
         \x20 line 3   used_failed = 90   expected a number from 0 to 1\n\
         2 problems"
    );
    let report =
        configure("kind = \"host.load\"\nload_per_cpu_degraded = 4\nload_per_cpu_failed = 2\n")
            .unwrap_err();
    assert!(
        report.contains("load_per_cpu_failed = 2   failed must be worse than degraded"),
        "{report}"
    );
}
