//! Positions in PostgreSQL's write-ahead log, and where the log that a crash left really ends.
//!
//! `pg_wal` also holds segments that were recycled: named for the future, full of the past. Every page of 8 KiB names
//! its own position in its header (`xlp_pageaddr`, `access/xlog_internal.h`), so a page that names another one was not
//! written yet. Written pages come before unwritten ones: a binary search finds the end with a few reads.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// PostgreSQL's block size of the log unless it was built otherwise (`XLOG_BLCKSZ`).
const PAGE_BYTES: u64 = 8_192;

/// The most names of `pg_wal` that are read: a terabyte of segments of 16 MiB.
const SEGMENTS_MAX: usize = 65_536;

/// The sizes that a segment can have (`initdb --wal-segsize`).
const SEGMENT_BYTES: std::ops::RangeInclusive<u64> = 1 << 20..=1 << 30;

/// A position in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Lsn(pub(super) u64);

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

impl Lsn {
    /// Reads `0/4BFE1E10`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (high, low) = text.split_once('/')?;
        let part = |digits: &str| u32::from_str_radix(digits, 16).ok().map(u64::from);
        Some(Self(part(high)? << 32 | part(low)?))
    }
}

/// The name of a segment, `00000001000000000000005D`: timeline and number, which depends on the size of segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SegmentName {
    pub(super) timeline: u32,
    high: u32,
    low: u32,
}

impl SegmentName {
    /// Reads a name; everything else in the folder is none.
    pub(super) fn parse(name: &str) -> Option<Self> {
        if name.len() != 24 || !name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let part = |from: usize| u32::from_str_radix(name.get(from..from + 8)?, 16).ok();
        Some(Self {
            timeline: part(0)?,
            high: part(8)?,
            low: part(16)?,
        })
    }

    /// Where it begins.
    pub(super) const fn start(self, segment_bytes: u64) -> Lsn {
        Lsn(((self.high as u64) << 32).wrapping_add((self.low as u64).wrapping_mul(segment_bytes)))
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08X}{:08X}{:08X}", self.timeline, self.high, self.low)
    }
}

/// The log in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// The size of its segments.
    pub(super) segment_bytes: u64,
    /// The end of the last page that was written.
    pub(super) end: Lsn,
}

/// Where the log of a timeline ends; `None` where there is none of it behind `from`.
///
/// # Errors
/// The folder or a segment cannot be read.
pub(super) fn extent(folder: &Path, timeline: u32, from: Lsn) -> io::Result<Option<Extent>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)?.take(SEGMENTS_MAX) {
        let name = entry?.file_name();
        names.extend(
            name.to_str()
                .and_then(SegmentName::parse)
                .filter(|name| name.timeline == timeline),
        );
    }
    names.sort_unstable();
    let Some(first) = names.first() else {
        return Ok(None);
    };
    let segment_bytes = std::fs::metadata(folder.join(first.to_string()))?.len();
    if !SEGMENT_BYTES.contains(&segment_bytes) {
        return Ok(None);
    }
    names.retain(|name| name.start(segment_bytes).0 + segment_bytes > from.0);
    // The first unwritten segment stands behind all written ones.
    let written = partition(names.len() as u64, |index| {
        let Some(name) = usize::try_from(index)
            .ok()
            .and_then(|index| names.get(index))
        else {
            return Ok(false);
        };
        let file = File::open(folder.join(name.to_string()))?;
        is_written(&file, 0, name.start(segment_bytes))
    })?;
    let last = written
        .checked_sub(1)
        .and_then(|index| names.get(usize::try_from(index).ok()?));
    let Some(last) = last else { return Ok(None) };
    let file = File::open(folder.join(last.to_string()))?;
    let start = last.start(segment_bytes);
    let pages = partition(segment_bytes / PAGE_BYTES, |page| {
        is_written(&file, page * PAGE_BYTES, Lsn(start.0 + page * PAGE_BYTES))
    })?;
    Ok(Some(Extent {
        segment_bytes,
        end: Lsn(start.0 + pages * PAGE_BYTES),
    }))
}

