//! What discovery found before and does not find now: a server that died is asked on, over a restart of the agent and of its host too.
//!
//! Kept as traces: the few words from which a kind makes its probe anew, none of them a secret. Time is what the agent spent
//! looking, never a clock: a host that was off for a month, or lost its clock, forgets nothing by that.
//!
//! **Invariant:** bounded. What is missed is forgotten after as long as it was seen, at least [`MISSED_MIN`], at most what the
//! configuration says; what leaves no trace after [`LOOKS_MISSED_MAX`] looks.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::DISCOVERED_MAX;
use crate::config::Configured;
use crate::{clock, registry};

/// The file in the state folder.
const NAME: &str = "discovered.json";

/// The largest file that is read: a thousand traces are far smaller.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// What is missed is asked for at least so long, unless the configuration says less: an outage of a day is survived by a server that was
/// installed shortly before it.
const MISSED_MIN: Duration = Duration::from_secs(24 * 3_600);

/// Looks that may miss what leaves no trace (a resolver, a line of a table), for a file is empty while it is written.
const LOOKS_MISSED_MAX: u32 = 3;

/// The longest time between two looks that counts: a process that was stopped did not look.
const LOOK_COUNTS_MAX: Duration = Duration::from_secs(3_600);

/// How often the times are written though nothing else changed: so much is forgotten by a `kill -9`.
const WRITE_INTERVAL: Duration = Duration::from_secs(3_600);

/// All that discovery found and that is not forgotten yet.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    known: BTreeMap<(String, &'static str), Known>,
    changed: bool,
    unwritten: Duration,
}

#[derive(Debug)]
struct Known {
    probe: Configured,
    seen: Duration,
    missed: Duration,
    looks_missed: u32,
    last_seen_us: i64,
}

impl Known {
    fn is_forgotten(&self, forget_after: Duration) -> bool {
        if self.probe.trace.is_none() {
            return self.looks_missed >= LOOKS_MISSED_MAX;
        }
        let bound = self.seen.max(MISSED_MIN).min(forget_after);
        self.missed > bound
    }
}

impl Memory {
    /// Takes in a look: what it found, and how long ago the last one was. Answers whether the probes are others now.
    pub(crate) fn learn(
        &mut self,
        found: Vec<Configured>,
        since_last: Duration,
        forget_after: Duration,
    ) -> bool {
        let since_last = since_last.min(LOOK_COUNTS_MAX);
        let now_us = clock::wall_us();
        let mut different = false;
        for known in self.known.values_mut() {
            known.looks_missed = known.looks_missed.saturating_add(1);
        }
        for probe in found {
            let key = (probe.component.clone(), probe.kind.name);
            let before = self.known.remove(&key);
            let is_same = before
                .as_ref()
                .is_some_and(|before| before.probe.is_same(&probe));
            different |= !is_same;
            let known = Known {
                seen: before
                    .as_ref()
                    .map_or(Duration::ZERO, |before| before.seen + since_last),
                missed: Duration::ZERO,
                looks_missed: 0,
                last_seen_us: now_us,
                // The one that runs stays, with what it remembers.
                probe: match before {
                    Some(before) if is_same => before.probe,
                    _ => probe,
                },
            };
            self.known.insert(key, known);
        }
        for known in self.known.values_mut() {
            if known.looks_missed > 0 {
                known.missed += since_last;
            }
        }
        let before = self.known.len();
        self.known
            .retain(|_, known| !known.is_forgotten(forget_after));
        different |= self.known.len() != before;
        while self.known.len() > DISCOVERED_MAX {
            let longest = self.known.iter().max_by_key(|(_, known)| known.missed);
            let Some(key) = longest.map(|(key, _)| key.clone()) else {
                break;
            };
            self.known.remove(&key);
            different = true;
        }
        self.changed |= different;
        self.unwritten += since_last;
        different
    }

    /// Forgets what the configuration ignores.
    pub(crate) fn forget(&mut self, ignored: &[String]) {
        let before = self.known.len();
        self.known
            .retain(|(component, _), _| !ignored.contains(component));
        self.changed |= self.known.len() != before;
    }

