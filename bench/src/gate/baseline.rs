//! The committed baselines: a line for each case, its name and instructions for one time.

use std::collections::BTreeMap;

use crate::Failure;

/// More instructions than this many percent above the baseline are a regression; as many below it,
/// and the baseline should be written anew.
const PERCENT_MAX: u64 = 5;

/// Baselines by case.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Baseline(BTreeMap<String, u64>);

/// How a count stands to its baseline.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// Within bounds; how much above, as a share.
    Holds(f64),
    /// Well below: good, and to be written down.
    Better(f64),
    /// Above.
    Regression(f64),
    /// There is no baseline.
    New,
}

impl Baseline {
    /// Reads a file's text: `NAME COUNT` on each line, `#` begins a comment.
    ///
    /// # Errors
    /// The first line that is something else.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let mut baselines = BTreeMap::new();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let parsed = line
                .split_once(' ')
                .and_then(|(name, count)| Some((name.to_owned(), count.trim().parse().ok()?)));
            let (name, count) = parsed.ok_or_else(|| format!("not a baseline: {line}"))?;
            baselines.insert(name, count);
        }
        Ok(Self(baselines))
    }

    /// Sets a baseline.
    pub fn set(&mut self, name: &str, count: u64) {
        self.0.insert(name.to_owned(), count);
    }

    /// The file's text.
    #[must_use]
    pub fn write(&self) -> String {
        let mut text =
            "# Instructions for one time of each case, counted by callgrind in a release \
                        build.\n# Written by `carillon-gate write`; a change needs a reason in its \
                        commit.\n"
                .to_owned();
        for (name, count) in &self.0 {
            text.push_str(&format!("{name} {count}\n"));
        }
        text
    }

    /// Judges a count.
    #[must_use]
    pub fn judge(&self, name: &str, count: u64) -> Verdict {
        let Some(baseline) = self.0.get(name) else { return Verdict::New };
        let baseline = (*baseline).max(1);
        let above = count as f64 / baseline as f64 - 1.0;
        if count * 100 > baseline * (100 + PERCENT_MAX) {
            Verdict::Regression(above)
        } else if count * 100 < baseline * (100 - PERCENT_MAX) {
            Verdict::Better(above)
        } else {
            Verdict::Holds(above)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_percent_is_the_bound() {
        let baseline = Baseline::parse("# note\nparse 1000\n").unwrap();
        assert!(matches!(baseline.judge("parse", 1050), Verdict::Holds(_)));
        assert!(matches!(baseline.judge("parse", 1051), Verdict::Regression(_)));
        assert!(matches!(baseline.judge("parse", 950), Verdict::Holds(_)));
        assert!(matches!(baseline.judge("parse", 940), Verdict::Better(_)));
        assert_eq!(baseline.judge("other", 1), Verdict::New);
    }

    #[test]
    fn files_are_read_back_and_nonsense_is_refused() {
        let mut baseline = Baseline::default();
        baseline.set("parse", 7);
        baseline.set("forward", 9);
        assert_eq!(Baseline::parse(&baseline.write()).unwrap(), baseline);
        assert!(Baseline::parse("parse many").is_err());
        assert!(Baseline::parse("parse").is_err());
    }
}
