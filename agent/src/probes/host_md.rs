//! `host.md`: is this software RAID whole?
//!
//! One component for each array of `/proc/mdstat`, `HOST/md:md0`. Always on. Told apart: whole, degraded (and how far its
//! recovery is), too few devices to work, inactive, gone.
//!
//! ```toml
//! [probe.raid]
//! kind = "host.md"
//! array = "md0"
//! ```
//!
//! The kernel of the machines that run its tests has no software RAID: they read what other kernels write into `/proc/mdstat`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use blackstart_config::Section;

use crate::host::HostView;
use crate::observation::{Finding, Observation};
use crate::probe::{Deadline, Discovered, Privilege, Probe, ProbeIdentity, ProbeKind, Run, Target};

const NAME: &str = "host.md";

/// The most arrays that are probed; Linux names 512 by number, hosts have a handful.
const ARRAYS_MAX: usize = 32;

/// The registry's entry.
pub static KIND: ProbeKind = ProbeKind {
    name: NAME,
    component_kind: "volume",
    summary: "a software RAID is whole, or how far its recovery is",
    privilege: Privilege::None,
    interval: Duration::from_secs(30),
    timeout: Duration::from_secs(5),
    configure,
    discover,
    recall: Some(recall),
};

#[derive(Debug)]
struct HostMd {
    component: String,
    array: String,
    root: PathBuf,
}

/// What `/proc/mdstat` says of an array.
#[derive(Debug, Clone, PartialEq)]
struct Array {
    name: String,
    active: bool,
    read_only: bool,
    level: String,
    /// How many devices it should have, and how many work.
    devices: Option<(u32, u32)>,
    /// Devices marked `(F)`.
    faulty: Vec<String>,
    action: Option<Action>,
}

/// What it is busy with: `recovery = 12.6% … finish=0.4min`.
#[derive(Debug, Clone, PartialEq)]
struct Action {
    name: String,
    percent: f64,
    minutes_left: Option<f64>,
}

fn configure(section: &mut Section<'_>, identity: &ProbeIdentity) -> Option<Box<dyn Probe>> {
    let array = section.required_string("array")?;
    let array = array.strip_prefix("/dev/").unwrap_or(&array).to_owned();
    Some(Box::new(HostMd {
        component: identity.component.clone(),
        array,
        root: "/".into(),
    }))
}

fn discover(host: &HostView, id: &str) -> Vec<Discovered> {
    let arrays = read(&host.root)
        .map(|text| parse(&text))
        .unwrap_or_default();
    arrays
        .into_iter()
        .take(ARRAYS_MAX)
        .map(|array| found_array(array.name, id, &host.root))
        .collect()
}

/// An array that nobody configured.
fn found_array(array: String, id: &str, root: &Path) -> Discovered {
    let component = format!("{id}/md:{array}");
    Discovered {
        component: component.clone(),
        component_kind: "volume",
        in_host: true,
        uses: Vec::new(),
        trace: Some(array.clone()),
        probe: Box::new(HostMd {
            component,
            array,
            root: root.to_path_buf(),
        }),
    }
}

/// The array's name.
fn recall(trace: &str, host: &str) -> Option<Discovered> {
    let is_name = !trace.is_empty() && !trace.contains('/');
    is_name.then(|| found_array(trace.to_owned(), host, Path::new("/")))
}

impl Probe for HostMd {
    fn targets(&self) -> Vec<Target> {
        vec![Target {
            component: self.component.clone(),
            check: NAME,
        }]
    }

    fn run(&self, _: Deadline) -> Run<'_> {
        let finding = match read(&self.root) {
            Ok(text) => judge(parse(&text).iter().find(|array| array.name == self.array)),
            Err(error) => Finding::unknown(format!(
                "cannot read /proc/mdstat: {}",
                crate::net::connect::reason(&error)
            )),
        };
        let observation = Observation {
            component: self.component.clone(),
            check: NAME.into(),
            finding,
        };
        Box::pin(std::future::ready(vec![observation]))
    }
}

fn read(root: &Path) -> std::io::Result<String> {
    std::fs::read_to_string(root.join("proc/mdstat"))
}

fn parse(text: &str) -> Vec<Array> {
    let mut arrays: Vec<Array> = Vec::new();
    for line in text.lines() {
        if let Some((name, rest)) = line.split_once(" : ") {
            if name.starts_with("md") {
                arrays.push(parse_head(name.trim(), rest));
            }
            continue;
        }
        let Some(array) = arrays.last_mut() else {
            continue;
        };
        array.devices = array.devices.or_else(|| parse_devices(line));
        array.action = array.action.take().or_else(|| parse_action(line));
    }
    arrays
}

/// `active (auto-read-only) raid1 sdb1[1] sda1[0](F)`.
fn parse_head(name: &str, rest: &str) -> Array {
    let mut words = rest.split_ascii_whitespace().peekable();
    let active = words.next() == Some("active");
    let mut read_only = false;
    // `(auto-read-only)` ends with the first write; only `(read-only)` is a fault.
    while let Some(word) = words.next_if(|word| word.starts_with('(')) {
        read_only |= word == "(read-only)";
    }
    let level = words
        .next_if(|word| !word.contains('['))
        .unwrap_or_default()
        .to_owned();
    let faulty = words
        .filter(|word| word.ends_with("(F)"))
        .filter_map(|word| word.split('[').next())
        .map(str::to_owned)
        .collect();
    Array {
        name: name.to_owned(),
        active,
        read_only,
        level,
        devices: None,
        faulty,
        action: None,
    }
}

/// `1047552 blocks super 1.2 [2/1] [U_]`.
fn parse_devices(line: &str) -> Option<(u32, u32)> {
    line.split_ascii_whitespace().find_map(|word| {
        let (all, working) = word.strip_prefix('[')?.strip_suffix(']')?.split_once('/')?;
        Some((all.parse().ok()?, working.parse().ok()?))
    })
}

