//! The spool's file: results by position, cursors, incarnations, and how many were dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prost::Message;
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};

use super::record::{numbered, stored};
use crate::result::{Incarnation, Numbered, StoredIncarnation, StoredResult};

const RESULTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("results");
const CURSORS: TableDefinition<'_, &str, (&str, u64)> = TableDefinition::new("cursors");
const INCARNATIONS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("incarnations");
const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");

/// Key in `numbers`: results dropped since the file was made.
const DROPPED: &str = "dropped_total";
/// Key in `numbers`: the position that the next result gets.
const NEXT: &str = "next_position";
/// Key in `numbers`: bytes of all results.
const BYTES: &str = "bytes";

/// redb's cache. An agent reads its file only after a break; the default of 1 GiB is for servers.
const CACHE_BYTES: usize = 256 * 1024;

/// No position at all.
const NONE: u64 = u64::MAX;

/// How far an aggregator is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) aggregator_id: String,
    /// It holds everything before this position.
    pub(super) position: u64,
}

/// Why the spool cannot be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// Another agent uses it.
    #[error("{} is in use by another agent{}", folder.display(), pid.as_ref().map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    InUse {
        /// The folder.
        folder: PathBuf,
        /// The other agent's process, where it is known.
        pid: Option<String>,
    },
    /// The folder or the file cannot be used.
    #[error("{}", path.display())]
    File {
        /// The path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The database says no.
    #[error("spool")]
    Database {
        /// Why.
        source: Box<redb::Error>,
    },
    /// No thread could be started.
    #[error("no thread for the spool")]
    Thread {
        /// Why.
        source: std::io::Error,
    },
}

impl SpoolError {
    /// The error and what is behind it.
    #[must_use]
    pub fn one_line(&self) -> String {
        match self {
            Self::File { path, source } => format!("{}: {source}", path.display()),
            Self::Database { source } => source.to_string(),
            Self::Thread { source } => format!("{self}: {source}"),
            Self::InUse { .. } => self.to_string(),
        }
    }
}

fn database(error: impl Into<redb::Error>) -> SpoolError {
    SpoolError::Database {
        source: Box::new(error.into()),
    }
}

/// What the file held when it was opened.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) next_position: u64,
    pub(super) cursors: BTreeMap<String, Cursor>,
    pub(super) incarnations: BTreeMap<u64, Lived>,
    pub(super) dropped_total: u64,
}

/// An incarnation and where its results begin.
#[derive(Debug, Clone)]
pub(super) struct Lived {
    pub(super) incarnation: Arc<Incarnation>,
    /// The position of its first result. The results of the next incarnation begin behind its last.
    pub(super) first_position: u64,
}

/// The incarnations, oldest first, that may have a result at `from` or behind it.
pub(super) fn living(incarnations: &BTreeMap<u64, Lived>, from: u64) -> Vec<u64> {
    let mut order: Vec<(u64, u64)> = incarnations
        .iter()
        .map(|(id, lived)| (lived.first_position, *id))
        .collect();
    order.sort_unstable();
    let ends = order.iter().skip(1).map(|(first, _)| *first).chain([NONE]);
    order
        .iter()
        .zip(ends)
        .filter(|(_, end)| *end > from)
        .map(|((_, id), _)| *id)
        .collect()
}

/// What a write did beside writing.
#[derive(Debug)]
pub(super) struct Written {
    /// Results that were dropped for want of room and that somebody had not got.
    pub(super) dropped: u64,
}

#[derive(Debug)]
pub(super) struct Store {
    folder: PathBuf,
    database: Database,
    first: AtomicU64,
    bytes: AtomicU64,
}

