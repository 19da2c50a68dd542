//! One entry of the journal, as bytes: what the engine applies is exactly what the disk holds.
//!
//! A session writes the results of a batch into bytes once; the engine reads them, the journal
//! stores them, a restart reads them again. So a replay takes the same way as the first time. An
//! entry is either results or one event as JSON. Results name what they are about by the id of a
//! [`crate::series::Series`].
//!
//! **Invariant:** broken bytes are an [`EntryError`], never a panic and never a wild allocation.

pub(crate) mod varint;

use blackstart_graph::Status;
use bytes::Bytes;

use self::varint::{Cursor, put, put_signed, put_text};

const RESULTS: u8 = 1;
const EVENT: u8 = 2;

const STATUS_MASK: u8 = 0b0000_0111;
const HAS_PROGRESS: u8 = 0b0000_1000;
const HAS_DETAIL: u8 = 0b0001_0000;
const HAS_VALUES: u8 = 0b0010_0000;

/// Why bytes are not an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EntryError {
    #[error("entry ends too early")]
    Short,
    #[error("entry holds a number that is too large")]
    Number,
    #[error("entry holds a text that is not UTF-8")]
    Text,
    #[error("entry is of the unknown kind {0}")]
    Kind(u8),
    #[error("entry holds the unknown status {0}")]
    Status(u8),
    #[error("entry holds an event that cannot be read")]
    Event,
}

/// Whose results an entry holds, and which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ResultsHead<'a> {
    /// The agent's host.
    pub(crate) host: &'a str,
    /// The incarnation that sampled them.
    pub(crate) incarnation: u64,
    /// The sequence of the first; the others follow by one.
    pub(crate) first_sequence: u64,
    /// How many there are.
    pub(crate) count: usize,
}

impl ResultsHead<'_> {
    /// The sequence of the last result.
    pub(crate) const fn last_sequence(&self) -> u64 {
        self.first_sequence
            .saturating_add((self.count as u64).saturating_sub(1))
    }
}

/// One result, its values aside.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ResultRecord<'a> {
    /// What it is about.
    pub(crate) series: u32,
    /// When it was sampled, microseconds since the Unix epoch.
    pub(crate) sampled_us: i64,
    /// What was found.
    pub(crate) status: Status,
    /// 0 to 1.
    pub(crate) progress: Option<f32>,
    /// One line for people; `None`: the same as in the entry before of the same series.
    pub(crate) detail: Option<&'a str>,
}

/// Writes results.
#[derive(Debug)]
pub(crate) struct ResultsWriter {
    bytes: Vec<u8>,
    last_sampled_us: i64,
}

impl ResultsWriter {
    /// Begins an entry of `head.count` results, which must follow.
    pub(crate) fn new(head: ResultsHead<'_>, capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity + head.host.len() + 32);
        bytes.push(RESULTS);
        put_text(&mut bytes, head.host);
        bytes.extend_from_slice(&head.incarnation.to_le_bytes());
        put(&mut bytes, head.first_sequence);
        put(&mut bytes, head.count as u64);
        Self {
            bytes,
            last_sampled_us: 0,
        }
    }

    /// Appends a result.
    pub(crate) fn push(&mut self, result: &ResultRecord<'_>, values: &[f64]) {
        let mut flags = status_code(result.status);
        if result.progress.is_some() {
            flags |= HAS_PROGRESS;
        }
        if result.detail.is_some() {
            flags |= HAS_DETAIL;
        }
        if !values.is_empty() {
            flags |= HAS_VALUES;
        }
        self.bytes.push(flags);
        put(&mut self.bytes, u64::from(result.series));
        let step = result.sampled_us.wrapping_sub(self.last_sampled_us);
        put_signed(&mut self.bytes, step);
        self.last_sampled_us = result.sampled_us;
        if let Some(progress) = result.progress {
            self.bytes.extend_from_slice(&progress.to_le_bytes());
        }
        if let Some(detail) = result.detail {
            put_text(&mut self.bytes, detail);
        }
        if !values.is_empty() {
            put(&mut self.bytes, values.len() as u64);
            for value in values {
                self.bytes.extend_from_slice(&value.to_le_bytes());
            }
        }
    }

    /// The entry.
    pub(crate) fn finish(self) -> Bytes {
        self.bytes.into()
    }
}

/// The entry of an event.
pub(crate) fn event_entry(json: &[u8]) -> Bytes {
    let mut bytes = Vec::with_capacity(json.len() + 1);
    bytes.push(EVENT);
    bytes.extend_from_slice(json);
    bytes.into()
}

/// An entry that is read.
#[derive(Debug, Clone)]
pub(crate) enum EntryReader<'a> {
    /// Results.
    Results(ResultsHead<'a>, ResultsReader<'a>),
    /// An event, as JSON.
    Event(&'a [u8]),
}

impl<'a> EntryReader<'a> {
    /// Begins to read an entry.
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self, EntryError> {
        let mut cursor = Cursor::new(bytes);
        match cursor.byte()? {
            RESULTS => {
                let head = ResultsHead {
                    host: cursor.text()?,
                    incarnation: cursor.u64()?,
                    first_sequence: cursor.number()?,
                    count: cursor.count()?,
                };
                let reader = ResultsReader {
                    cursor,
                    left: head.count,
                    last_sampled_us: 0,
                };
                Ok(Self::Results(head, reader))
            }
            EVENT => Ok(Self::Event(&bytes[1..])),
            kind => Err(EntryError::Kind(kind)),
        }
    }
}