/// `[==>......]  recovery = 12.6% (132288/1047552) finish=0.4min speed=33072K/sec`, or `resync=DELAYED`.
fn parse_action(line: &str) -> Option<Action> {
    let name = ["recovery", "resync", "reshape", "check"]
        .into_iter()
        .find(|name| line.contains(name))?;
    let percent = line
        .split_ascii_whitespace()
        .find_map(|word| word.strip_suffix('%')?.parse().ok())
        .or_else(|| (line.contains("DELAYED") || line.contains("PENDING")).then_some(0.0))?;
    let minutes_left = line.split_ascii_whitespace().find_map(|word| {
        word.strip_prefix("finish=")?
            .strip_suffix("min")?
            .parse()
            .ok()
    });
    Some(Action {
        name: name.to_owned(),
        percent,
        minutes_left,
    })
}

fn judge(array: Option<&Array>) -> Finding {
    let Some(array) = array else {
        return Finding::failed("the array is not there: not assembled, or stopped");
    };
    let mut finding = verdict(array);
    if let Some((all, working)) = array.devices {
        finding = finding
            .with("devices", f64::from(all))
            .with("devices_working", f64::from(working));
    }
    if let Some(action) = &array.action {
        finding = finding.with("action_ratio", action.percent / 100.0);
        if let Some(minutes) = action.minutes_left {
            finding = finding.with("action_left_s", minutes * 60.0);
        }
    }
    finding
}

fn verdict(array: &Array) -> Finding {
    if !array.active {
        return Finding::failed("inactive: assembled without enough of its devices");
    }
    let busy = array.action.as_ref().map_or(String::new(), show_action);
    let level = &array.level;
    let faulty = if array.faulty.is_empty() {
        String::new()
    } else {
        format!(", faulty: {}", array.faulty.join(", "))
    };
    if let Some((all, working)) = array.devices.filter(|(all, working)| working < all) {
        let words = format!("{level} with {working} of {all} devices{faulty}{busy}");
        return if working < needed(level, all) {
            Finding::failed(format!("{words}: too few to work"))
        } else {
            Finding::degraded(words)
        };
    }
    if array.read_only {
        return Finding::degraded(format!("{level} is read-only{busy}"));
    }
    if !array.faulty.is_empty() {
        return Finding::degraded(format!("{level} works{faulty}{busy}"));
    }
    match &array.action {
        // A check is the weekly reading of all blocks.
        Some(action) if action.name != "check" => {
            Finding::degraded(format!("{level} is whole{busy}"))
        }
        _ => Finding::ok(format!("{level} is whole{busy}")),
    }
}

/// How many devices an array needs to work at all. A raid10 depends on which ones are left: the kernel stops it itself.
fn needed(level: &str, all: u32) -> u32 {
    match level {
        "raid1" | "raid10" => 1,
        "raid4" | "raid5" => all.saturating_sub(1),
        "raid6" => all.saturating_sub(2),
        _ => all,
    }
}

fn show_action(action: &Action) -> String {
    let left = action
        .minutes_left
        .map_or(String::new(), |minutes| format!(", {minutes:.0} min left"));
    format!(", {} at {:.1} %{left}", action.name, action.percent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::Status::{Degraded, Failed, Ok};

    const MDSTAT: &str = "\
Personalities : [raid1] [raid6] [raid5] [raid4]
md0 : active raid1 sdb1[1] sda1[0]
      1047552 blocks super 1.2 [2/2] [UU]

md1 : active raid1 sdc1[2] sda2[0](F)
      1047552 blocks super 1.2 [2/1] [U_]
      [==>..................]  recovery = 12.6% (132288/1047552) finish=0.4min speed=33072K/sec

md2 : active raid5 sdd1[0] sde1[1]
      2095104 blocks super 1.2 level 5, 512k chunk, algorithm 2 [4/2] [UU__]

md3 : inactive sdf1[0](S)
      1047552 blocks super 1.2

md4 : active (auto-read-only) raid1 sdg1[1] sdh1[0]
      1047552 blocks super 1.2 [2/2] [UU]
      \tresync=PENDING

md5 : active raid6 sdi[0] sdj[1] sdk[2] sdl[3]
      2095104 blocks level 6, 512k chunk, algorithm 2 [4/4] [UUUU]
      [=>...................]  check =  7.5% (78592/1047552) finish=2.0min speed=1K/sec

unused devices: <none>
";

    #[test]
    fn every_array_has_its_verdict() {
        let arrays = parse(MDSTAT);
        for (name, status, detail) in [
            ("md0", Ok, "raid1 is whole"),
            (
                "md1",
                Degraded,
                "raid1 with 1 of 2 devices, faulty: sda2, recovery at 12.6 %, 0 min left",
            ),
            ("md2", Failed, "raid5 with 2 of 4 devices: too few to work"),
            (
                "md3",
                Failed,
                "inactive: assembled without enough of its devices",
            ),
            ("md4", Degraded, "raid1 is whole, resync at 0.0 %"),
            ("md5", Ok, "raid6 is whole, check at 7.5 %, 2 min left"),
            (
                "md9",
                Failed,
                "the array is not there: not assembled, or stopped",
            ),
        ] {
            let finding = judge(arrays.iter().find(|array| array.name == name));
            assert_eq!(
                (finding.status, finding.detail.as_str()),
                (status, detail),
                "{name}"
            );
        }
        let recovering = judge(arrays.get(1));
        assert!(
            recovering
                .values
                .iter()
                .any(|(name, value)| name == "action_ratio" && (*value - 0.126).abs() < 1e-9)
        );
    }
}