impl Store {
    /// Opens or makes the file. One that cannot be read is moved aside, and the third of the answers says so.
    pub(super) fn open(folder: &Path) -> Result<(Self, Loaded, Option<String>), SpoolError> {
        let file_error = |path: &Path| {
            let path = path.to_path_buf();
            move |source| SpoolError::File { path, source }
        };
        std::fs::create_dir_all(folder).map_err(file_error(folder))?;
        let path = folder.join("spool.redb");
        let pid_file = folder.join("agent.pid");
        let make = || {
            Database::builder()
                .set_cache_size(CACHE_BYTES)
                .create(&path)
        };
        let load = |database| Self::load(folder, database);
        let attempt = make().map_err(redb::Error::from).and_then(load);
        let (opened, moved) = match attempt {
            Ok(opened) => (opened, None),
            Err(redb::Error::DatabaseAlreadyOpen) => {
                let pid = std::fs::read_to_string(&pid_file)
                    .ok()
                    .map(|text| text.trim().to_owned());
                return Err(SpoolError::InUse {
                    folder: folder.to_path_buf(),
                    pid,
                });
            }
            Err(redb::Error::Io(source)) if is_no_fault_of_the_file(&source) => {
                return Err(SpoolError::File { path, source });
            }
            Err(error) => {
                let aside = folder.join(format!("spool.damaged-{}.redb", crate::clock::wall_us()));
                std::fs::rename(&path, &aside).map_err(file_error(&path))?;
                let told = format!(
                    "the spool was damaged ({error}) and is kept as {}",
                    aside.display()
                );
                let made = make().map_err(|error: DatabaseError| database(error))?;
                (load(made).map_err(database)?, Some(told))
            }
        };
        std::fs::write(&pid_file, format!("{}\n", std::process::id()))
            .map_err(file_error(&pid_file))?;
        Ok((opened.0, opened.1, moved))
    }

    fn load(folder: &Path, database: Database) -> Result<(Self, Loaded), redb::Error> {
        let load = || -> Result<(Loaded, u64, u64), redb::Error> {
            let transaction = database.begin_write()?;
            let mut loaded = Loaded::default();
            let first;
            let bytes;
            {
                let results = transaction.open_table(RESULTS)?;
                first = results
                    .first()?
                    .map_or(NONE, |(position, _)| position.value());
                let last = results
                    .last()?
                    .map_or(0, |(position, _)| position.value() + 1);
                let numbers = transaction.open_table(NUMBERS)?;
                loaded.next_position = numbers
                    .get(NEXT)?
                    .map_or(0, |number| number.value())
                    .max(last);
                loaded.dropped_total = numbers.get(DROPPED)?.map_or(0, |number| number.value());
                bytes = numbers.get(BYTES)?.map_or(0, |number| number.value());
                for entry in transaction.open_table(CURSORS)?.iter()? {
                    let (name, cursor) = entry?;
                    let (aggregator_id, position) = cursor.value();
                    let cursor = Cursor {
                        aggregator_id: aggregator_id.to_owned(),
                        position,
                    };
                    loaded.cursors.insert(name.value().to_owned(), cursor);
                }
                for entry in transaction.open_table(INCARNATIONS)?.iter()? {
                    let (id, bytes) = entry?;
                    let stored = StoredIncarnation::decode(bytes.value()).unwrap_or_default();
                    let incarnation = Incarnation {
                        id: id.value(),
                        boot_id: stored.boot_id,
                        wall_offset_us: stored.wall_offset_us,
                    };
                    let lived = Lived {
                        incarnation: Arc::new(incarnation),
                        first_position: stored.first_position,
                    };
                    loaded.incarnations.insert(id.value(), lived);
                }
            }
            transaction.commit()?;
            Ok((loaded, first, bytes))
        };
        let (loaded, first, bytes) = load()?;
        Ok((
            Self {
                folder: folder.to_path_buf(),
                database,
                first: AtomicU64::new(first),
                bytes: AtomicU64::new(bytes),
            },
            loaded,
        ))
    }

    /// Where the file is.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The oldest position on disk.
    pub(super) fn first_position(&self) -> Option<u64> {
        Some(self.first.load(Ordering::Relaxed)).filter(|first| *first != NONE)
    }

