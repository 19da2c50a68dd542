//! `host.load`: can this host still work, or does it drown?
//!
//! Load, memory, swap, the run queue and pressure stalls (PSI: the share of the last ten seconds in which work stood still for want of
//! CPU, memory or disk). Always on. A process that the kernel killed for want of memory is shown for five minutes.
//!
//! ```toml
//! [probe.load]
//! kind = "host.load"
//! component = "web-1"                   # the host
//! load_per_cpu_degraded = 4.0           # each limit as NAME_degraded and NAME_failed
//! memory_available_failed = 0.01        # a share of all memory, from 0 to 1
//! ```
//!
//! Limits: `load_per_cpu`, `memory_available`, `swap_used`, and in percent `cpu_stalled`, `memory_stalled`, `io_stalled`.

mod sample;

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use blackstart_config::Section;

use super::dns_answer;
use super::recent_growth::RecentGrowth;
use crate::host::HostView;
use crate::observation::{Finding, Observation, Status};
use crate::probe::{Deadline, Discovered, Privilege, Probe, ProbeIdentity, ProbeKind, Run, Target};
use sample::Sample;

const NAME: &str = "host.load";

/// The registry's entry.
pub static KIND: ProbeKind = ProbeKind {
    name: NAME,
    component_kind: "host",
    summary: "load, memory, swap, run queue and pressure stalls of this host",
    privilege: Privilege::None,
    interval: Duration::from_secs(10),
    timeout: Duration::from_secs(5),
    configure,
    discover,
    recall: None,
};

/// What is measured against limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Figure {
    LoadPerCpu,
    MemoryAvailable,
    SwapUsed,
    CpuStalled,
    MemoryStalled,
    IoStalled,
}

/// The limits of one figure. Memory available is bad when it is low, the others when they are high.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Limit {
    figure: Figure,
    degraded: f64,
    failed: Option<f64>,
}

/// The keys and the limits that count unless configured.
///
/// A host is called failed only when nothing on it gets done: out of memory, or nearly all of its time lost to
/// moving pages. High load alone slows down.
const LIMITS: [(&str, &str, Limit); 6] = [
    (
        "load_per_cpu_degraded",
        "load_per_cpu_failed",
        limit(Figure::LoadPerCpu, 4.0, None),
    ),
    (
        "memory_available_degraded",
        "memory_available_failed",
        limit(Figure::MemoryAvailable, 0.05, Some(0.01)),
    ),
    (
        "swap_used_degraded",
        "swap_used_failed",
        limit(Figure::SwapUsed, 0.95, None),
    ),
    (
        "cpu_stalled_degraded",
        "cpu_stalled_failed",
        limit(Figure::CpuStalled, 80.0, None),
    ),
    (
        "memory_stalled_degraded",
        "memory_stalled_failed",
        limit(Figure::MemoryStalled, 10.0, Some(80.0)),
    ),
    (
        "io_stalled_degraded",
        "io_stalled_failed",
        limit(Figure::IoStalled, 50.0, None),
    ),
];

const fn limit(figure: Figure, degraded: f64, failed: Option<f64>) -> Limit {
    Limit {
        figure,
        degraded,
        failed,
    }
}

#[derive(Debug)]
struct HostLoad {
    component: String,
    root: PathBuf,
    limits: Vec<Limit>,
    kills: Mutex<RecentGrowth>,
}

fn configure(section: &mut Section<'_>, identity: &ProbeIdentity) -> Option<Box<dyn Probe>> {
    const BOUNDS: std::ops::RangeInclusive<f64> = 0.0..=1.0e6;
    let mut good = true;
    let mut limits = Vec::with_capacity(LIMITS.len());
    for (degraded_key, failed_key, default) in LIMITS {
        let degraded = section
            .number(degraded_key, BOUNDS)
            .unwrap_or(default.degraded);
        let failed = section.number(failed_key, BOUNDS).or(default.failed);
        let low_is_bad = default.figure == Figure::MemoryAvailable;
        if failed.is_some_and(|failed| {
            if low_is_bad {
                failed > degraded
            } else {
                failed < degraded
            }
        }) {
            let key = if section.has(failed_key) {
                failed_key
            } else {
                degraded_key
            };
            section.problem(
                key,
                "failed must be worse than degraded",
                "swap the two, or set both",
            );
            good = false;
        }
        limits.push(Limit {
            figure: default.figure,
            degraded,
            failed,
        });
    }
    good.then(|| {
        let probe = HostLoad {
            component: identity.component.clone(),
            root: PathBuf::from("/"),
            limits,
            kills: Mutex::default(),
        };
        Box::new(probe) as Box<dyn Probe>
    })
}

fn discover(host: &HostView, id: &str) -> Vec<Discovered> {
    let probe = HostLoad {
        component: id.to_owned(),
        root: host.root.clone(),
        limits: LIMITS.iter().map(|(_, _, limit)| *limit).collect(),
        kills: Mutex::default(),
    };
    vec![Discovered {
        component: id.to_owned(),
        component_kind: "host",
        in_host: true,
        uses: host
            .resolvers
            .iter()
            .map(|resolver| dns_answer::resolver_component(*resolver, id))
            .collect(),
        trace: None,
        probe: Box::new(probe),
    }]
}

impl Probe for HostLoad {
    fn targets(&self) -> Vec<Target> {
        vec![Target {
            component: self.component.clone(),
            check: NAME,
        }]
    }

