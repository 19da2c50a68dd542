//! The journal on disk: what must be there again after a power cut.
//!
//! One SQLite file with a write-ahead log and `synchronous=FULL`: when [`Journal::commit`] returns,
//! the entries survive the loss of power. A commit is one row with every entry that waited, so its
//! cost is one fsync, however many agents reported. Engine snapshots are in the same file; a restart
//! reads the newest good one and the rows behind it.
//!
//! **Invariant:** entries are stored in the order of their indexes, without a hole.
//!
//! Not here: when to commit, retry and snapshot ([`writer`]); what entries mean (`engine`).

pub(crate) mod export;
pub(crate) mod group;
pub(crate) mod recovery;
pub(crate) mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Executor};

use crate::blocking::block_on;
use crate::entry::checksum;
use crate::sequences::HostSequences;
use crate::series::Series;

/// The file's name in the state folder.
pub(crate) const FILE_NAME: &str = "journal.db";

/// How long a statement waits for a reader that holds the file (`blackstart-aggregator journal`).
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// Snapshots that are kept: if the newest is broken, the one before it serves.
const SNAPSHOTS_KEPT: i64 = 2;

/// Rows deleted in one transaction, so that pruning never holds commits up for long.
const PRUNED_ROWS_MAX: i64 = 500;

/// The write-ahead log is cut back to this after a burst.
const WAL_BYTES_KEPT: &str = "16777216";

/// An entry in its order.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// Its place in the journal.
    pub(crate) index: u64,
    /// When it came, microseconds since the Unix epoch.
    pub(crate) at_us: i64,
    /// What it says ([`crate::entry`]).
    pub(crate) bytes: Bytes,
    /// Results in it.
    pub(crate) results: u32,
    /// Whom to tell that the disk holds it.
    pub(crate) receipt: Option<Receipt>,
}

/// Whom to tell that the disk holds an entry.
#[derive(Debug, Clone)]
pub(crate) struct Receipt {
    pub(crate) host: Arc<HostSequences>,
    pub(crate) incarnation: u64,
    pub(crate) last_sequence: u64,
}

/// The state after an entry.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// The last entry in it.
    pub(crate) index: u64,
    /// When it was taken.
    pub(crate) at_us: i64,
    /// [`crate::sequences::Sequences::save`].
    pub(crate) sequences: Vec<u8>,
    /// [`crate::roster::Roster::save`].
    pub(crate) agents: Vec<u8>,
    /// `Engine::save`.
    pub(crate) engine: Vec<u8>,
}

impl Snapshot {
    fn checksum(&self) -> i64 {
        checksum(&self.sequences) ^ checksum(&self.agents) ^ checksum(&self.engine)
    }
}

/// Why the journal cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalError {
    #[error("{operation} {path}")]
    Sqlite {
        operation: &'static str,
        path: PathBuf,
        source: sqlx::Error,
    },
    #[error("cannot bring {path} to this release's form")]
    Migrate {
        path: PathBuf,
        source: sqlx::migrate::MigrateError,
    },
    #[error("cannot move the broken journal {path} aside")]
    MoveAside {
        path: PathBuf,
        source: std::io::Error,
    },
}

impl JournalError {
    /// Whether the file itself is broken, so that waiting does not help.
    pub(crate) fn is_corruption(&self) -> bool {
        let source = match self {
            Self::Sqlite { source, .. }
            | Self::Migrate {
                source:
                    sqlx::migrate::MigrateError::Execute(source)
                    | sqlx::migrate::MigrateError::ExecuteMigration(source, _),
                ..
            } => source,
            _ => return false,
        };
        // Primary result codes are the low byte: SQLITE_CORRUPT and SQLITE_NOTADB
        // (sqlite.org/rescode.html).
        const CORRUPT: i32 = 11;
        const NOT_A_DATABASE: i32 = 26;
        source
            .as_database_error()
            .and_then(|error| error.code()?.parse::<i32>().ok())
            .is_some_and(|code| matches!(code & 0xff, CORRUPT | NOT_A_DATABASE))
    }

    /// The error with its sources, for people.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            text = format!("{text}: {error}");
            source = error.source();
        }
        text
    }
}

/// The open journal.
pub(crate) struct Journal {
    path: PathBuf,
    /// None after a failure: the next use opens it anew.
    connection: Option<SqliteConnection>,
}

impl Journal {
    /// Opens the journal of a state folder, an empty one if there is none.
    pub(crate) fn open(state_dir: &Path) -> Result<Self, JournalError> {
        let mut journal = Self {
            path: state_dir.join(FILE_NAME),
            connection: None,
        };
        block_on(async {
            let path = journal.path.clone();
            let connection = journal.connection().await?;
            sqlx::migrate!("./migrations")
                .run_direct(None, connection, false)
                .await
                .map_err(|source| JournalError::Migrate { path, source })
        })?;
        Ok(journal)
    }