    /// Bytes of all results on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Results from `from` up to and without `until`. What cannot be read is left out: it is reported by the next write.
    pub(super) fn read(
        &self,
        from: u64,
        until: u64,
        most: usize,
        incarnations: &BTreeMap<u64, Lived>,
    ) -> Vec<Numbered> {
        let read = || -> Result<Vec<Numbered>, redb::Error> {
            let transaction = self.database.begin_read()?;
            let results = transaction.open_table(RESULTS)?;
            let mut found = Vec::new();
            for entry in results.range(from..until)?.take(most) {
                let (position, bytes) = entry?;
                found.extend(
                    StoredResult::decode(bytes.value())
                        .ok()
                        .and_then(|stored| numbered(position.value(), stored, incarnations)),
                );
            }
            Ok(found)
        };
        read().unwrap_or_default()
    }

    /// Writes what is new, moves the cursors, and makes room: what nobody needs goes, and beyond the bound
    /// the oldest goes though somebody has not got it.
    pub(super) fn write(
        &self,
        new: &[Numbered],
        cursors: &BTreeMap<String, Cursor>,
        incarnations: &BTreeMap<u64, Lived>,
        keep_from: u64,
        bytes_max: u64,
        dropped_before: u64,
    ) -> Result<Written, SpoolError> {
        let write = || -> Result<(Written, u64, u64), redb::Error> {
            let transaction = self.database.begin_write()?;
            let mut dropped = 0;
            let first;
            let mut bytes;
            {
                let mut results = transaction.open_table(RESULTS)?;
                let mut numbers = transaction.open_table(NUMBERS)?;
                bytes = numbers.get(BYTES)?.map_or(0, |number| number.value());
                for result in new {
                    let encoded = stored(result).encode_to_vec();
                    bytes += encoded.len() as u64;
                    results.insert(result.position, encoded.as_slice())?;
                }
                if let Some(last) = new.last() {
                    numbers.insert(NEXT, last.position + 1)?;
                }
                loop {
                    let oldest = results
                        .first()?
                        .map(|(position, value)| (position.value(), value.value().len() as u64));
                    let Some((position, length)) = oldest else {
                        break;
                    };
                    let spare = position < keep_from;
                    if !spare && bytes <= bytes_max {
                        break;
                    }
                    results.remove(position)?;
                    bytes = bytes.saturating_sub(length);
                    if !spare && cursors.values().any(|cursor| cursor.position <= position) {
                        dropped += 1;
                    }
                }
                first = results
                    .first()?
                    .map_or(NONE, |(position, _)| position.value());
                numbers.insert(BYTES, bytes)?;
                numbers.insert(DROPPED, dropped_before + dropped)?;
                Self::keep_incarnations(&transaction, incarnations, first)?;
                let mut table = transaction.open_table(CURSORS)?;
                table.retain(|name, _| cursors.contains_key(name))?;
                for (name, cursor) in cursors {
                    table.insert(
                        name.as_str(),
                        (cursor.aggregator_id.as_str(), cursor.position),
                    )?;
                }
            }
            transaction.commit()?;
            Ok((Written { dropped }, first, bytes))
        };
        let (written, first, bytes) = write().map_err(database)?;
        self.first.store(first, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
        Ok(written)
    }

    /// Notes the incarnations that have results from `first` on, and forgets the others.
    fn keep_incarnations(
        transaction: &redb::WriteTransaction,
        incarnations: &BTreeMap<u64, Lived>,
        first: u64,
    ) -> Result<(), redb::Error> {
        let living: BTreeSet<u64> = living(incarnations, first).into_iter().collect();
        let mut table = transaction.open_table(INCARNATIONS)?;
        table.retain(|id, _| living.contains(&id))?;
        for (id, lived) in incarnations.iter().filter(|(id, _)| living.contains(id)) {
            if table.get(id)?.is_none() {
                let stored = StoredIncarnation {
                    boot_id: lived.incarnation.boot_id.clone(),
                    wall_offset_us: lived.incarnation.wall_offset_us,
                    first_position: lived.first_position,
                };
                table.insert(id, stored.encode_to_vec().as_slice())?;
            }
        }
        Ok(())
    }
}

/// A disk that is full, read-only or not ours says nothing against the file.
fn is_no_fault_of_the_file(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{NotFound, PermissionDenied, ReadOnlyFilesystem, StorageFull};
    matches!(
        error.kind(),
        NotFound | PermissionDenied | ReadOnlyFilesystem | StorageFull
    )
}
