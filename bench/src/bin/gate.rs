//! `carillon-gate`: counts the instructions of the hot paths and fails where one takes 5% more than
//! its baseline. `carillon-gate write` writes the baselines; `carillon-gate case NAME TIMES` is
//! what runs under valgrind.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command speaks to its terminal")]

use std::path::PathBuf;
use std::process::ExitCode;

use carillon_bench::Failure;
use carillon_bench::gate::{Baseline, CASES, Verdict, count};

const USAGE: &str = "usage: carillon-gate [check | write | case NAME TIMES]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        [] | ["check"] => check(),
        ["write"] => write().map(|()| true),
        ["case", name, times] => case(name, times).map(|()| true),
        _ => Err(USAGE.into()),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("carillon-gate: {why}");
            ExitCode::FAILURE
        }
    }
}

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("baselines")
}

fn check() -> Result<bool, Failure> {
    let text = std::fs::read_to_string(file())?;
    let baseline = Baseline::parse(&text)?;
    let mut holds = true;
    for case in &CASES {
        let counted = count(case)?;
        let verdict = baseline.judge(case.name, counted);
        let said = match verdict {
            Verdict::Holds(above) => format!("{:+.1}%", 100.0 * above),
            Verdict::Better(above) => {
                format!("{:+.1}%: better; write the baseline anew", 100.0 * above)
            }
            Verdict::Regression(above) => format!("{:+.1}%: REGRESSION", 100.0 * above),
            Verdict::New => "NO BASELINE".to_owned(),
        };
        holds &= !matches!(verdict, Verdict::Regression(_) | Verdict::New);
        println!("{:16} {counted:>10} instructions  {said}", case.name);
    }
    Ok(holds)
}

fn write() -> Result<(), Failure> {
    let mut baseline = Baseline::default();
    for case in &CASES {
        let counted = count(case)?;
        println!("{:16} {counted:>10} instructions", case.name);
        baseline.set(case.name, counted);
    }
    Ok(std::fs::write(file(), baseline.write())?)
}

fn case(name: &str, times: &str) -> Result<(), Failure> {
    let case = CASES.iter().find(|case| case.name == name).ok_or("no such case")?;
    (case.run)(times.parse()?)
}
