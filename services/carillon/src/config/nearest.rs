//! The known name nearest to a mistyped one.

/// The candidate that `name` was most likely meant to be, if one is near enough to be worth naming:
/// at most a third of its letters wrong, a swap of neighbours counting once.
#[must_use]
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let (distance, best) =
        candidates.into_iter().map(|known| (distance(name, known), known)).min_by_key(|it| it.0)?;
    let allowed = (best.chars().count() / 3).max(1);
    (distance <= allowed).then_some(best)
}

/// Optimal string alignment: insertions, deletions, replacements and swaps of neighbours, each at
/// cost 1.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().flat_map(char::to_lowercase).take(64).collect();
    let b: Vec<char> = b.chars().flat_map(char::to_lowercase).take(64).collect();
    let mut before = vec![0; b.len() + 1];
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replace = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replace.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_name_that_was_meant() {
        let known = ["domains", "data", "store", "workers", "listen", "stanza_bytes"];
        for (typed, meant) in [
            ("domain", Some("domains")),
            ("Domains", Some("domains")),
            ("dmoains", Some("domains")),
            ("dta", Some("data")),
            ("stanza-bytes", Some("stanza_bytes")),
            ("worker_threads", None),
            ("zzz", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, known), meant, "{typed}");
        }
    }

    #[test]
    fn counts_edits() {
        for (a, b, edits) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "abc", 0),
            ("abc", "acb", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!((distance(a, b), distance(b, a)), (edits, edits), "{a} {b}");
        }
    }
}
