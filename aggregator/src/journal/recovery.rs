//! What a restart finds: the newest good snapshot, and the entries behind it.
//!
//! A broken snapshot gives way to the one before it, or to the whole journal. A broken file is
//! moved aside, never deleted; the aggregator starts empty and says so, and its agents fill
//! it again from their spools and rings.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use futures::TryStreamExt;
use sqlx::Row;
use uuid::Uuid;

use super::group::GroupReader;
use super::{FILE_NAME, Journal, JournalError, Snapshot};
use crate::blocking::block_on;
use crate::entry::checksum;
use crate::series::Series;

/// A journal that was opened, with what it says about itself.
pub(crate) struct Opened {
    /// The journal.
    pub(crate) journal: Journal,
    /// Which aggregator this is; as old as the file.
    pub(crate) id: String,
    /// What is wrong with it, for people.
    pub(crate) problem: Option<String>,
}

/// The bounds of what a journal holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// The first entry it holds; 0 for none.
    pub(crate) first_index: u64,
    /// The last entry it holds or ever held; 0 for none.
    pub(crate) last_index: u64,
    /// The oldest time in it, microseconds since the Unix epoch; 0 for none.
    pub(crate) oldest_us: i64,
    /// The newest time in it, microseconds since the Unix epoch; 0 for none.
    pub(crate) newest_us: i64,
}

/// Opens the journal of a state folder; a broken one is moved aside.
pub(crate) fn open(state_dir: &Path) -> Result<Opened, JournalError> {
    match open_once(state_dir) {
        Err(error) if error.is_corruption() => {
            let aside = move_aside(state_dir)?;
            let (journal, id) = open_once(state_dir)?;
            Ok(Opened {
                journal,
                id,
                problem: Some(moved_aside(&error, &aside)),
            })
        }
        opened => opened.map(|(journal, id)| Opened {
            journal,
            id,
            problem: None,
        }),
    }
}

/// Moves the journal aside after it proved broken while it was read, and opens an empty one.
pub(crate) fn start_over(
    journal: Journal,
    state_dir: &Path,
    error: &JournalError,
) -> Result<Opened, JournalError> {
    journal.close();
    let aside = move_aside(state_dir)?;
    let (journal, id) = open_once(state_dir)?;
    Ok(Opened {
        journal,
        id,
        problem: Some(moved_aside(error, &aside)),
    })
}

fn moved_aside(error: &JournalError, aside: &Path) -> String {
    format!(
        "the journal was broken and is now {}; started empty ({})",
        aside.display(),
        error.chain()
    )
}

fn open_once(state_dir: &Path) -> Result<(Journal, String), JournalError> {
    let mut journal = Journal::open(state_dir)?;
    if let Some(id) = journal.meta("aggregator_id")? {
        return Ok((journal, id));
    }
    let id = Uuid::new_v4().to_string();
    journal.set_meta("aggregator_id", &id)?;
    Ok((journal, id))
}

fn move_aside(state_dir: &Path) -> Result<PathBuf, JournalError> {
    let path = state_dir.join(FILE_NAME);
    let aside = (1_u32..)
        .map(|number| state_dir.join(format!("{FILE_NAME}.broken-{number}")))
        .find(|aside| !aside.exists())
        .unwrap_or_else(|| path.with_extension("broken"));
    std::fs::rename(&path, &aside).map_err(|source| JournalError::MoveAside {
        path: path.clone(),
        source,
    })?;
    for suffix in ["-wal", "-shm"] {
        let with_suffix = |path: &Path| PathBuf::from(format!("{}{suffix}", path.display()));
        // They may not be there; a write-ahead log left behind would be taken for the new file's.
        let _ = std::fs::rename(with_suffix(&path), with_suffix(&aside));
    }
    Ok(aside)
}

impl Journal {
    /// A fact about the store.
    pub(crate) fn meta(&mut self, key: &str) -> Result<Option<String>, JournalError> {
        self.run("cannot read", async |connection| {
            sqlx::query_scalar("SELECT value FROM meta WHERE key = ?")
                .bind(key)
                .fetch_optional(connection)
                .await
        })
    }

    /// Sets a fact about the store.
    pub(crate) fn set_meta(&mut self, key: &str, value: &str) -> Result<(), JournalError> {
        self.transaction("cannot write to", async |connection| {
            sqlx::query("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)")
                .bind(key)
                .bind(value)
                .execute(connection)
                .await
                .map(drop)
        })
    }

