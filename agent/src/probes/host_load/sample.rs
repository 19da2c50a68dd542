//! What `/proc` says of load, memory and pressure. What is not there is absent, which differs from zero.

use std::path::{Path, PathBuf};

use crate::observation::Finding;

/// One look.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Sample {
    pub(super) cpus: u32,
    pub(super) load1: f64,
    pub(super) runnable: f64,
    pub(super) memory_total_kib: f64,
    pub(super) memory_available_kib: f64,
    pub(super) swap_total_kib: f64,
    pub(super) swap_free_kib: f64,
    /// Percent of the last ten seconds; absent where the kernel does not count (before 4.20, or turned off).
    pub(super) cpu_some: Option<f64>,
    pub(super) memory_some: Option<f64>,
    pub(super) memory_full: Option<f64>,
    pub(super) io_some: Option<f64>,
    pub(super) io_full: Option<f64>,
    /// Processes that the kernel killed for want of memory since its start.
    pub(super) memory_kills: Option<u64>,
}

/// Why there is no sample.
#[derive(Debug, thiserror::Error)]
pub(super) enum SampleError {
    #[error("cannot read {}: {source}", path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{} does not hold what it should", path.display())]
    Content { path: PathBuf },
}

impl Sample {
    /// Reads below this root, `/` except in tests.
    pub(super) fn read(root: &Path) -> Result<Self, SampleError> {
        let proc = root.join("proc");
        let mut sample = Self::default();
        let path = proc.join("loadavg");
        let (load1, runnable) =
            parse_loadavg(&read(&path)?).ok_or(SampleError::Content { path })?;
        (sample.load1, sample.runnable) = (load1, runnable);
        let path = proc.join("meminfo");
        sample
            .parse_meminfo(&read(&path)?)
            .ok_or(SampleError::Content { path })?;
        sample.cpus = count_cpus(&read(&proc.join("stat"))?);
        let pressure = |name: &str| std::fs::read_to_string(proc.join("pressure").join(name)).ok();
        sample.cpu_some = pressure("cpu").and_then(|text| parse_pressure(&text, "some"));
        if let Some(text) = pressure("memory") {
            sample.memory_some = parse_pressure(&text, "some");
            sample.memory_full = parse_pressure(&text, "full");
        }
        if let Some(text) = pressure("io") {
            sample.io_some = parse_pressure(&text, "some");
            sample.io_full = parse_pressure(&text, "full");
        }
        sample.memory_kills = std::fs::read_to_string(proc.join("vmstat"))
            .ok()
            .and_then(|text| {
                text.lines()
                    .find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok())
            });
        Ok(sample)
    }

    fn parse_meminfo(&mut self, text: &str) -> Option<()> {
        let field = |name: &str| -> Option<f64> {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            line.trim().strip_suffix("kB")?.trim().parse().ok()
        };
        self.memory_total_kib = field("MemTotal").filter(|total| *total > 0.0)?;
        // Kernels before 3.14 do not have it; free memory and caches are what it is mostly made of.
        self.memory_available_kib =
            field("MemAvailable").or_else(|| Some(field("MemFree")? + field("Cached")?))?;
        self.swap_total_kib = field("SwapTotal").unwrap_or(0.0);
        self.swap_free_kib = field("SwapFree").unwrap_or(0.0);
        Some(())
    }

    /// The share of memory that is available, from 0 to 1.
    pub(super) fn memory_available(&self) -> f64 {
        self.memory_available_kib / self.memory_total_kib
    }

    /// The share of swap that is used; absent without swap.
    pub(super) fn swap_used(&self) -> Option<f64> {
        (self.swap_total_kib > 0.0).then(|| 1.0 - self.swap_free_kib / self.swap_total_kib)
    }

    /// Adds what was measured to a finding.
    pub(super) fn add_to(&self, finding: Finding) -> Finding {
        let mut finding = finding
            .with("load1", self.load1)
            .with("cpus", f64::from(self.cpus))
            .with("run_queue", self.runnable)
            .with("memory_available_ratio", self.memory_available());
        for (name, value) in [
            ("swap_used_ratio", self.swap_used()),
            ("cpu_some_percent", self.cpu_some),
            ("memory_some_percent", self.memory_some),
            ("memory_full_percent", self.memory_full),
            ("io_some_percent", self.io_some),
            ("io_full_percent", self.io_full),
        ] {
            if let Some(value) = value {
                finding = finding.with(name, value);
            }
        }
        finding
    }
}

fn read(path: &Path) -> Result<String, SampleError> {
    std::fs::read_to_string(path).map_err(|source| SampleError::Read {
        path: path.to_owned(),
        source,
    })
}

/// `0.42 0.21 0.11 2/93 27066`: the load of the last minute, and how many tasks want to run right now.
fn parse_loadavg(text: &str) -> Option<(f64, f64)> {
    let mut fields = text.split_ascii_whitespace();
    let load1 = fields.next()?.parse().ok()?;
    let runnable = fields.nth(2)?.split('/').next()?.parse().ok()?;
    Some((load1, runnable))
}

/// The lines `cpu0`, `cpu1`, …; those that are switched off have none.
fn count_cpus(stat: &str) -> u32 {
    let lines = stat.lines().filter(|line| {
        line.strip_prefix("cpu")
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    });
    u32::try_from(lines.count()).unwrap_or(u32::MAX).max(1)
}

/// `some avg10=0.00 avg60=…`: the average of the last ten seconds.
fn parse_pressure(text: &str, kind: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(kind))?;
    line.split_ascii_whitespace()
        .find_map(|field| field.strip_prefix("avg10=")?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_read_and_what_is_missing_is_absent() {
        let root = tempfile::tempdir().unwrap();
        let proc = root.path().join("proc");
        std::fs::create_dir_all(proc.join("pressure")).unwrap();
        let write = |name: &str, text: &str| std::fs::write(proc.join(name), text).unwrap();
        write("loadavg", "3.50 0.21 0.11 7/93 27066\n");
        write(
            "meminfo",
            "MemTotal:  1000 kB\nMemFree: 1 kB\nMemAvailable:  250 kB\n",
        );
        write("stat", "cpu  1 2\ncpu0 1\ncpu1 1\nintr 5\n");
        write(
            "pressure/memory",
            "some avg10=1.50 avg60=0\nfull avg10=0.50 avg60=0.00\n",
        );
        let sample = Sample::read(root.path()).unwrap();
        assert_eq!((sample.cpus, sample.load1, sample.runnable), (2, 3.5, 7.0));
        assert_eq!(
            (sample.memory_available(), sample.swap_used()),
            (0.25, None)
        );
        assert_eq!(
            (sample.memory_some, sample.memory_full),
            (Some(1.5), Some(0.5))
        );
        assert_eq!((sample.io_full, sample.memory_kills), (None, None));
    }

    #[test]
    fn garbage_is_an_error_with_its_file() {
        let root = tempfile::tempdir().unwrap();
        assert!(
            Sample::read(root.path())
                .unwrap_err()
                .to_string()
                .starts_with("cannot read ")
        );
        std::fs::create_dir_all(root.path().join("proc")).unwrap();
        std::fs::write(root.path().join("proc/loadavg"), "load!").unwrap();
        let error = Sample::read(root.path()).unwrap_err().to_string();
        assert!(
            error.ends_with("loadavg does not hold what it should"),
            "{error}"
        );
    }
}