    /// Writes entries, and the series that are new, to the disk. All of it, or nothing and an error.
    pub(crate) fn commit(
        &mut self,
        entries: &[Entry],
        series: (usize, &[Arc<Series>]),
    ) -> Result<(), JournalError> {
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
            return Ok(());
        };
        let blob = group::write(first.at_us, entries);
        let results: i64 = entries.iter().map(|entry| i64::from(entry.results)).sum();
        let insert = async |connection: &mut SqliteConnection| {
            sqlx::query(
                "INSERT INTO journal (last_index, first_index, at_us, results, checksum, entries) \
                 VALUES (?, ?, ?, ?, ?, ?)",
            )
            .bind(last.index.cast_signed())
            .bind(first.index.cast_signed())
            .bind(first.at_us)
            .bind(results)
            .bind(checksum(&blob))
            .bind(&blob[..])
            .execute(connection)
            .await
            .map(drop)
        };
        if series.1.is_empty() {
            // One statement is a transaction by itself; each more is a journey to SQLite's thread and back.
            return self.run("cannot write to", insert);
        }
        self.transaction("cannot write to", async |connection| {
            insert_series(&mut *connection, series).await?;
            insert(connection).await
        })
    }

    /// Writes a snapshot; older ones than the one before it go.
    pub(crate) fn save(&mut self, snapshot: &Snapshot) -> Result<(), JournalError> {
        self.transaction("cannot write a snapshot to", async |connection| {
            sqlx::query(
                "INSERT OR REPLACE INTO snapshot \
                 (journal_index, at_us, checksum, sequences, agents, engine) \
                 VALUES (?, ?, ?, ?, ?, ?)",
            )
            .bind(snapshot.index.cast_signed())
            .bind(snapshot.at_us)
            .bind(snapshot.checksum())
            .bind(&snapshot.sequences[..])
            .bind(&snapshot.agents[..])
            .bind(&snapshot.engine[..])
            .execute(&mut *connection)
            .await?;
            sqlx::query(
                "DELETE FROM snapshot WHERE journal_index NOT IN \
                 (SELECT journal_index FROM snapshot ORDER BY journal_index DESC LIMIT ?)",
            )
            .bind(SNAPSHOTS_KEPT)
            .execute(connection)
            .await
            .map(drop)
        })
    }

    /// Deletes some rows that no snapshot needs and that are older than `before_us`, or any such
    /// rows while the file is larger than `bytes_max`. True if there may be more to delete.
    pub(crate) fn prune(&mut self, before_us: i64, bytes_max: u64) -> Result<bool, JournalError> {
        let is_large = self.bytes_used()? > bytes_max;
        let before_us = if is_large { i64::MAX } else { before_us };
        let mut deleted = 0;
        self.transaction("cannot prune", async |connection| {
            deleted = sqlx::query(
                "DELETE FROM journal WHERE last_index IN (SELECT last_index FROM journal \
                 WHERE at_us < ? AND last_index <= (SELECT min(journal_index) FROM snapshot) \
                 ORDER BY last_index LIMIT ?)",
            )
            .bind(before_us)
            .bind(PRUNED_ROWS_MAX)
            .execute(connection)
            .await?
            .rows_affected();
            Ok(())
        })?;
        Ok(deleted > 0)
    }

    /// Bytes in use in the file; pages that were freed are used again.
    pub(crate) fn bytes_used(&mut self) -> Result<u64, JournalError> {
        self.run("cannot read", async |connection| {
            let (pages, free, size): (i64, i64, i64) = sqlx::query_as(
                "SELECT page_count, freelist_count, page_size \
                 FROM pragma_page_count, pragma_freelist_count, pragma_page_size",
            )
            .fetch_one(connection)
            .await?;
            Ok(u64::try_from((pages - free) * size).unwrap_or(0))
        })
    }

    /// Closes the file in order: the write-ahead log is folded into it.
    pub(crate) fn close(mut self) {
        if let Some(connection) = self.connection.take()
            && let Err(error) = block_on(sqlx::Connection::close(connection))
        {
            tracing::warn!(%error, "journal was not closed in order");
        }
    }

    /// Runs `work` in a transaction.
    fn transaction(
        &mut self,
        operation: &'static str,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<(), sqlx::Error>,
    ) -> Result<(), JournalError> {
        self.run(operation, async |connection| {
            connection.execute("BEGIN IMMEDIATE").await?;
            work(&mut *connection).await?;
            connection.execute("COMMIT").await.map(drop)
        })
    }

    /// Runs `work`. After a failure the connection is dropped, and with it what it had begun.
    fn run<T>(
        &mut self,
        operation: &'static str,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, JournalError> {
        block_on(async {
            let result = work(self.connection().await?).await;
            result.map_err(|source| {
                self.connection = None;
                JournalError::Sqlite {
                    operation,
                    path: self.path.clone(),
                    source,
                }
            })
        })
    }

    async fn connection(&mut self) -> Result<&mut SqliteConnection, JournalError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => options(&self.path)
                .connect()
                .await
                .map_err(|source| JournalError::Sqlite {
                    operation: "cannot open",
                    path: self.path.clone(),
                    source,
                })?,
        };
        Ok(self.connection.insert(connection))
    }
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT)
        .pragma("journal_size_limit", WAL_BYTES_KEPT)
        .thread_name(|_| "journal-sqlite".to_owned())
        .disable_statement_logging()
}

/// Writes series in one statement: each statement is a journey to SQLite's thread and back, and a platform that
/// comes up defines tens of thousands at once.
async fn insert_series(
    connection: &mut SqliteConnection,
    (first, series): (usize, &[Arc<Series>]),
) -> Result<(), sqlx::Error> {
    let rows = series.iter().enumerate().map(|(offset, series)| {
        (
            first + offset,
            &*series.component,
            &*series.check,
            &*series.vantage,
            series.ttl_ms,
            series.value_names.join("\n"),
        )
    });
    let rows: Vec<_> = rows.collect();
    let rows = serde_json::to_string(&rows).map_err(|error| sqlx::Error::Encode(error.into()))?;
    sqlx::query(
        "INSERT OR REPLACE INTO series (id, component, \"check\", vantage, ttl_ms, value_names) \
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5 \
         FROM json_each(?)",
    )
    .bind(rows)
    .execute(connection)
    .await
    .map(drop)
}

#[cfg(test)]
mod tests;
