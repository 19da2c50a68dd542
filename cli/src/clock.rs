//! Times for people: the clock of their zone, and how long ago.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// `14:02:11 (3 min ago)`, with the date when it is not of today.
pub(crate) fn when(us: i64, now_us: i64) -> String {
    format!("{} ({})", moment(us, now_us), ago(us, now_us))
}

/// `14:02:11`, or `2026-11-20 14:02:11` when it is not of today.
pub(crate) fn moment(us: i64, now_us: i64) -> String {
    let zoned = |us| {
        Timestamp::from_microsecond(us)
            .ok()
            .map(|time| time.to_zoned(TimeZone::system()))
    };
    match (zoned(us), zoned(now_us)) {
        (Some(time), Some(now)) if time.date() == now.date() => {
            time.strftime("%H:%M:%S").to_string()
        }
        (Some(time), _) => time.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        (None, _) => "?".to_owned(),
    }
}

/// `3 min ago`.
pub(crate) fn ago(us: i64, now_us: i64) -> String {
    let seconds = now_us.saturating_sub(us) / 1_000_000;
    match seconds {
        ..1 => "now".to_owned(),
        1..120 => format!("{seconds} s ago"),
        120..7_200 => format!("{} min ago", seconds / 60),
        7_200..172_800 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

/// RFC 3339 in UTC, for programs.
pub(crate) fn rfc3339(us: i64) -> String {
    blackstart_graph::Timestamp::from_micros(us).to_string()
}

/// This machine's time, microseconds since the Unix epoch.
pub(crate) fn now_us() -> i64 {
    Timestamp::now().as_microsecond()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_told_as_people_tell_them() {
        for (seconds, expected) in [
            (0, "now"),
            (59, "59 s ago"),
            (180, "3 min ago"),
            (7_200, "2 h ago"),
            (200_000, "2 d ago"),
        ] {
            assert_eq!(ago(0, seconds * 1_000_000), expected);
        }
    }
}
