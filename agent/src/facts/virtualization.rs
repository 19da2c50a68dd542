//! What this host runs in: a container, a virtual machine, or neither, in the words of systemd-detect-virt(1).
//!
//! Hosts that share it may share a fault: one bad hypervisor update, one provider's broken metal. Files are read and no process is started;
//! where they do not tell, nothing is said.

use std::fs;
use std::path::Path;

/// What the files say.
#[derive(Debug, Default)]
struct Signs {
    /// `/run/.containerenv`, which podman makes.
    podman: bool,
    /// `/.dockerenv`.
    docker: bool,
    /// `/run/systemd/container` or `container=` of the first process: the manager's own name.
    container: String,
    /// `/proc/sys/kernel/osrelease`.
    kernel: String,
    /// `/proc/vz` without `/proc/bc`: inside OpenVZ, not its host.
    openvz: bool,
    /// `/sys/hypervisor/type`, and `/proc/xen/capabilities`.
    hypervisor: String,
    is_xen_host: bool,
    /// Vendor, product, board and BIOS of `/sys/class/dmi/id`, and the product's name alone.
    dmi: Vec<String>,
    product: String,
    /// Names of the kernel's clocks.
    clocks: String,
    /// The `hypervisor` flag of the processors; `None` where they have no flags.
    flag: Option<bool>,
    /// `/proc/device-tree/hypervisor/compatible`, and whether firmware configuration of QEMU is in the tree.
    device_tree: String,
}

/// How DMI names a virtual machine, in the order in which they are tried (systemd 257, src/basic/virt.c).
const DMI: [(&str, &str); 19] = [
    ("KVM", "kvm"),
    ("OpenStack", "kvm"),
    ("KubeVirt", "kvm"),
    ("Amazon EC2", "amazon"),
    ("QEMU", "qemu"),
    ("VMware", "vmware"),
    ("VMW", "vmware"),
    ("innotek GmbH", "oracle"),
    ("VirtualBox", "oracle"),
    ("Oracle Corporation", "oracle"),
    ("Xen", "xen"),
    ("Bochs", "bochs"),
    ("Parallels", "parallels"),
    ("BHYVE", "bhyve"),
    ("Hyper-V", "microsoft"),
    ("Virtual Machine", "microsoft"),
    ("Apple Virtualization", "apple"),
    ("Google Compute Engine", "google"),
    ("Scaleway", "kvm"),
];

/// Reads the files under `root`. `None` where they do not tell.
pub(super) fn read(root: &Path) -> Option<String> {
    let text = |path: &str| {
        let bytes = fs::read(root.join(path)).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        text.trim_end_matches(['\n', '\0']).to_owned()
    };
    let exists = |path: &str| root.join(path).exists();
    let dmi = [
        "sys_vendor",
        "board_vendor",
        "bios_vendor",
        "product_version",
    ];
    let product = text("sys/class/dmi/id/product_name");
    let signs = Signs {
        podman: exists("run/.containerenv"),
        docker: exists(".dockerenv"),
        container: Some(text("run/systemd/container"))
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| container_variable(&text("proc/1/environ"))),
        kernel: text("proc/sys/kernel/osrelease"),
        openvz: exists("proc/vz") && !exists("proc/bc"),
        hypervisor: text("sys/hypervisor/type"),
        is_xen_host: text("proc/xen/capabilities").contains("control_d"),
        dmi: std::iter::once(product.clone())
            .chain(
                dmi.iter()
                    .map(|name| text(&format!("sys/class/dmi/id/{name}"))),
            )
            .collect(),
        product,
        clocks: text("sys/devices/system/clocksource/clocksource0/available_clocksource"),
        flag: hypervisor_flag(&text("proc/cpuinfo")),
        device_tree: text("proc/device-tree/hypervisor/compatible"),
    };
    judge(&signs)
}

/// The value of `container=` among the variables of the first process, which its manager sets.
fn container_variable(environment: &str) -> String {
    environment
        .split('\0')
        .find_map(|variable| variable.strip_prefix("container="))
        .unwrap_or_default()
        .to_owned()
}

fn hypervisor_flag(cpuinfo: &str) -> Option<bool> {
    let flags = cpuinfo.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == "flags").then_some(value)
    })?;
    Some(flags.split_whitespace().any(|flag| flag == "hypervisor"))
}

/// A container goes before the machine that it is on, as there.
fn judge(signs: &Signs) -> Option<String> {
    container(signs)
        .or_else(|| machine(signs))
        .map(str::to_owned)
}

fn container(signs: &Signs) -> Option<&'static str> {
    let kernel = signs.kernel.to_ascii_lowercase();
    if signs.openvz {
        return Some("openvz");
    }
    if kernel.contains("microsoft") || kernel.contains("wsl") {
        return Some("wsl");
    }
    match signs.container.as_str() {
        "" => {}
        "lxc" => return Some("lxc"),
        "lxc-libvirt" => return Some("lxc-libvirt"),
        "systemd-nspawn" => return Some("systemd-nspawn"),
        "docker" => return Some("docker"),
        "podman" => return Some("podman"),
        "rkt" => return Some("rkt"),
        "wsl" => return Some("wsl"),
        "proot" => return Some("proot"),
        // An OCI manager that does not say which.
        "oci" if signs.podman => return Some("podman"),
        "oci" if signs.docker => return Some("docker"),
        _ => return Some("container-other"),
    }
    if signs.podman {
        Some("podman")
    } else if signs.docker {
        Some("docker")
    } else {
        None
    }
}

