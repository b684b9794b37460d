//! The index of attacks: each has its line, and each test that a line names is there.

use super::tree::{Finding, Source, Tree};

const INDEX: &str = "docs/SECURITY.md";
/// Numbers of the cases that concern what is there.
const CASES: std::ops::RangeInclusive<u32> = 1..=59;
const SCENARIOS: &str = "services/carillon/tests/clients.rs";

/// One line of the index: its case, the names in its third column, and the rest.
struct Row<'a> {
    line: usize,
    case: u32,
    names: Vec<&'a str>,
    remark: &'a str,
}

fn rows(index: &Source) -> Vec<Row<'_>> {
    let mut found = Vec::new();
    for (at, text) in index.text.lines().enumerate() {
        let cells: Vec<&str> = text.split('|').map(str::trim).collect();
        let [_, case, _, tests, remark, _] = cells[..] else { continue };
        let Ok(case) = case.parse() else { continue };
        let names = tests.split('`').skip(1).step_by(2).collect();
        found.push(Row { line: at + 1, case, names, remark });
    }
    found
}

/// Whether a test of this name is there: a function, a scenario, a part of a script, a dialogue.
fn exists(tree: &Tree, name: &str) -> bool {
    let dialogue = format!("\n## {name}");
    let (rust, python) = (format!("fn {name}("), format!("def {name}("));
    let scenario = format!("\"{name}\"");
    tree.files.iter().any(|file| match file.path.rsplit('.').next() {
        Some("txt") => {
            file.path.contains("/dialogues/") && format!("\n{}", file.text).contains(&dialogue)
        }
        Some("py") => file.path.contains("/tests/") && file.text.contains(&python),
        Some("rs") if file.path == SCENARIOS && file.text.contains(&scenario) => true,
        Some("rs") => {
            let code = &file.masked.code;
            (1..).zip(code).any(|(line, text)| file.masked.is_test(line) && text.contains(&rust))
        }
        _ => false,
    })
}

/// Every case has one line, with a test or a reason why there is none; every test exists.
pub(crate) fn cases(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    let Some(index) = tree.file(INDEX) else {
        let what = "the index of attacks is gone".into();
        return vec![Finding { file: INDEX.into(), line: 0, rule: "security", what }];
    };
    let rows = rows(index);
    for case in CASES {
        let lines = rows.iter().filter(|row| row.case == case).count();
        if lines != 1 {
            let what = format!("case {case} has {lines} lines");
            found.push(index.finding(0, "security", what));
        }
    }
    for row in &rows {
        if row.names.is_empty() && row.remark.is_empty() {
            let what = format!("case {}: a test, or why there is none", row.case);
            found.push(index.finding(row.line, "security", what));
        }
        for name in row.names.iter().filter(|name| !exists(tree, name)) {
            let what = format!("case {}: there is no test `{name}`", row.case);
            found.push(index.finding(row.line, "security", what));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::tree::rules;
    use super::*;

    #[test]
    fn missing_cases_and_tests_are_found() {
        let row =
            |case: u32, tests: &str, remark: &str| format!("| {case} | x | {tests} | {remark} |\n");
        let mut text: String = (5..=59).map(|case| row(case, "`a_test`", "")).collect();
        text += &row(1, "`scenario`, `part`", "");
        text += &row(2, "", "why");
        text += &row(3, "`a talk`", "");
        let files = |index: &str| {
            Tree::of(&[
                (INDEX, index),
                (SCENARIOS, "//! x\nconst A: &str = \"scenario\";\n"),
                ("services/x/tests/clients/s.py", "def part(x):\n"),
                ("services/x/tests/dialogues/d.txt", "## a talk\n"),
                ("services/x/src/a.rs", "//! x\nfn no_test() {}\n#[test]\nfn a_test() {}\n"),
            ])
        };
        let good = text.clone() + &row(4, "`a_test`", "");
        assert_eq!(rules(&cases(&files(&good))), []);
        let bad = text + &row(6, "`no_test`, `gone`", "") + &row(7, "", "");
        // 4 is missing; 6 and 7 are there twice; two names are none; one has neither.
        assert_eq!(rules(&cases(&files(&bad))).len(), 6);
    }
}