/// How many of `count` come before the first that is not, given that those that are come first.
fn partition(count: u64, mut is: impl FnMut(u64) -> io::Result<bool>) -> io::Result<u64> {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        if is(middle)? {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

/// Whether the page at this offset names the position that it should have.
fn is_written(file: &File, offset: u64, expected: Lsn) -> io::Result<bool> {
    // xlp_magic and xlp_info (2 bytes each), xlp_tli (4), xlp_pageaddr (8), in the order of this machine's bytes.
    let mut header = [0; 16];
    match file.read_exact_at(&mut header, offset) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
        Err(error) => return Err(error),
    }
    let [.., a, b, c, d, e, f, g, h] = header;
    let position = u64::from_ne_bytes([a, b, c, d, e, f, g, h]);
    let [magic_0, magic_1, ..] = header;
    Ok(position == expected.0 && [magic_0, magic_1] != [0, 0])
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT: u64 = 1 << 20;

    /// A segment whose first pages are written for `named`, whatever its file is called.
    fn segment(folder: &Path, name: &str, named: u64, pages: u64) {
        let mut bytes = vec![0; usize::try_from(SEGMENT).unwrap()];
        for page in 0..pages {
            let at = usize::try_from(page * PAGE_BYTES).unwrap();
            bytes[at..at + 2].copy_from_slice(&0xD110_u16.to_ne_bytes());
            bytes[at + 8..at + 16].copy_from_slice(&(named + page * PAGE_BYTES).to_ne_bytes());
        }
        std::fs::write(folder.join(name), bytes).unwrap();
    }

    #[test]
    fn positions_and_names_read_back_the_same() {
        assert_eq!(Lsn::parse("0/4BFE1E10"), Some(Lsn(0x4BFE_1E10)));
        assert_eq!(Lsn(0x1_0000_00AB).to_string(), "1/AB");
        let name = SegmentName::parse("00000001000000020000005D").unwrap();
        assert_eq!(name.start(16 << 20), Lsn(0x2_5D00_0000));
        assert_eq!(name.to_string(), "00000001000000020000005D");
        for text in ["", "0", "/", "0/", "x/1", "0/123456789"] {
            assert_eq!(Lsn::parse(text), None, "{text}");
        }
        for text in [
            "00000002.history",
            "archive_status",
            "00000001000000020000005D.partial",
            "éééééééééééé",
        ] {
            assert_eq!(SegmentName::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_end_is_where_pages_stop_naming_themselves() {
        let folder = tempfile::tempdir().unwrap();
        segment(folder.path(), "000000010000000000000001", SEGMENT, 128);
        segment(folder.path(), "000000010000000000000002", 2 * SEGMENT, 5);
        // Recycled: named for the future, full of the past.
        segment(folder.path(), "000000010000000000000003", 0, 128);
        segment(folder.path(), "000000010000000000000004", SEGMENT, 128);
        std::fs::create_dir(folder.path().join("archive_status")).unwrap();
        let extent = extent(folder.path(), 1, Lsn(SEGMENT)).unwrap().unwrap();
        assert_eq!(
            extent,
            Extent {
                segment_bytes: SEGMENT,
                end: Lsn(2 * SEGMENT + 5 * PAGE_BYTES)
            }
        );
    }

    #[test]
    fn a_folder_without_the_log_has_no_end() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(extent(folder.path(), 1, Lsn(0)).unwrap(), None);
        segment(folder.path(), "000000020000000000000001", SEGMENT, 1);
        assert_eq!(extent(folder.path(), 1, Lsn(0)).unwrap(), None);
        std::fs::write(folder.path().join("000000010000000000000001"), "short").unwrap();
        assert_eq!(extent(folder.path(), 1, Lsn(0)).unwrap(), None);
    }
}
