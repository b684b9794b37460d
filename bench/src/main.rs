//! `carillon-bench`: load on a running server, and what it costs there.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command speaks to its terminal")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use carillon_bench::{Failure, Target, Transport, chat, idle};
use clap::{Parser, Subcommand};

/// Load on a running Carillon, and what it costs there.
#[derive(Parser)]
struct Args {
    /// Where the server listens.
    #[arg(long, default_value = "127.0.0.1:5223")]
    address: SocketAddr,
    /// How streams begin.
    #[arg(long, value_enum, default_value = "tls")]
    transport: Transport,
    /// The domain.
    #[arg(long, default_value = "localhost")]
    domain: String,
    /// The server's process: its CPU time and memory are read from /proc.
    #[arg(long)]
    pid: u32,
    /// The server's data folder: accounts are made through its administration socket.
    #[arg(long, default_value = "carillon-data")]
    data: PathBuf,
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Subcommand)]
enum Scenario {
    /// Pairs that chat as fast as they can.
    Chat {
        /// How many pairs.
        #[arg(long, default_value_t = 100)]
        pairs: usize,
        /// For how long, in seconds (at most 600).
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=600))]
        seconds: u64,
    },
    /// Sessions at rest.
    Idle {
        /// Numbers of sessions to look at, rising.
        #[arg(long, value_delimiter = ',', default_values_t = [5000, 15000])]
        sessions: Vec<usize>,
        /// Contacts in each roster.
        #[arg(long, default_value_t = 20)]
        contacts: usize,
        /// Seconds at rest before each look.
        #[arg(long, default_value_t = 60)]
        rest: u64,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("carillon-bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<(), Failure> {
    let target = Target {
        address: args.address,
        transport: args.transport,
        domain: args.domain,
        pid: args.pid,
        data: args.data,
    };
    target.check()?;
    match args.scenario {
        Scenario::Chat { pairs, seconds } => {
            let report = chat::run(&target, pairs, Duration::from_secs(seconds)).await?;
            let messages = report.messages.max(1) as f64;
            println!(
                "{} messages in {:.1} s: {:.0} a second; server CPU a message: {:.1} µs user, \
                 {:.1} µs system, {:.1} µs in all",
                report.messages,
                report.took.as_secs_f64(),
                messages / report.took.as_secs_f64(),
                report.cpu.user_us as f64 / messages,
                report.cpu.system_us as f64 / messages,
                report.cpu.total_us() as f64 / messages,
            );
        }
        Scenario::Idle { sessions, contacts, rest } => {
            let rest = Duration::from_secs(rest);
            let report = idle::run(&target, &sessions, contacts, rest, |sessions| {
                eprintln!("{sessions} sessions")
            })
            .await?;
            for (sessions, bytes) in &report.steps {
                println!("{sessions} sessions: {:.1} MiB", *bytes as f64 / 1_048_576.0);
            }
            if let Some(slope) = report.slope() {
                println!("{:.0} bytes ({:.2} KiB) for one more session", slope, slope / 1024.0);
            }
        }
    }
    Ok(())
}
