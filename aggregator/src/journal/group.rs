//! The entries of one commit as the bytes of one row.

use crate::entry::EntryError;
use crate::entry::varint::{Cursor, put, put_signed};
use crate::journal::Entry;

/// Writes the entries of a row whose time is `base_us`.
pub(super) fn write(base_us: i64, entries: &[Entry]) -> Vec<u8> {
    let length: usize = entries.iter().map(|entry| entry.bytes.len() + 8).sum();
    let mut blob = Vec::with_capacity(length);
    for entry in entries {
        put_signed(&mut blob, entry.at_us.saturating_sub(base_us));
        put(&mut blob, entry.bytes.len() as u64);
        blob.extend_from_slice(&entry.bytes);
    }
    blob
}

/// Reads the entries of a row: time and bytes of each.
pub(super) struct GroupReader<'a> {
    base_us: i64,
    cursor: Cursor<'a>,
}

impl<'a> GroupReader<'a> {
    pub(super) const fn new(base_us: i64, blob: &'a [u8]) -> Self {
        Self {
            base_us,
            cursor: Cursor::new(blob),
        }
    }

    fn read(&mut self) -> Result<(i64, &'a [u8]), EntryError> {
        let at_us = self.base_us.saturating_add(self.cursor.signed()?);
        let length = self.cursor.count()?;
        Ok((at_us, self.cursor.take(length)?))
    }
}

impl<'a> Iterator for GroupReader<'a> {
    type Item = Result<(i64, &'a [u8]), EntryError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.cursor.is_empty() {
            return None;
        }
        let read = self.read();
        if read.is_err() {
            // Nothing behind a broken frame can be found.
            self.cursor = Cursor::new(&[]);
        }
        Some(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, at_us: i64, bytes: &'static [u8]) -> Entry {
        Entry {
            index,
            at_us,
            bytes: bytes.into(),
            results: 0,
            receipt: None,
        }
    }

    #[test]
    fn a_group_reads_back_the_same() {
        let blob = write(1_000, &[entry(1, 1_000, b"one"), entry(2, 1_250, b"")]);
        let read: Vec<_> = GroupReader::new(1_000, &blob).collect();
        assert_eq!(read, [Ok((1_000, &b"one"[..])), Ok((1_250, &b""[..]))]);
    }

    #[test]
    fn a_cut_group_ends_with_an_error() {
        let blob = write(0, &[entry(1, 0, b"one"), entry(2, 0, b"two")]);
        let read: Vec<_> = GroupReader::new(0, &blob[..blob.len() - 1]).collect();
        assert_eq!(read, [Ok((0, &b"one"[..])), Err(EntryError::Short)]);
    }
}
