//! Sizes, times and rates as people write them, read strictly.
//!
//! One number, one unit, at most one space between them; no fractions, no signs, no guessing
//! between 1000 and
//! 1024. What is refused says what to write instead.

use std::time::Duration;

/// Units of size and the bytes in each. Only powers of 1024, under their unmistakable names (IEC
/// 80000-13).
const SIZES: [(&str, u64); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// Units of time and the milliseconds in each.
const TIMES: [(&str, u64); 5] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Reads a size such as `"64 KiB"`, in bytes.
///
/// # Errors
/// A sentence that names the units.
pub fn size(text: &str) -> Result<u64, String> {
    quantity(text, &SIZES).ok_or_else(|| {
        format!(
            "{text:?} is not a size: write a whole number and B, KiB, MiB or GiB, as in \"64 KiB\""
        )
    })
}

/// Reads a time such as `"5 m"`.
///
/// # Errors
/// A sentence that names the units.
pub fn time(text: &str) -> Result<Duration, String> {
    quantity(text, &TIMES).map(Duration::from_millis).ok_or_else(|| {
        format!("{text:?} is not a time: write a whole number and ms, s, m, h or d, as in \"5 m\"")
    })
}

fn quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, rest) = text.split_at_checked(digits)?;
    let unit = rest.strip_prefix(' ').unwrap_or(rest);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// Writes a size in the largest unit that needs no fraction; `size` reads it back.
#[must_use]
pub fn show_size(bytes: u64) -> String {
    show(bytes, &SIZES)
}

/// Writes a time in the largest unit that needs no fraction; `time` reads it back.
#[must_use]
pub fn show_time(time: Duration) -> String {
    show(u64::try_from(time.as_millis()).unwrap_or(u64::MAX), &TIMES)
}

fn show(amount: u64, units: &[(&str, u64)]) -> String {
    let fitting =
        units.iter().rev().find(|(_, factor)| amount >= *factor && amount.is_multiple_of(*factor));
    match fitting.or(units.first()) {
        Some((name, factor)) => format!("{} {name}", amount / factor),
        None => amount.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, bytes) in
            [("0 B", 0), ("10 B", 10), ("64 KiB", 65_536), ("64KiB", 65_536), ("3 GiB", 3 << 30)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for (text, ms) in [("250 ms", 250), ("30 s", 30_000), ("5m", 300_000), ("2 d", 172_800_000)]
        {
            assert_eq!(time(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn refuses_what_could_be_misread() {
        for text in [
            "",
            "64",
            "KiB",
            "64 KB",
            "64 kib",
            "64 K",
            "64  KiB",
            " 64 KiB",
            "64 KiB ",
            "-1 KiB",
            "+1 KiB",
            "1.5 MiB",
            "1e3 B",
            "٣ KiB",
            "18446744073709551616 B",
            "99999999999 GiB",
            "1 KiB 2 B",
        ] {
            let why = size(text).unwrap_err();
            assert!(why.contains("64 KiB"), "{text}: {why}");
        }
        for text in ["5", "5 min", "5 M", "5 S", "0.5 s", "5 s 3 ms"] {
            assert!(time(text).unwrap_err().contains("5 m"), "{text}");
        }
    }

    #[test]
    fn writes_what_it_reads() {
        for bytes in [0, 1, 1023, 1024, 65_536, 65_537, 1 << 30, 5 << 20] {
            assert_eq!(size(&show_size(bytes)), Ok(bytes));
        }
        assert_eq!(show_size(262_144), "256 KiB");
        for ms in [0, 1, 999, 1000, 90_000, 300_000, 3_600_000] {
            assert_eq!(time(&show_time(Duration::from_millis(ms))), Ok(Duration::from_millis(ms)));
        }
        assert_eq!(show_time(Duration::from_secs(90)), "90 s");
        assert_eq!(show_time(Duration::from_secs(300)), "5 m");
    }
}