    /// Everything that is to be probed, sorted by component and kind.
    pub(crate) fn probes(&self) -> Vec<Configured> {
        self.known
            .values()
            .map(|known| known.probe.clone())
            .collect()
    }

    /// How many of them the last look did not find.
    pub(crate) fn missed(&self) -> usize {
        self.known
            .values()
            .filter(|known| known.looks_missed > 0)
            .count()
    }

    /// Whether it is time to write: something else is known, or the times are old.
    pub(crate) fn is_due(&self) -> bool {
        self.changed || self.unwritten >= WRITE_INTERVAL
    }

    /// What is known from before this process began.
    ///
    /// # Errors
    /// The file is there and cannot be used; nothing is known then.
    pub(crate) fn load(state_dir: &Path, host: &str) -> Result<Self, MemoryError> {
        let path = state_dir.join(NAME);
        let stored = match read(&path) {
            Ok(stored) => stored,
            Err(MemoryError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => return Err(error),
        };
        let mut memory = Self::default();
        for entry in stored.components.into_iter().take(DISCOVERED_MAX) {
            // A kind that this release does not know, or a trace that it does not understand, is found anew.
            let Some(kind) = registry::find(&entry.kind) else {
                continue;
            };
            let Some(found) = kind.recall.and_then(|recall| recall(&entry.trace, host)) else {
                continue;
            };
            let probe = Configured::discovered(kind, found);
            let known = Known {
                seen: Duration::from_secs(entry.seen_s),
                missed: Duration::from_secs(entry.missed_s),
                looks_missed: 0,
                last_seen_us: entry.last_seen_us,
                probe,
            };
            memory
                .known
                .insert((known.probe.component.clone(), kind.name), known);
        }
        Ok(memory)
    }

    /// What is to be written now: all that leaves a trace.
    pub(crate) fn snapshot(&mut self, state_dir: &Path) -> Snapshot {
        self.changed = false;
        self.unwritten = Duration::ZERO;
        let components = self
            .known
            .values()
            .filter_map(|known| {
                Some(StoredComponent {
                    component: known.probe.component.clone(),
                    kind: known.probe.kind.name.to_owned(),
                    trace: known.probe.trace.clone()?,
                    seen_s: known.seen.as_secs(),
                    missed_s: known.missed.as_secs(),
                    last_seen_us: known.last_seen_us,
                })
            })
            .collect();
        Snapshot {
            path: state_dir.join(NAME),
            stored: Stored { components },
        }
    }
    /// The last snapshot could not be written.
    pub(crate) const fn not_written(&mut self) {
        self.changed = true;
    }
}

/// What the memory held at one moment.
#[derive(Debug)]
pub(crate) struct Snapshot {
    path: PathBuf,
    stored: Stored,
}

impl Snapshot {
    /// Writes it. The file is whole at every moment. Blocks.
    ///
    /// # Errors
    /// The disk does not take it; the file from before is there then.
    pub(crate) fn write(self) -> Result<(), MemoryError> {
        write(&self.path, &self.stored).map_err(|source| MemoryError::File {
            path: self.path,
            source,
        })
    }
}

/// Why the memory cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MemoryError {
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{} is not what an agent wrote there ({problem}); it is written anew", path.display())]
    Content { path: PathBuf, problem: String },
}

/// The file.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    components: Vec<StoredComponent>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredComponent {
    /// For people; the probe is made from the trace.
    component: String,
    kind: String,
    trace: String,
    seen_s: u64,
    missed_s: u64,
    last_seen_us: i64,
}

fn read(path: &Path) -> Result<Stored, MemoryError> {
    let file = |source| MemoryError::File {
        path: path.to_owned(),
        source,
    };
    let mut text = Vec::new();
    fs::File::open(path)
        .map_err(file)?
        .take(FILE_BYTES_MAX)
        .read_to_end(&mut text)
        .map_err(file)?;
    serde_json::from_slice(&text).map_err(|error| MemoryError::Content {
        path: path.to_owned(),
        problem: error.to_string(),
    })
}

fn write(path: &Path, stored: &Stored) -> io::Result<()> {
    let new = path.with_extension("json.new");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    let mut text = serde_json::to_vec_pretty(stored).map_err(io::Error::other)?;
    text.push(b'\n');
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    // The name too has to outlive a power cut.
    fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests;