fn machine(signs: &Signs) -> Option<&'static str> {
    let clock = |name: &str| {
        signs
            .clocks
            .split_whitespace()
            .any(|clock| clock.starts_with(name))
    };
    let by_dmi = signs.dmi.iter().find_map(|text| {
        DMI.iter()
            .find_map(|(begin, name)| text.starts_with(begin).then_some(*name))
    });
    // A provider's metal carries the provider's name, and is none.
    if by_dmi == Some("amazon") && signs.product.contains(".metal") {
        return Some("none");
    }
    match by_dmi {
        // QEMU is the machine's name, and what runs it shows in its clock.
        Some("qemu") if clock("kvm-clock") => return Some("kvm"),
        // Microsoft's own hardware has its name too: the flag tells.
        Some("microsoft") if signs.flag == Some(false) => return Some("none"),
        Some(name) => return Some(name),
        None => {}
    }
    if signs.hypervisor == "xen" {
        return Some(if signs.is_xen_host { "none" } else { "xen" });
    }
    match signs.device_tree.as_str() {
        "" => {}
        "linux,kvm" => return Some("kvm"),
        tree if tree.contains("xen") => return Some("xen"),
        tree if tree.contains("vmware") => return Some("vmware"),
        _ => return Some("vm-other"),
    }
    if clock("kvm-clock") {
        return Some("kvm");
    }
    if clock("hyperv") {
        return Some("microsoft");
    }
    match signs.flag {
        Some(true) => Some("vm-other"),
        Some(false) => Some("none"),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(change: impl FnOnce(&mut Signs)) -> Option<String> {
        let mut signs = Signs::default();
        change(&mut signs);
        judge(&signs)
    }

    #[test]
    fn machines_are_named_by_what_their_firmware_and_kernel_say() {
        let dmi = |texts: &[&str], flag, clocks: &str| {
            told(|signs| {
                signs.dmi = texts.iter().map(|&text| text.to_owned()).collect();
                signs.product = texts[0].to_owned();
                signs.flag = flag;
                signs.clocks = clocks.to_owned();
            })
        };
        for (texts, flag, clocks, expected) in [
            (
                ["Standard PC (Q35 + ICH9, 2009)", "QEMU"],
                Some(true),
                "kvm-clock tsc",
                "kvm",
            ),
            (
                ["Standard PC (Q35 + ICH9, 2009)", "QEMU"],
                Some(true),
                "tsc acpi_pm",
                "qemu",
            ),
            (
                ["VMware Virtual Platform", "VMware, Inc."],
                Some(true),
                "tsc",
                "vmware",
            ),
            (
                ["m5.large", "Amazon EC2"],
                Some(true),
                "kvm-clock",
                "amazon",
            ),
            (["m5.metal", "Amazon EC2"], Some(false), "tsc", "none"),
            (
                ["Google Compute Engine", "Google"],
                Some(true),
                "kvm-clock",
                "google",
            ),
            (
                ["Virtual Machine", "Microsoft Corporation"],
                Some(true),
                "hyperv_clocksource_tsc_page",
                "microsoft",
            ),
            (["VirtualBox", "innotek GmbH"], Some(true), "tsc", "oracle"),
            (
                ["PowerEdge R640", "Dell Inc."],
                Some(false),
                "tsc hpet",
                "none",
            ),
            (
                ["Some Cloud", "Some Provider"],
                Some(true),
                "kvm-clock tsc",
                "kvm",
            ),
            (
                ["Some Cloud", "Some Provider"],
                Some(true),
                "tsc",
                "vm-other",
            ),
        ] {
            assert_eq!(
                dmi(&texts, flag, clocks).as_deref(),
                Some(expected),
                "{texts:?}"
            );
        }
    }

    #[test]
    fn a_container_goes_before_its_machine() {
        let in_vm = |change: fn(&mut Signs)| {
            told(|signs| {
                signs.flag = Some(true);
                change(signs);
            })
        };
        for (change, expected) in [
            ((|signs| signs.docker = true) as fn(&mut Signs), "docker"),
            (|signs| signs.podman = true, "podman"),
            (|signs| signs.container = "lxc".to_owned(), "lxc"),
            (
                |signs| signs.container = "systemd-nspawn".to_owned(),
                "systemd-nspawn",
            ),
            (
                |signs| signs.container = "garden".to_owned(),
                "container-other",
            ),
            (|signs| signs.openvz = true, "openvz"),
            (
                |signs| signs.kernel = "5.15.90.1-microsoft-standard-WSL2".to_owned(),
                "wsl",
            ),
            (|signs| signs.hypervisor = "xen".to_owned(), "xen"),
        ] {
            assert_eq!(in_vm(change).as_deref(), Some(expected));
        }
    }

    #[test]
    fn where_nothing_tells_nothing_is_said() {
        assert_eq!(judge(&Signs::default()), None);
        assert_eq!(read(Path::new("/nonexistent")), None);
    }

    #[test]
    fn files_are_read_as_the_kernel_writes_them() {
        assert_eq!(
            hypervisor_flag("processor\t: 0\nflags\t\t: fpu vme hypervisor lahf_lm\n"),
            Some(true)
        );
        assert_eq!(
            hypervisor_flag("processor\t: 0\nflags\t\t: fpu vme\n"),
            Some(false)
        );
        assert_eq!(
            hypervisor_flag("processor\t: 0\nFeatures\t: fp asimd\n"),
            None
        );
        assert_eq!(container_variable("A=b\0container=podman\0"), "podman");
        let root = tempfile::TempDir::new().unwrap();
        for (path, text) in [
            ("sys/class/dmi/id/sys_vendor", "QEMU\n"),
            ("sys/class/dmi/id/product_name", "KVM Virtual Machine\n"),
            ("proc/cpuinfo", "flags\t: hypervisor\n"),
        ] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        assert_eq!(read(root.path()).as_deref(), Some("kvm"));
    }
}
