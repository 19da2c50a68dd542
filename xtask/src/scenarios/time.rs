//! Moments of a scenario: milliseconds since 1970, made from a calendar day and a clock, both UTC.

/// A moment, in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At(i64);

/// Milliseconds of a second.
const SECOND: i64 = 1_000;

/// Milliseconds of a day.
const DAY: i64 = 86_400 * SECOND;

/// A calendar day.
#[derive(Debug, Clone, Copy)]
pub(super) struct Day(At);

impl Day {
    /// The day of this date (Gregorian, years after 1970).
    pub(super) const fn new(year: i64, month: i64, day: i64) -> Self {
        // Days since 1970 by the usual reckoning in which a year begins in March, so that the leap day is its last.
        let year = if month <= 2 { year - 1 } else { year };
        let era_year = year % 400;
        let month_of_year = (month + 9) % 12;
        let day_of_year = (153 * month_of_year + 2) / 5 + day - 1;
        let day_of_era = era_year * 365 + era_year / 4 - era_year / 100 + day_of_year;
        Self(At(((year / 400) * 146_097 + day_of_era - 719_468) * DAY))
    }

    /// A time of this day.
    pub(super) const fn at(self, hour: i64, minute: i64, second: i64) -> At {
        At(self.0.0 + ((hour * 60 + minute) * 60 + second) * SECOND)
    }

    /// A whole minute of this day.
    pub(super) const fn hm(self, hour: i64, minute: i64) -> At {
        self.at(hour, minute, 0)
    }
}

impl At {
    /// So many seconds later.
    pub(super) const fn plus(self, seconds: i64) -> Self {
        Self(self.0 + seconds * SECOND)
    }

    /// So many milliseconds later.
    pub(super) const fn plus_ms(self, milliseconds: i64) -> Self {
        Self(self.0 + milliseconds)
    }

    /// Milliseconds from an earlier moment to this one.
    pub(super) const fn ms_since(self, earlier: Self) -> i64 {
        self.0 - earlier.0
    }

    /// The whole minute that this is, or the next one.
    pub(super) const fn next_minute(self) -> Self {
        let minute = 60 * SECOND;
        Self((self.0 + minute - 1).div_euclid(minute) * minute)
    }

    /// As an event writes it.
    pub(super) fn text(self) -> String {
        let days = self.0.div_euclid(DAY) + 719_468;
        let rest = self.0.rem_euclid(DAY);
        let era = days.div_euclid(146_097);
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_of_year = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_of_year + 2) / 5 + 1;
        let month = (month_of_year + 2) % 12 + 1;
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let (seconds, milliseconds) = (rest / SECOND, rest % SECOND);
        format!(
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{milliseconds:03}Z",
            seconds / 3_600,
            seconds / 60 % 60,
            seconds % 60,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_as_its_day_and_clock() {
        for (at, text) in [
            (Day::new(1970, 1, 1).at(0, 0, 0), "1970-01-01T00:00:00.000Z"),
            (
                Day::new(2019, 1, 24).at(12, 55, 58).plus_ms(120),
                "2019-01-24T12:55:58.120Z",
            ),
            (Day::new(2024, 2, 29).hm(23, 59), "2024-02-29T23:59:00.000Z"),
            (Day::new(2021, 3, 9).hm(24, 30), "2021-03-10T00:30:00.000Z"),
            (
                Day::new(2025, 12, 31).at(24, 0, 1),
                "2026-01-01T00:00:01.000Z",
            ),
        ] {
            assert_eq!(at.text(), text);
        }
    }

    #[test]
    fn a_minute_is_rounded_up() {
        let day = Day::new(2021, 3, 10);
        assert_eq!(day.at(6, 31, 1).next_minute(), day.hm(6, 32));
        assert_eq!(day.hm(6, 32).next_minute(), day.hm(6, 32));
    }
}
