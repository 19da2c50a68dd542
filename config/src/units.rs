//! Durations and sizes as people write them: a number and a unit.

use std::time::Duration;

/// Reads a duration: `250ms`, `5s`, `1.5 min`, `2h`, `7d`.
///
/// # Errors
/// What was expected, as a sentence fragment.
pub fn parse_duration(text: &str) -> Result<Duration, &'static str> {
    const EXPECTED: &str = "expected a number and a unit: ms, s, m, h or d, like \"5s\"";
    let (number, unit) = split(text).ok_or(EXPECTED)?;
    let seconds = match unit {
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" | "sec" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        _ => return Err(EXPECTED),
    };
    Duration::try_from_secs_f64(number * seconds).map_err(|_| EXPECTED)
}

/// Reads a size in bytes: `512 B`, `64 KiB`, `1.5 GiB`, `10 MB`.
///
/// # Errors
/// What was expected, as a sentence fragment.
pub fn parse_bytes(text: &str) -> Result<u64, &'static str> {
    const EXPECTED: &str =
        "expected a number and a unit: B, KiB, MiB, GiB, TiB, kB, MB, GB or TB, like \"64 MiB\"";
    let (number, unit) = split(text).ok_or(EXPECTED)?;
    let factor: u64 = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return Err(EXPECTED),
    };
    #[expect(
        clippy::cast_precision_loss,
        reason = "both are far below the precision of f64, or the result is refused"
    )]
    let bytes = number * factor as f64;
    if !(0.0..9.0e18).contains(&bytes) {
        return Err(EXPECTED);
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range was checked above"
    )]
    Ok(bytes.round() as u64)
}

/// The shortest exact way to write a duration: `250ms`, `5s`, `10m`, `2h`, `7d`.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    let micros = duration.as_micros();
    for (unit, length) in [
        ("d", 86_400_000_000),
        ("h", 3_600_000_000),
        ("m", 60_000_000),
        ("s", 1_000_000),
        ("ms", 1_000),
    ] {
        if micros >= length && micros.is_multiple_of(length) {
            return format!("{}{unit}", micros / length);
        }
    }
    if micros == 0 {
        "0s".to_owned()
    } else {
        format!("{micros}us")
    }
}

/// The shortest exact way to write a size: `64 MiB`.
#[must_use]
pub fn show_bytes(bytes: u64) -> String {
    for (unit, shift) in [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        if bytes >= 1 << shift && bytes.trailing_zeros() >= shift {
            return format!("{} {unit}", bytes >> shift);
        }
    }
    format!("{bytes} B")
}

/// The number and the unit of a text, neither negative nor infinite.
fn split(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_')?;
    let (number, unit) = text.split_at(unit_at);
    let number: f64 = number.replace('_', "").parse().ok()?;
    number.is_finite().then_some((number, unit.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_unit() {
        for (text, expected_ms) in [
            ("250ms", 250),
            ("5s", 5_000),
            ("1.5 min", 90_000),
            ("2h", 7_200_000),
            ("7d", 604_800_000),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_millis(expected_ms)),
                "{text}"
            );
        }
    }

    #[test]
    fn a_duration_without_a_unit_or_a_number_is_refused() {
        for text in ["5", "", "s", "-5s", "5 parsecs", "1e400s", "5s5", "..s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_read_with_their_unit() {
        for (text, expected) in [
            ("512 B", 512),
            ("64KiB", 65_536),
            ("1.5 GiB", 1_610_612_736),
            ("10 MB", 10_000_000),
        ] {
            assert_eq!(parse_bytes(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_shown_reads_back_the_same() {
        for ms in [
            1, 999, 1_000, 59_000, 60_000, 3_600_000, 86_400_000, 90_061_000,
        ] {
            let duration = Duration::from_millis(ms);
            assert_eq!(parse_duration(&show_duration(duration)), Ok(duration));
        }
        for bytes in [0, 1, 1023, 1024, 65_536, 5 << 30, 5_000_000_001] {
            assert_eq!(parse_bytes(&show_bytes(bytes)), Ok(bytes));
        }
    }
}
