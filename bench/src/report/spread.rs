//! What lies between the rounds of a comparison.

use std::fmt;

use super::number;

/// Minimum, median and maximum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    /// The least.
    pub(crate) low: f64,
    /// The median.
    pub(crate) median: f64,
    /// The most.
    pub(crate) high: f64,
}

impl Spread {
    /// Of some values; nothing, if there are none.
    #[must_use]
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (low, high) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Self { low, median, high })
    }
}

/// The median, with the ends where they are others.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [low, median, high] = [self.low, self.median, self.high].map(number);
        if low == high { f.write_str(&median) } else { write!(f, "{median} ({low} to {high})") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_ends() {
        let spread = Spread::of(vec![3.0, 1.0, 2.0]).unwrap();
        assert_eq!(spread, Spread { low: 1.0, median: 2.0, high: 3.0 });
        assert_eq!(spread.to_string(), "2.00 (1.00 to 3.00)");
        assert_eq!(Spread::of(vec![1.0, 4.0]).unwrap().median, 2.5);
        assert_eq!(Spread::of(vec![5.0]).unwrap().to_string(), "5.00");
        assert_eq!(Spread::of(Vec::new()), None);
    }
}
