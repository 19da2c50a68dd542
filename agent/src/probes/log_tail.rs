//! The end of a log file: what a server said before it fell silent.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

/// How much of the end of a log is read: hundreds of lines.
const LOG_BYTES_MAX: u64 = 64 * 1024;

/// The last lines of a log; empty where it cannot be read. Blocks on the disk.
pub(super) fn log_tail(path: &Path) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LOG_BYTES_MAX)))?;
        let mut bytes = Vec::new();
        file.take(LOG_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_is_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("{}last words", "x".repeat(200_000))).unwrap();
        let tail = log_tail(file.path());
        assert_eq!(tail.len() as u64, LOG_BYTES_MAX);
        assert!(tail.ends_with("last words"));
        assert_eq!(log_tail(Path::new("/nonexistent")), "");
    }
}