/// Reads results.
#[derive(Debug, Clone)]
pub(crate) struct ResultsReader<'a> {
    cursor: Cursor<'a>,
    left: usize,
    last_sampled_us: i64,
}

impl<'a> ResultsReader<'a> {
    /// The next result, its values in `values`; `None` at the end.
    pub(crate) fn next(
        &mut self,
        values: &mut Vec<f64>,
    ) -> Result<Option<ResultRecord<'a>>, EntryError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let cursor = &mut self.cursor;
        let flags = cursor.byte()?;
        let status = status_of(flags & STATUS_MASK)?;
        let series = u32::try_from(cursor.number()?).map_err(|_| EntryError::Number)?;
        self.last_sampled_us = self.last_sampled_us.wrapping_add(cursor.signed()?);
        let progress = match flags & HAS_PROGRESS {
            0 => None,
            _ => Some(cursor.f32()?),
        };
        let detail = match flags & HAS_DETAIL {
            0 => None,
            _ => Some(cursor.text()?),
        };
        values.clear();
        if flags & HAS_VALUES != 0 {
            for _ in 0..cursor.count()? {
                values.push(cursor.f64()?);
            }
        }
        Ok(Some(ResultRecord {
            series,
            sampled_us: self.last_sampled_us,
            status,
            progress,
            detail,
        }))
    }
}

const fn status_code(status: Status) -> u8 {
    match status {
        Status::Ok => 1,
        Status::Degraded => 2,
        Status::Starting => 3,
        Status::Failed => 4,
        Status::Unknown => 5,
    }
}

const fn status_of(code: u8) -> Result<Status, EntryError> {
    Ok(match code {
        1 => Status::Ok,
        2 => Status::Degraded,
        3 => Status::Starting,
        4 => Status::Failed,
        5 => Status::Unknown,
        _ => return Err(EntryError::Status(code)),
    })
}

/// A checksum of stored bytes: tells a torn or rotten page from a good one. FNV-1a over words, and
/// over the bytes that are left.
pub(crate) fn checksum(bytes: &[u8]) -> i64 {
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325 ^ bytes.len() as u64;
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        hash = (hash ^ u64::from_le_bytes(*word)).wrapping_mul(PRIME);
        hash ^= hash >> 29;
    }
    for byte in rest {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(PRIME);
    }
    (hash ^ (hash >> 32)).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEAD: ResultsHead<'static> = ResultsHead {
        host: "web-1",
        incarnation: u64::MAX,
        first_sequence: 41,
        count: 2,
    };

    fn two_results() -> Bytes {
        let mut writer = ResultsWriter::new(HEAD, 64);
        let mut result = ResultRecord {
            series: 300,
            sampled_us: 1_700_000_000_000_000,
            status: Status::Starting,
            progress: Some(0.25),
            detail: Some("redo at 0/5A2F1E8"),
        };
        writer.push(&result, &[1.5, f64::NAN]);
        result.status = Status::Ok;
        result.progress = None;
        result.detail = None;
        result.sampled_us -= 7;
        writer.push(&result, &[]);
        writer.finish()
    }

    #[test]
    fn results_read_back_the_same() {
        let bytes = two_results();
        let Ok(EntryReader::Results(head, mut reader)) = EntryReader::new(&bytes) else {
            panic!("not results")
        };
        assert_eq!(head, HEAD);
        assert_eq!(head.last_sequence(), 42);
        let mut values = Vec::new();
        let first = reader.next(&mut values).unwrap().unwrap();
        assert_eq!(first.detail, Some("redo at 0/5A2F1E8"));
        assert_eq!(first.progress, Some(0.25));
        assert!(values[0] == 1.5 && values[1].is_nan());
        let second = reader.next(&mut values).unwrap().unwrap();
        assert_eq!(second.sampled_us, 1_699_999_999_999_993);
        assert_eq!((second.status, second.detail), (Status::Ok, None));
        assert!(values.is_empty());
        assert_eq!(reader.next(&mut values), Ok(None));
    }

    #[test]
    fn every_cut_of_an_entry_is_an_error() {
        let bytes = two_results();
        for length in 0..bytes.len() {
            assert!(read_all(&bytes[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn a_flipped_bit_changes_the_checksum() {
        let bytes = two_results();
        let good = checksum(&bytes);
        for bit in 0..bytes.len() * 8 {
            let mut broken = bytes.to_vec();
            broken[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(checksum(&broken), good, "bit {bit}");
        }
    }

    fn read_all(bytes: &[u8]) -> Result<(), EntryError> {
        if let EntryReader::Results(_, mut reader) = EntryReader::new(bytes)? {
            let mut values = Vec::new();
            while reader.next(&mut values)?.is_some() {}
        }
        Ok(())
    }

    proptest! {
        /// Whatever bytes come, reading ends, with results or with an error.
        #[test]
        fn garbage_is_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_all(&bytes);
        }

        #[test]
        fn numbers_read_back_the_same(number: u64, signed: i64) {
            let mut bytes = Vec::new();
            put(&mut bytes, number);
            put_signed(&mut bytes, signed);
            let mut cursor = Cursor::new(&bytes);
            prop_assert_eq!(cursor.number(), Ok(number));
            prop_assert_eq!(cursor.signed(), Ok(signed));
            prop_assert!(cursor.is_empty());
        }
    }
}