    fn run(&self, _: Deadline) -> Run<'_> {
        // The files of /proc are made in memory: reading them never waits.
        let finding = match Sample::read(&self.root) {
            Ok(sample) => {
                let mut kills = self.kills.lock().unwrap_or_else(PoisonError::into_inner);
                let recent = kills.count(sample.memory_kills, Instant::now());
                judge(&sample, recent, &self.limits)
            }
            Err(error) => Finding::unknown(error.to_string()),
        };
        let observation = Observation {
            component: self.component.clone(),
            check: NAME.into(),
            finding,
        };
        Box::pin(std::future::ready(vec![observation]))
    }
}

fn judge(sample: &Sample, kills: Option<u64>, limits: &[Limit]) -> Finding {
    let mut status = Status::Ok;
    let mut words = Vec::new();
    for limit in limits {
        let Some(value) = figure(sample, limit.figure) else {
            continue;
        };
        let worse = |bound: f64| match limit.figure {
            Figure::MemoryAvailable => value < bound,
            _ => value > bound,
        };
        let found = if limit.failed.is_some_and(worse) {
            Status::Failed
        } else if worse(limit.degraded) {
            Status::Degraded
        } else {
            continue;
        };
        status = status.max(found);
        words.push(describe(limit.figure, value, sample));
    }
    if let Some(kills) = kills {
        status = status.max(Status::Degraded);
        let processes = if kills == 1 { "a process" } else { "processes" };
        words.push(format!(
            "the kernel killed {processes} for want of memory ({kills} in the last minutes)"
        ));
    }
    let detail = if words.is_empty() {
        format!(
            "load {:.1} on {} CPUs, {:.0} % of memory available",
            sample.load1,
            sample.cpus,
            sample.memory_available() * 100.0
        )
    } else {
        words.join("; ")
    };
    sample.add_to(Finding::new(status, detail))
}

fn figure(sample: &Sample, figure: Figure) -> Option<f64> {
    match figure {
        Figure::LoadPerCpu => Some(sample.load1 / f64::from(sample.cpus.max(1))),
        Figure::MemoryAvailable => Some(sample.memory_available()),
        Figure::SwapUsed => sample.swap_used(),
        Figure::CpuStalled => sample.cpu_some,
        Figure::MemoryStalled => sample.memory_full,
        Figure::IoStalled => sample.io_full,
    }
}

fn describe(figure: Figure, value: f64, sample: &Sample) -> String {
    let percent = value * 100.0;
    match figure {
        Figure::LoadPerCpu => format!("load {:.1} on {} CPUs", sample.load1, sample.cpus),
        Figure::MemoryAvailable => format!("only {percent:.1} % of memory available"),
        Figure::SwapUsed => format!("{percent:.0} % of swap used"),
        Figure::CpuStalled => format!("{value:.0} % of the time work waits for a CPU"),
        Figure::MemoryStalled => format!("{value:.0} % of the time all work waits for memory"),
        Figure::IoStalled => format!("{value:.0} % of the time all work waits for disks"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Vec<Limit> {
        LIMITS.iter().map(|(_, _, limit)| *limit).collect()
    }

    #[test]
    fn each_limit_is_good_below_and_at_it_and_bad_beyond() {
        use Status::{Degraded, Failed, Ok};
        let good = Sample {
            cpus: 2,
            load1: 1.0,
            memory_total_kib: 1000.0,
            memory_available_kib: 500.0,
            swap_total_kib: 100.0,
            swap_free_kib: 100.0,
            cpu_some: Some(0.0),
            memory_full: Some(0.0),
            io_full: Some(0.0),
            ..Sample::default()
        };
        for (sample, status, detail) in [
            (
                good.clone(),
                Ok,
                "load 1.0 on 2 CPUs, 50 % of memory available",
            ),
            (
                Sample {
                    load1: 8.0,
                    ..good.clone()
                },
                Ok,
                "load 8.0 on 2 CPUs, 50 % of memory available",
            ),
            (
                Sample {
                    load1: 8.1,
                    ..good.clone()
                },
                Degraded,
                "load 8.1 on 2 CPUs",
            ),
            (
                Sample {
                    memory_available_kib: 49.0,
                    ..good.clone()
                },
                Degraded,
                "only 4.9 % of memory available",
            ),
            (
                Sample {
                    memory_available_kib: 9.0,
                    ..good.clone()
                },
                Failed,
                "only 0.9 % of memory available",
            ),
            (
                Sample {
                    swap_free_kib: 4.0,
                    ..good.clone()
                },
                Degraded,
                "96 % of swap used",
            ),
            (
                Sample {
                    swap_total_kib: 0.0,
                    swap_free_kib: 0.0,
                    ..good.clone()
                },
                Ok,
                "load 1.0 on 2 CPUs, 50 % of memory available",
            ),
            (
                Sample {
                    memory_full: Some(80.0),
                    ..good.clone()
                },
                Degraded,
                "80 % of the time all work waits for memory",
            ),
            (
                Sample {
                    memory_full: Some(80.5),
                    load1: 20.0,
                    ..good.clone()
                },
                Failed,
                "load 20.0 on 2 CPUs; 80 % of the time all work waits for memory",
            ),
            (
                Sample {
                    io_full: Some(51.0),
                    ..good
                },
                Degraded,
                "51 % of the time all work waits for disks",
            ),
        ] {
            let finding = judge(&sample, None, &limits());
            assert_eq!((finding.status, finding.detail.as_str()), (status, detail));
        }
    }

    #[tokio::test]
    async fn this_host_can_be_read() {
        let probe = HostLoad {
            component: "h".to_owned(),
            root: PathBuf::from("/"),
            limits: limits(),
            kills: Mutex::default(),
        };
        let observations = probe.run(Deadline::after(Duration::from_secs(5))).await;
        assert_ne!(
            observations[0].finding.status,
            Status::Unknown,
            "{observations:?}"
        );
        assert!(observations[0].finding.values.len() >= 4);
    }
}