    /// Every series, in the order of their ids.
    pub(crate) fn series(&mut self) -> Result<Vec<Series>, JournalError> {
        self.run("cannot read", async |connection| {
            let mut rows = sqlx::query(
                "SELECT component, \"check\", vantage, ttl_ms, value_names FROM series ORDER BY id",
            )
            .fetch(connection);
            let mut series = Vec::new();
            while let Some(row) = rows.try_next().await? {
                let names: &str = row.try_get(4)?;
                series.push(Series {
                    component: row.try_get::<&str, _>(0)?.into(),
                    check: row.try_get::<&str, _>(1)?.into(),
                    vantage: row.try_get::<&str, _>(2)?.into(),
                    ttl_ms: row.try_get::<u32, _>(3)?,
                    value_names: names.lines().map(str::to_owned).collect(),
                });
            }
            Ok(series)
        })
    }

    /// What the journal holds.
    pub(crate) fn bounds(&mut self) -> Result<Bounds, JournalError> {
        self.run("cannot read", async |connection| {
            let (first, oldest, last, at): (i64, i64, i64, i64) = sqlx::query_as(
                "SELECT coalesce((SELECT first_index FROM journal ORDER BY last_index LIMIT 1), 0), \
                 coalesce((SELECT at_us FROM journal ORDER BY last_index LIMIT 1), 0), \
                 max(coalesce((SELECT max(last_index) FROM journal), 0), \
                     coalesce((SELECT max(journal_index) FROM snapshot), 0)), \
                 max(coalesce((SELECT at_us FROM journal ORDER BY last_index DESC LIMIT 1), 0), \
                     coalesce((SELECT max(at_us) FROM snapshot), 0))",
            )
            .fetch_one(connection)
            .await?;
            Ok(Bounds {
                first_index: first.cast_unsigned(),
                last_index: last.cast_unsigned(),
                oldest_us: oldest,
                newest_us: at,
            })
        })
    }

    /// The snapshots, newest first; broken ones are left out and counted.
    pub(crate) fn snapshots(&mut self) -> Result<(Vec<Snapshot>, usize), JournalError> {
        self.run("cannot read", async |connection| {
            let rows = sqlx::query(
                "SELECT journal_index, at_us, sequences, agents, engine, checksum FROM snapshot \
                 ORDER BY journal_index DESC",
            )
            .fetch_all(connection)
            .await?;
            let found = rows.len();
            let mut good = Vec::with_capacity(found);
            for row in rows {
                let snapshot = Snapshot {
                    index: row.try_get::<i64, _>(0)?.cast_unsigned(),
                    at_us: row.try_get(1)?,
                    sequences: row.try_get(2)?,
                    agents: row.try_get(3)?,
                    engine: row.try_get(4)?,
                };
                if snapshot.checksum() == row.try_get::<i64, _>(5)? {
                    good.push(snapshot);
                }
            }
            let broken = found - good.len();
            Ok((good, broken))
        })
    }

    /// Shows every entry behind `index`: index, time, bytes. Returns how many rows were broken.
    pub(crate) fn replay(
        &mut self,
        index: u64,
        mut show: impl FnMut(u64, i64, &[u8]) -> ControlFlow<()>,
    ) -> Result<usize, JournalError> {
        self.run("cannot read", async |connection| {
            let mut rows = sqlx::query(
                "SELECT first_index, at_us, checksum, entries FROM journal WHERE last_index > ? \
                 ORDER BY last_index",
            )
            .bind(index.cast_signed())
            .fetch(connection);
            let mut broken = 0;
            while let Some(row) = rows.try_next().await? {
                let first_index = row.try_get::<i64, _>(0)?.cast_unsigned();
                let blob: &[u8] = row.try_get(3)?;
                if checksum(blob) != row.try_get::<i64, _>(2)? {
                    broken += 1;
                    continue;
                }
                let entries = GroupReader::new(row.try_get(1)?, blob);
                for (offset, entry) in entries.enumerate() {
                    let Ok((at_us, bytes)) = entry else {
                        broken += 1;
                        break;
                    };
                    let at_index = first_index + offset as u64;
                    if at_index > index && show(at_index, at_us, bytes).is_break() {
                        return Ok(broken);
                    }
                }
            }
            Ok(broken)
        })
    }

    /// Opens a journal only to read it, also while its aggregator runs.
    pub(crate) fn open_to_read(state_dir: &Path) -> Result<Self, JournalError> {
        let path = state_dir.join(FILE_NAME);
        let options = super::options(&path)
            .create_if_missing(false)
            .read_only(true);
        let connection = block_on(sqlx::ConnectOptions::connect(&options));
        match connection {
            Ok(connection) => Ok(Self {
                path,
                connection: Some(connection),
            }),
            Err(source) => Err(JournalError::Sqlite {
                operation: "cannot open",
                path,
                source,
            }),
        }
    }
}
