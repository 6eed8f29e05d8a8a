//! Dates of points in time, in UTC.

use slipway_kernel::Timestamp;

const MS_PER_DAY: u64 = 86_400_000;
/// The first moment of the year 10000: what comes later has no date of ten characters.
const END: u64 = 253_402_300_800_000;

/// A point in time, in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    year: u64,
    month: u64,
    day: u64,
    ms_of_day: u64,
}

impl Moment {
    /// The parts of a point in time.
    ///
    /// # Errors
    /// When its year has more than four digits; with what is allowed.
    pub fn of(Timestamp(ms): Timestamp) -> Result<Self, String> {
        if ms >= END {
            return Err(format!("{ms} ms since 1970 is no time of a result: at most the year 9999 is allowed"));
        }
        let (year, month, day) = date(ms / MS_PER_DAY);
        Ok(Self { year, month, day, ms_of_day: ms % MS_PER_DAY })
    }

    /// `2026-11-29`.
    #[must_use]
    pub fn date(self) -> String {
        format!("{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }

    /// The hour of the day, from 0.
    #[must_use]
    pub const fn hour(self) -> u64 {
        self.ms_of_day / 3_600_000
    }

    /// `2026-11-29T07:05:03.250Z` (RFC 3339).
    #[must_use]
    pub fn rfc3339(self) -> String {
        let (seconds, ms) = (self.ms_of_day / 1_000, self.ms_of_day % 1_000);
        format!("{}T{:02}:{:02}:{:02}.{ms:03}Z", self.date(), self.hour(), seconds / 60 % 60, seconds % 60)
    }
}

/// Year, month and day of a day since 1970 (Howard Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`, for days
/// after 1970).
const fn date(days: u64) -> (u64, u64, u64) {
    // From 0000-03-01, so that the day that is not always there is the last of its year.
    let from_march = days + 719_468;
    let (era, day_of_era) = (from_march / 146_097, from_march % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + (month <= 2) as u64, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_has_its_date() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_250, "2024-02-29T23:59:59.250Z"),
            (1_709_251_200_000, "2024-03-01T00:00:00.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (END - 1, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(Moment::of(Timestamp(ms)).unwrap().rfc3339(), text, "{ms}");
        }
        assert!(Moment::of(Timestamp(END)).unwrap_err().contains("9999"));
    }

    #[test]
    fn the_days_of_four_centuries_follow_each_other() {
        let mut before = date(0);
        for day in 1..=146_097 {
            let next = date(day);
            let follows = next.2 == before.2 + 1 || (next.2 == 1 && (28..=31).contains(&before.2) && next > before);
            assert!(follows, "{before:?} {next:?}");
            before = next;
        }
        assert_eq!(before, (2370, 1, 1));
    }
}
