//! Dates and times (XEP-0082 1.1): UTC, as microseconds since the Unix epoch.

use std::fmt;

const US_PER_SECOND: u64 = 1_000_000;
const SECONDS_PER_DAY: u64 = 86_400;

/// The last moment that can be written: the end of the year 9999.
pub const TIME_US_MAX: u64 = 253_402_300_800 * US_PER_SECOND - 1;

/// Why a text is no time that can be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeError {
    /// It does not have the form `CCYY-MM-DDThh:mm:ss[.sss]TZD`.
    Syntax,
    /// It has that form, but there is no such day or time of day.
    NoSuchTime,
    /// It lies before 1970 or after 9999.
    OutOfRange,
}

impl fmt::Display for TimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TimeError::Syntax => "not of the form CCYY-MM-DDThh:mm:ssZ",
            TimeError::NoSuchTime => "no such day or time of day",
            TimeError::OutOfRange => "before 1970 or after 9999",
        })
    }
}

impl std::error::Error for TimeError {}

/// Reads a DateTime (§3.2). Fractions beyond the microsecond are cut off; a leap second is the
/// second after it.
///
/// COMPAT: `+0100` without its colon is taken too, since some clients write it.
///
/// # Errors
/// See [`TimeError`].
pub fn parse(text: &str) -> Result<u64, TimeError> {
    let mut rest = Rest(text.as_bytes());
    let year = rest.number(4)?;
    rest.byte(b'-')?;
    let month = rest.number(2)?;
    rest.byte(b'-')?;
    let day = rest.number(2)?;
    rest.byte(b'T')?;
    let (hour, minute) = rest.hour_and_minute()?;
    rest.byte(b':')?;
    let second = rest.number(2)?;
    let micros = rest.fraction()?;
    let offset = rest.offset_seconds()?;
    if !rest.0.is_empty() {
        return Err(TimeError::Syntax);
    }
    let is_day = (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
    if !is_day || hour > 23 || minute > 59 || second > 60 {
        return Err(TimeError::NoSuchTime);
    }
    let days = days_since_epoch(year, month, day).ok_or(TimeError::OutOfRange)?;
    let seconds = days * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second;
    let seconds = seconds.checked_add_signed(-offset).ok_or(TimeError::OutOfRange)?;
    let time_us = seconds * US_PER_SECOND + micros;
    (time_us <= TIME_US_MAX).then_some(time_us).ok_or(TimeError::OutOfRange)
}

/// Writes a DateTime in UTC: with milliseconds or microseconds if it has any,
/// `2002-09-10T23:08:25Z` if not. What lies after [`TIME_US_MAX`] is written as that.
pub fn format(time_us: u64) -> String {
    let time_us = time_us.min(TIME_US_MAX);
    let (seconds, micros) = (time_us / US_PER_SECOND, time_us % US_PER_SECOND);
    let (days, of_day) = (seconds / SECONDS_PER_DAY, seconds % SECONDS_PER_DAY);
    let (year, month, day) = date_of(days);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    // By hand: a page of an archive has fifty of them, and formatting costs ten times as much.
    let mut text = String::with_capacity("2002-09-10T23:08:25.000000Z".len());
    digits(&mut text, year, 4);
    for (before, number) in [('-', month), ('-', day), ('T', hour), (':', minute), (':', second)] {
        text.push(before);
        digits(&mut text, number, 2);
    }
    if micros > 0 {
        text.push('.');
        match micros.is_multiple_of(1000) {
            true => digits(&mut text, micros / 1000, 3),
            false => digits(&mut text, micros, 6),
        }
    }
    text.push('Z');
    text
}

/// Writes the last `width` digits of a number.
fn digits(text: &mut String, number: u64, width: u32) {
    for place in (0..width).rev() {
        let digit = number / 10u64.pow(place) % 10;
        text.push(char::from(b'0' + digit as u8));
    }
}

/// What is not read yet.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn byte(&mut self, wanted: u8) -> Result<(), TimeError> {
        match self.0.split_first() {
            Some((byte, rest)) if *byte == wanted => {
                self.0 = rest;
                Ok(())
            }
            _ => Err(TimeError::Syntax),
        }
    }

    /// Exactly so many digits.
    fn number(&mut self, digits: usize) -> Result<u64, TimeError> {
        let (number, rest) = self.0.split_at_checked(digits).ok_or(TimeError::Syntax)?;
        self.0 = rest;
        number.iter().try_fold(0, |sum, byte| match byte {
            b'0'..=b'9' => Ok(sum * 10 + u64::from(byte - b'0')),
            _ => Err(TimeError::Syntax),
        })
    }

    fn hour_and_minute(&mut self) -> Result<(u64, u64), TimeError> {
        let hour = self.number(2)?;
        self.byte(b':')?;
        Ok((hour, self.number(2)?))
    }

    /// `.` and one or more digits, or nothing. In microseconds.
    fn fraction(&mut self) -> Result<u64, TimeError> {
        if self.byte(b'.').is_err() {
            return Ok(0);
        }
        let count = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.0.split_at_checked(count).ok_or(TimeError::Syntax)?;
        if digits.is_empty() {
            return Err(TimeError::Syntax);
        }
        self.0 = rest;
        let padded = digits.iter().copied().chain(std::iter::repeat(b'0')).take(6);
        Ok(padded.fold(0, |sum, byte| sum * 10 + u64::from(byte - b'0')))
    }

    /// `Z`, or how far local time is ahead of UTC.
    fn offset_seconds(&mut self) -> Result<i64, TimeError> {
        let (sign, rest) = self.0.split_first().ok_or(TimeError::Syntax)?;
        self.0 = rest;
        let sign = match sign {
            b'Z' => return Ok(0),
            b'+' => 1,
            b'-' => -1,
            _ => return Err(TimeError::Syntax),
        };
        let hour = self.number(2)?;
        let _ = self.byte(b':');
        let minute = self.number(2)?;
        if hour > 23 || minute > 59 {
            return Err(TimeError::NoSuchTime);
        }
        Ok(sign * (hour * 3600 + minute * 60) as i64)
    }
}

const fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

const fn days_in(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The days of all years before this one, counted from the year 1.
const fn days_before_year(year: u64) -> u64 {
    let past = year - 1;
    past * 365 + past / 4 - past / 100 + past / 400
}

/// `None` before 1970.
fn days_since_epoch(year: u64, month: u64, day: u64) -> Option<u64> {
    if year == 0 {
        return None;
    }
    let months: u64 = (1..month).map(|month| days_in(year, month)).sum();
    (days_before_year(year) + months + day - 1).checked_sub(days_before_year(1970))
}

/// Year, month and day.
fn date_of(days_since_epoch: u64) -> (u64, u64, u64) {
    let days = days_since_epoch + days_before_year(1970);
    // 400 years have 146,097 days, so this is the year or the one before it.
    let mut year = days * 400 / 146_097 + 1;
    if days_before_year(year) > days {
        year -= 1;
    } else if days_before_year(year + 1) <= days {
        year += 1;
    }
    let mut left = days - days_before_year(year);
    let mut month = 1;
    while left >= days_in(year, month) {
        left -= days_in(year, month);
        month += 1;
    }
    (year, month, left + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_times() {
        for (text, time_us) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1969-07-21T02:56:15Z", u64::MAX),
            ("2002-09-10T23:08:25Z", 1_031_699_305_000_000),
            ("2000-02-29T23:59:59.999999Z", 951_868_799_999_999),
            ("2026-11-21T03:22:00.125Z", 1_795_231_320_125_000),
            ("2100-03-01T00:00:00Z", 4_107_542_400_000_000),
            ("9999-12-31T23:59:59.999999Z", TIME_US_MAX),
        ] {
            if time_us == u64::MAX {
                assert_eq!(parse(text), Err(TimeError::OutOfRange));
                continue;
            }
            assert_eq!(parse(text), Ok(time_us), "{text}");
            assert_eq!(format(time_us), text);
        }
        assert_eq!(format(u64::MAX), "9999-12-31T23:59:59.999999Z");
    }

    #[test]
    fn zones_and_fractions() {
        let utc = parse("2002-09-10T23:08:25Z").unwrap();
        for same in [
            "2002-09-10T17:08:25-06:00",
            "2002-09-11T01:08:25+02:00",
            "2002-09-11T01:08:25+0200",
            "2002-09-10T23:08:25.0Z",
            "2002-09-10T23:08:25.0000009Z",
            "2002-09-10T23:08:25-00:00",
        ] {
            assert_eq!(parse(same), Ok(utc), "{same}");
        }
        assert_eq!(parse("2002-09-10T23:08:25.5Z"), Ok(utc + 500_000));
        assert_eq!(parse("1970-01-01T01:00:00+01:00"), Ok(0));
        assert_eq!(parse("2016-12-31T23:59:60Z"), parse("2017-01-01T00:00:00Z"));
    }

    #[test]
    fn what_is_no_time() {
        use TimeError::{NoSuchTime, OutOfRange, Syntax};
        for (text, error) in [
            ("", Syntax),
            ("2002-09-10", Syntax),
            ("2002-09-10T23:08:25", Syntax),
            ("2002-09-10 23:08:25Z", Syntax),
            ("2002-09-10t23:08:25z", Syntax),
            ("2002-09-10T23:08:25.Z", Syntax),
            ("2002-09-10T23:08:25ZZ", Syntax),
            ("20020910T23:08:25", Syntax),
            ("+002-09-10T23:08:25Z", Syntax),
            ("2002-09-10T23:08:25+1:00", Syntax),
            ("２002-09-10T23:08:25Z", Syntax),
            ("2002-13-10T23:08:25Z", NoSuchTime),
            ("2002-00-10T23:08:25Z", NoSuchTime),
            ("2002-09-31T23:08:25Z", NoSuchTime),
            ("2001-02-29T23:08:25Z", NoSuchTime),
            ("1900-02-29T23:08:25Z", NoSuchTime),
            ("2002-09-10T24:00:00Z", NoSuchTime),
            ("2002-09-10T23:60:25Z", NoSuchTime),
            ("2002-09-10T23:08:61Z", NoSuchTime),
            ("2002-09-10T23:08:25+24:00", NoSuchTime),
            ("1969-12-31T23:59:59Z", OutOfRange),
            ("0000-01-01T00:00:00Z", OutOfRange),
            ("1970-01-01T00:00:00+00:01", OutOfRange),
            ("9999-12-31T23:59:59-00:01", OutOfRange),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn times_come_back(time_us in 0..=TIME_US_MAX) {
            prop_assert_eq!(parse(&format(time_us)), Ok(time_us));
        }

        #[test]
        fn days_follow_each_other(days in 0u64..2_932_896) {
            let (year, month, day) = date_of(days);
            prop_assert_eq!(days_since_epoch(year, month, day), Some(days));
            let (y, m, d) = date_of(days + 1);
            let next = match (month, day) {
                (12, 31) => (year + 1, 1, 1),
                (_, last) if last == days_in(year, month) => (year, month + 1, 1),
                _ => (year, month, day + 1),
            };
            prop_assert_eq!((y, m, d), next);
        }

        #[test]
        fn any_text_is_a_time_or_an_error(text in "[0-9TZ:.+-]{0,30}|\\PC{0,30}") {
            if let Ok(time_us) = parse(&text) {
                prop_assert!(time_us <= TIME_US_MAX);
            }
        }
    }
}
