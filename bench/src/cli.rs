//! The command line.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use carillon_bench::cluster::{self, Beside, Million};
use carillon_bench::compare::{self, Compare};
use carillon_bench::relay::{self, Relay};
use carillon_bench::report::{Row, page};
use carillon_bench::run::{self, Job, Way};
use carillon_bench::scenario::Scenario;
use carillon_bench::target::{Accounts, Protocol, Sasl, Target, Transport};
use carillon_bench::{Failure, limits};
use clap::{Args, Parser, Subcommand};

/// Load on XMPP servers, and what it costs there
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Put load on a server that runs
    #[command(
        after_help = "There is no load of rooms (XEP-0045) or PubSub (XEP-0060): Carillon has \
                            neither yet."
    )]
    Run(Box<Run>),
    /// Start Carillon and its peers one after the other, and compare them
    Compare(Compare),
    /// Start a cluster of processes and a single node in turn, and compare them
    Cluster(Beside),
    /// Start a cluster, and as many sessions as the machine holds; then kill a router
    Million(Million),
    /// A bare relay without XML: the floor for every server
    Limit(Relay),
    /// A page with plots, from lines of JSON
    Report {
        /// Files that --json wrote
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// The page
        #[arg(long, default_value = "report.html")]
        out: PathBuf,
    },
    /// A worker of another process of this program
    #[command(hide = true)]
    Worker,
}

#[derive(Args)]
struct Run {
    #[command(flatten)]
    place: Place,
    /// Processes that make the load
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// Append the run to this file, as one line of JSON
    #[arg(long)]
    json: Option<PathBuf>,
    #[command(subcommand)]
    scenario: Scenario,
}

/// Where the server is, and how one talks to it.
#[derive(Args)]
struct Place {
    /// Where the server listens; several, or several times: clients are spread over them in turn
    #[arg(long, value_delimiter = ',', default_value = "127.0.0.1:5222")]
    address: Vec<SocketAddr>,
    /// How streams begin
    #[arg(long, value_enum, default_value = "starttls")]
    transport: Transport,
    /// The mechanism of logins
    #[arg(long, value_enum, default_value = "scram-sha-1")]
    sasl: Sasl,
    /// The domain
    #[arg(long, default_value = "localhost")]
    domain: String,
    /// Accounts are called this and a number, from 0
    #[arg(long, default_value = "load")]
    prefix: String,
    /// The password of all accounts
    #[arg(long, default_value = "a load generator's password")]
    password: String,
    /// Register each account first (XEP-0077)
    #[arg(long, conflicts_with_all = ["prepare", "admin"])]
    register: bool,
    /// Make each account with this shell command; {user}, {domain} and {password} are filled in,
    /// quoted where the shell needs it; it must also succeed where the account is there already
    #[arg(long, conflicts_with = "admin")]
    prepare: Option<String>,
    /// Make accounts over Carillon's administration socket: DATA/admin.sock
    #[arg(long)]
    admin: Option<PathBuf>,
    /// Use stream management (XEP-0198) in chats
    #[arg(long)]
    sm: bool,
    /// Go on from earlier TLS sessions
    #[arg(long)]
    tickets: bool,
    /// Offer only X25519, no post-quantum key exchange
    #[arg(long)]
    classic: bool,
    /// What is spoken
    #[arg(long, value_enum, default_value = "xmpp")]
    protocol: Protocol,
    /// The server's first process: its CPU and memory, and its children's, are read from /proc;
    /// several, or several times, for a cluster
    #[arg(long, value_delimiter = ',')]
    pid: Vec<u32>,
    /// Allow a server that is not on this machine: its owner must have agreed
    #[arg(long)]
    remote: bool,
}

impl Place {
    fn target(self) -> Target {
        let accounts = match (self.register, self.prepare, self.admin) {
            (true, ..) => Accounts::Register,
            (_, Some(command), _) => Accounts::Command(command),
            (.., Some(socket)) => Accounts::Admin(vec![socket]),
            _ => Accounts::Exist,
        };
        Target {
            addresses: self.address,
            transport: self.transport,
            sasl: self.sasl,
            domain: self.domain,
            prefix: self.prefix,
            password: self.password,
            sm: self.sm,
            classic: self.classic,
            tickets: self.tickets,
            protocol: self.protocol,
            accounts,
            pids: self.pid,
        }
    }
}

/// Does what the command line says.
pub(crate) fn main() -> Result<(), Failure> {
    match Cli::parse().command {
        Command::Run(run) => load(*run),
        Command::Compare(compare) => compare::compare(&compare),
        Command::Cluster(beside) => cluster::beside(&beside),
        Command::Million(million) => cluster::million(&million),
        Command::Limit(relay) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            tokio::task::LocalSet::new().block_on(&runtime, relay::serve(&relay))
        }
        Command::Report { files, out } => report(&files, &out),
        Command::Worker => run::serve(),
    }
}

fn report(files: &[PathBuf], out: &Path) -> Result<(), Failure> {
    let mut rows = Vec::new();
    for file in files {
        rows.extend(Row::read(file)?);
    }
    std::fs::write(out, page(&rows)).map_err(|why| format!("{}: {why}", out.display()))?;
    println!("{} runs: {}", rows.len(), out.display());
    Ok(())
}

fn load(run: Run) -> Result<(), Failure> {
    let remote = run.place.remote;
    let target = run.place.target();
    target.check(remote)?;
    if run.workers > limits::WORKERS_MAX {
        return Err(format!("--workers: at most {}", limits::WORKERS_MAX).into());
    }
    run.scenario.check(run.workers)?;
    let job = Job { target, scenario: run.scenario, worker: 0, workers: run.workers };
    let seen = run::run(&job, run.workers, Way::Processes)?;
    let row = Row::of_run(&job, run.workers, seen);
    print!("{}", row.table());
    if let Some(path) = run.json {
        row.append(&path)?;
    }
    Ok(())
}
