//! Times as text, `YYYY-MM-DD HH:MM:SS.SSS` in UTC: SQLite's own date functions read it, and its order is that of time.

use crate::clock::Expiry;
use crate::database::DatabaseError;

/// What a key without TTL has in a session table. Every later text is never, too.
pub(super) const NEVER: &str = "9999-12-31 00:00:00.000";

const DAY_MS: i64 = 86_400_000;

/// From 0000-03-01, where the arithmetic starts since leap days then end their years, to 1970-01-01.
const EPOCH_DAYS: i64 = 719_468;

/// Days of 400 years, after which the calendar repeats.
const ERA_DAYS: i64 = 146_097;

/// The text of an expiry; [`NEVER`] for never.
pub(super) fn text(expiry: Expiry) -> Result<String, DatabaseError> {
    match expiry.as_ms() {
        None => Ok(NEVER.to_owned()),
        Some(at_ms) if at_ms > Expiry::LATEST_MS => Err(DatabaseError::Refused("an expiry is out of range".to_owned())),
        // All that ended before 1970 has ended.
        Some(at_ms) => Ok(of_ms(at_ms.max(0))),
    }
}

/// The text of a time of this era.
pub(super) fn of_ms(at_ms: i64) -> String {
    let (days, ms) = (at_ms.div_euclid(DAY_MS), at_ms.rem_euclid(DAY_MS));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{:03}", ms % 1000)
}

/// Reads what [`text`] wrote, and what people write: `T` for the blank, `Z` at the end, more or fewer digits, no seconds.
pub(super) fn parse(text: &str) -> Option<Expiry> {
    let date = [digits(text, 0, 4)?, digits(text, 5, 7)?, digits(text, 8, 10)?];
    if date >= [9999, 12, 31] {
        return Some(Expiry::NEVER);
    }
    let (hour, minute) = (digits(text, 11, 13).unwrap_or(0), digits(text, 14, 16).unwrap_or(0));
    let second = digits(text, 17, 19).unwrap_or(0);
    let fraction = text.get(20..).unwrap_or_default().bytes().take_while(u8::is_ascii_digit).take(3);
    let ms = fraction.zip([100, 10, 1]).map(|(digit, unit)| i64::from(digit - b'0') * unit).sum::<i64>();
    let is_possible = (1..=12).contains(&date[1]) && (1..=31).contains(&date[2]);
    let seconds = (days(date) * 24 + hour) * 3600 + minute * 60 + second;
    is_possible.then(|| Expiry::at_ms(seconds * 1000 + ms))
}

fn digits(text: &str, from: usize, to: usize) -> Option<i64> {
    let part = text.get(from..to)?;
    part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok()).flatten()
}

/// Year, month and day of a day since 1970.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + EPOCH_DAYS;
    let (era, day_of_era) = (days.div_euclid(ERA_DAYS), days.rem_euclid(ERA_DAYS));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // March is 0; five months have 153 days.
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let is_next_year = i64::from(month >= 10);
    (year_of_era + era * 400 + is_next_year, (month + 2) % 12 + 1, day)
}

/// The day since 1970 of a year, month and day.
fn days([year, month, day]: [i64; 3]) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * ERA_DAYS + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - EPOCH_DAYS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times_have_their_text() {
        for (at_ms, expected) in [
            (0, "1970-01-01 00:00:00.000"),
            (951_782_400_000, "2000-02-29 00:00:00.000"),
            (1_767_225_599_999, "2025-12-31 23:59:59.999"),
            (Expiry::LATEST_MS, "9999-12-30 00:00:00.000"),
        ] {
            assert_eq!(text(Expiry::at_ms(at_ms)).unwrap(), expected);
        }
        assert_eq!(text(Expiry::NEVER).unwrap(), NEVER);
        assert!(text(Expiry::at_ms(Expiry::LATEST_MS + 1)).is_err());
    }

    #[test]
    fn every_day_comes_back() {
        for day in 0..2_932_895 {
            let at_ms = day * DAY_MS + (day * 7_919) % DAY_MS;
            assert_eq!(parse(&of_ms(at_ms)), Some(Expiry::at_ms(at_ms)));
        }
    }

    #[test]
    fn what_people_write_is_read() {
        let expected = Some(Expiry::at_ms(1_767_225_540_000));
        for text in ["2025-12-31 23:59:00", "2025-12-31T23:59", "2025-12-31T23:59:00Z", "2025-12-31 23:59:00.000000"] {
            assert_eq!(parse(text), expected, "{text}");
        }
        assert_eq!(parse("9999-12-31"), Some(Expiry::NEVER));
        for text in ["", "tomorrow", "2025-13-01 00:00:00", "1767225540000"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
